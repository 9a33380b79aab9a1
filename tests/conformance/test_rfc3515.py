"""RFC 3515 §4: examples of REFER. A is Alice, B is Bob; whom B calls is his own affair."""

from active_call.sip.dialogs.replaces import with_replaces
from active_call.sip.events import ReferProgress, ReferReceived
from active_call.sip.messages.message import Request, parse_message
from tests.conformance.ladder import flow
from tests.unit.sip.support import Pair, call_of


def notifies(pair: Pair) -> list[Request]:
    messages = [parse_message(one.data) for one in pair.net.sent]
    return [one for one in messages if isinstance(one, Request) and one.method == "NOTIFY"]


def test_4_1_prototypical_refer_callflow() -> None:
    pair = Pair()
    out, into = pair.connected()
    since = len(pair.net.sent)
    out.transfer.send("sip:carol@10.0.0.3", "sip:alice@10.0.0.1", (), pair.net.now)
    pair.net.run(0.1)
    assert pair.bob.events_of(into)[-1] == ReferReceived("sip:carol@10.0.0.3", "<sip:alice@10.0.0.1>", None)
    into.transfer_asked.notify(200, "OK", pair.net.now, final=True)
    pair.net.run(0.1)
    assert flow(pair, since) == [
        "alice REFER",
        "bob 202 REFER",
        "bob NOTIFY",
        "alice 200 NOTIFY",
        "bob NOTIFY",
        "alice 200 NOTIFY",
    ]
    first, last = notifies(pair)
    assert (first.body, last.body) == (b"SIP/2.0 100 Trying\r\n", b"SIP/2.0 200 OK\r\n")
    assert (first.headers.get("subscription-state") or "").startswith("active;expires=")
    assert last.headers.get("subscription-state") == "terminated;reason=noresource"
    assert pair.alice.events_of(out)[1:] == [
        ReferProgress(202, "Accepted", False),
        ReferProgress(100, "Trying", False),
        ReferProgress(200, "OK", True),
    ]


def test_4_2_multiple_refers_in_a_dialog() -> None:
    pair = Pair()
    out, into = pair.connected()
    for target, status in (("sip:carol@x", 503), ("sip:dave@x", 200)):
        out.transfer.send(target, None, (), pair.net.now)
        pair.net.run(0.1)
        into.transfer_asked.notify(status, "", pair.net.now, final=True)
        pair.net.run(0.1)
    events = [one.headers.get("event") for one in notifies(pair)]
    assert events == ["refer", "refer", "refer;id=3", "refer;id=3"]
    finals = [one for one in pair.alice.events_of(out) if isinstance(one, ReferProgress) and one.final]
    assert [one.status for one in finals] == [503, 200]


def test_an_attended_transfer_names_the_call_to_be_replaced() -> None:
    pair = Pair()
    out, into = pair.connected()
    consultation, _ = pair.connected()
    target = with_replaces("sip:bob@10.0.0.2", call_of(consultation).replaces_value)
    out.transfer.send(target, None, (), pair.net.now)
    pair.net.run(0.1)
    received = pair.bob.events_of(into)[-1]
    assert isinstance(received, ReferReceived)
    assert received.refer_to == "sip:bob@10.0.0.2"
    assert received.replaces == call_of(consultation).replaces_value
