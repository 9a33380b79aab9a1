"""RFC 3261 §17, table 4: two user agents on a network that does what each case needs, in virtual time."""

import pytest

from active_call.sip.dialogs.usage import UsageState
from active_call.sip.events import Ended, Rejected
from active_call.sip.hop import Hop
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Pair


def times(pair: Pair, source: Hop, start: str) -> list[float]:
    """When `source` sent messages that begin with `start`."""
    return [one.time for one in pair.net.sent if one.source == source and one.data.startswith(start.encode())]


def test_timers_a_and_b_an_invite_that_nobody_hears() -> None:
    pair = Pair()
    pair.net.loss = 1.0
    out = pair.call()
    pair.net.run(31.99)
    assert times(pair, ALICE, "INVITE") == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert pair.alice.events_of(out) == []
    pair.net.run(0.02)
    assert pair.alice.kinds_of(out) == ["Rejected", "Ended"]
    rejected = pair.alice.events_of(out)[0]
    assert isinstance(rejected, Rejected)
    assert rejected.status == 408


def test_timer_a_stops_at_the_first_response() -> None:
    pair = Pair()
    pair.ringing()
    pair.net.run(100.0)
    assert times(pair, ALICE, "INVITE") == [0]


def test_timer_d_absorbs_repeated_failures_for_32_seconds() -> None:
    pair = Pair()
    _, into = pair.ringing()
    into.reject(486, "", pair.net.now)
    pair.net.run(31.9)
    assert pair.alice.stack.transactions == 1
    pair.net.run(0.3)
    assert pair.alice.stack.transactions == 0


def test_timers_e_and_f_a_bye_that_nobody_hears() -> None:
    pair = Pair()
    out, _ = pair.connected()
    begin = pair.net.now
    pair.net.loss = 1.0
    out.hangup(begin)
    pair.net.run(32.1)
    sent = [round(when - begin, 3) for when in times(pair, ALICE, "BYE")]
    assert sent == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert pair.alice.events_of(out)[-1] == Ended("local", "hung up")


def test_timers_g_and_h_a_failure_whose_ack_is_lost() -> None:
    pair = Pair()
    _, into = pair.ringing()
    begin = pair.net.now
    pair.net.loss = 1.0
    into.reject(486, "", begin)
    pair.net.run(100.0)
    sent = [round(when - begin, 3) for when in times(pair, BOB, "SIP/2.0 486")]
    assert sent == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert pair.bob.stack.transactions == 0


def test_timer_i_absorbs_repeated_acks_for_5_seconds() -> None:
    pair = Pair()
    _, into = pair.ringing()
    into.reject(486, "", pair.net.now)
    pair.net.run(4.9)
    assert pair.bob.stack.transactions == 1
    pair.net.run(0.2)
    assert pair.bob.stack.transactions == 0


def test_timers_j_and_k_after_a_bye() -> None:
    pair = Pair()
    out, _ = pair.connected()
    pair.net.run(40.0)  # the INVITE's own transactions end
    assert pair.alice.stack.transactions == pair.bob.stack.transactions == 0
    out.hangup(pair.net.now)
    pair.net.run(4.9)
    assert (pair.alice.stack.transactions, pair.bob.stack.transactions) == (1, 1)
    pair.net.run(0.2)
    assert (pair.alice.stack.transactions, pair.bob.stack.transactions) == (0, 1)
    pair.net.run(27.0)
    assert pair.bob.stack.transactions == 0


def test_timers_l_and_m_after_an_answer() -> None:
    pair = Pair()
    pair.connected()
    pair.net.run(31.0)
    assert (pair.alice.stack.transactions, pair.bob.stack.transactions) == (1, 1)
    pair.net.run(1.5)
    assert (pair.alice.stack.transactions, pair.bob.stack.transactions) == (0, 0)


def test_an_answer_is_repeated_until_its_ack_for_32_seconds() -> None:
    pair = Pair()
    _, into = pair.ringing()
    begin = pair.net.now
    pair.net.loss = 1.0
    into.accept(ANSWER, begin)
    pair.net.run(33.0)
    sent = [round(when - begin, 3) for when in times(pair, BOB, "SIP/2.0 200")]
    assert sent == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert times(pair, BOB, "BYE")[0] - begin == pytest.approx(32.0)
    assert into.state is UsageState.ENDED


def test_over_tcp_nothing_is_repeated_whatever_the_network_does_to_datagrams() -> None:
    pair = Pair(loss=0.5, duplicate=0.5, jitter=2.0)
    out = pair.alice.stack.invite("sip:bob@10.0.0.2;transport=tcp", caller="sip:a@b", sdp=OFFER, now=0.0)
    pair.net.run(0.1)
    assert pair.bob.incoming[0].peer == ALICE._replace(transport="tcp")
    pair.bob.incoming[0].accept(ANSWER, pair.net.now)
    pair.net.run(0.1)
    out.hangup(pair.net.now)
    pair.net.run(100.0)
    said = [one.data.split(b" ")[0].decode() for one in pair.net.sent]
    assert said == ["INVITE", "SIP/2.0", "SIP/2.0", "ACK", "BYE", "SIP/2.0"]
    assert pair.alice.stack.transactions == pair.bob.stack.transactions == 0
