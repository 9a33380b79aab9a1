"""RFC 3891 §1 and §7.1: a call that takes over another one's place, from the transfer to the BYE."""

from active_call.sip.events import Acknowledged, Ended
from tests.conformance.ladder import spoken
from tests.unit.sip.support import ALICE, ANSWER, OFFER, Pair, call_of, message


def test_a_transferred_party_takes_the_place_of_the_transferor() -> None:
    pair = Pair()
    out, into = pair.connected()
    taken = call_of(out).replaces_value  # what Alice tells Carol in Refer-To
    first = call_of(into)
    invite = message(
        "INVITE",
        call_id="from-carol",
        from_tag="carol",
        branch="z9hG4bKcarol",
        headers=f"Replaces: {taken}\r\nRequire: replaces\r\nSupported: replaces\r\n",
        body=OFFER,
    )
    said = pair.bob.hear(invite, pair.net.now)
    assert spoken("bob", said) == ["bob 100 INVITE"]
    carol = call_of(pair.bob.incoming[-1])
    assert carol.replaces is first
    carol.accept(ANSWER)
    first.hangup()
    assert spoken("bob", pair.bob.said()) == ["bob 200 INVITE", "bob BYE"]
    pair.bob.hear(
        message("ACK", call_id="from-carol", from_tag="carol", to_tag=carol.local_tag, branch="z9hG4bKa")
    )
    assert pair.bob.events_of(pair.bob.incoming[-1]) == [Acknowledged()]
    pair.net.run(60.0)
    assert pair.bob.events_of(into)[-1] == Ended("local", "hung up")


def test_who_does_not_know_the_tags_takes_over_nothing() -> None:
    pair = Pair()
    out, _ = pair.connected()
    call = call_of(out)
    for value in (
        f"{call.call_id};to-tag={call.remote_tag}x;from-tag={call.local_tag}",
        f"{call.call_id};to-tag={call.local_tag};from-tag={call.remote_tag}",
        f"x{call.call_id};to-tag={call.remote_tag};from-tag={call.local_tag}",
    ):
        invite = message(
            "INVITE", call_id="c9", branch=f"z9hG4bK{hash(value)}", headers=f"Replaces: {value}\r\n", body=OFFER
        )
        (refused,) = pair.bob.hear(invite, pair.net.now, source=ALICE)
        assert refused.start_line == "SIP/2.0 481 there is no call to be replaced"
        pair.bob.wait_until(pair.net.now + 60.0)
