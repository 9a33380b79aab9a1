"""Lanes on real sockets: encryption, strangers, reports, families; and whose arrival is measured."""

import socket
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from active_call.core.clock import wall_ns
from active_call.dsp.rtcp import Bye, build_report, parse
from active_call.lanes.messages import CloseLane, MediaStarted, RtcpByeReceived, SrtpKeys
from active_call.plane import sockets as sockets_module
from active_call.plane.sockets import LaneSockets
from active_call.plane.srtp import SrtpReceiver, SrtpSender
from tests.unit.plane.rig import Rig
from tests.unit.plane.wire import KEYS, OURS, Phone, Wire, address, bound, received

GOODBYE = build_report(ssrc=9, cname="x", ntp=0, rtp_timestamp=0, packets=1, octets=160, source=None, bye=True)


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


@pytest.fixture
def phone(wire: Wire) -> Iterator[Phone]:
    phone = Phone(wire)
    yield phone
    phone.close()


@pytest.fixture
def stranger(wire: Wire) -> Iterator[Phone]:
    stranger = Phone(wire, ssrc=66)
    yield stranger
    stranger.close()


@pytest.fixture
def secure(wire: Wire, phone: Phone) -> Phone:
    """A phone on an encrypted lane, behind a NAT: its packets come from elsewhere than signalled."""
    wire.open(remote=("127.0.0.1", 9), srtp=KEYS)
    phone.encrypted = True
    return phone


def remote(phone: Phone) -> dict[str, object]:
    return {"remote": address(phone.rtp), "remote_rtcp": address(phone.rtcp)}


def test_an_encrypted_lane_hears_and_is_heard(wire: Wire, secure: Phone) -> None:
    secure.talk(11)
    assert wire.rig.table.rx_packets[0] == 10  # the second packet is sure not to be a stranger's
    assert wire.rig.table.srtp_rejected[0] == 0
    assert wire.rig.heard(1).any()
    assert [len(data) for data in secure.heard()] == [172] * 10
    assert wire.rig.media.peers.address[0] == address(secure.rtp)


def test_what_does_not_authenticate_is_counted_and_neither_heard_nor_followed(
    wire: Wire, secure: Phone, stranger: Phone
) -> None:
    stranger.talk(60)
    table = wire.rig.table
    assert (table.srtp_rejected[0], table.rx_packets[0], table.rx_invalid[0], table.latched[0]) == (60, 0, 0, 0)
    assert wire.rig.told(MediaStarted) == []
    stranger.say()
    secure.talk(3)
    assert wire.rig.media.peers.address[0] == address(secure.rtp)
    assert table.tx_errors[0] == 0


def test_nothing_is_sent_or_heard_in_the_clear_with_unusable_keys(wire: Wire, phone: Phone) -> None:
    wire.open(**remote(phone), srtp=SrtpKeys(KEYS.suite, b"short", b"short"))
    phone.talk(300)
    assert phone.heard() == phone.reports() == []
    assert wire.rig.table.rx_packets[0] == 0


def test_a_lane_may_become_plain_and_encrypted_again(wire: Wire, secure: Phone) -> None:
    secure.talk(3)
    wire.configure(srtp=None)
    secure.encrypted = False
    secure.heard()
    secure.talk(3)
    assert [len(data) for data in secure.heard()] == [172] * 3
    wire.configure(srtp=KEYS)
    secure.encrypted = True
    secure.talk(3)
    assert wire.rig.table.srtp_rejected[0] == 0
    assert wire.rig.table.rx_packets[0] == 9 - 1


def test_the_number_of_a_report_is_never_used_again_with_a_key(wire: Wire, secure: Phone) -> None:
    wire.configure(**remote(secure))
    secure.talk(260)
    wire.configure(srtp=None)
    wire.configure(srtp=KEYS)
    secure.talk(260)
    reports = [data[-14:-10] for data in received(secure.rtcp)]
    assert len(set(reports)) == len(reports) >= 2


def test_keys_that_are_told_again_change_nothing_and_new_ones_cost_no_packet(wire: Wire, secure: Phone) -> None:
    secure.talk(5)
    wire.configure(srtp=msgspec.structs.replace(KEYS))
    secure.talk(5)
    secure.say()  # is on its way while the keys change
    wire.configure(srtp=msgspec.structs.replace(KEYS, receive=b"n" * 30))
    wire.tick()
    secure.sender = SrtpSender(KEYS.suite, b"n" * 30, secure.ssrc)
    secure.talk(5)
    assert wire.rig.table.srtp_rejected[0] == 0
    assert wire.rig.table.rx_packets[0] == 16 - 1
    assert len(secure.heard()) == 15


def test_a_rollover_survives_the_death_of_the_process(wire: Wire, phone: Phone) -> None:
    wire.open(**remote(phone), srtp=KEYS)
    phone.encrypted, phone.number = True, 65_530
    phone.talk(20)
    with closing(wire.next()) as after:
        phone.wire = after
        phone.talk(20)
        table = after.rig.table
        assert table.tx_sequence[0] == 65_530 + 40
        assert table.srtp_received[0] == (65_530 + 40) << 32 | 9
        assert (table.srtp_rejected[0], table.rx_packets[0]) == (0, 40)
    sequences = [int.from_bytes(data[2:4], "big") for data in phone.heard()]
    assert sequences == [(65_530 + i) % 0x1_0000 for i in range(40)]


def test_reports_are_encrypted_and_so_must_theirs_be(wire: Wire, secure: Phone, stranger: Phone) -> None:
    wire.configure(rtcp_mux=True)
    secure.talk(3)
    secure.heard()
    stranger.report(GOODBYE)
    stranger.report(GOODBYE, muxed=True)
    wire.tick(250)
    assert wire.rig.told(RtcpByeReceived) == []
    reports = [data for data in secure.heard() if data[1] >= 192]
    assert len(reports) == 1
    assert parse(reports[0])
    with closing(wire.next()) as after:
        secure.wire = after
        secure.talk(250)
        assert len([data for data in secure.heard() if data[1] >= 192]) == 1
        assert wire.rig.table.srtcp_sent[0] == 3
        secure.report(GOODBYE, muxed=True)
        after.tick()
        assert len(after.rig.told(RtcpByeReceived)) == 1


def test_reports_of_strangers_are_not_read(wire: Wire, phone: Phone) -> None:
    wire.open(remote=("127.0.0.1", 9))
    other = bound("127.0.0.2")
    phone.talk(3)
    other.sendto(GOODBYE, address(wire.rtcp))
    other.sendto(GOODBYE, address(wire.rtp))
    wire.tick()
    assert wire.rig.told(RtcpByeReceived) == []
    phone.report(GOODBYE)
    wire.tick()
    assert len(wire.rig.told(RtcpByeReceived)) == 1
    other.close()


def test_reports_go_back_through_a_nat(wire: Wire, phone: Phone) -> None:
    wire.open(remote=("10.0.0.1", 4_000), remote_rtcp=("10.0.0.1", 4_001))
    phone.talk(3)
    phone.report(build_report(ssrc=9, cname="x", ntp=0, rtp_timestamp=0, packets=1, octets=1, source=None))
    wire.tick(250)
    assert [len(parse(data)) for data in phone.reports()] == [1]


def test_a_report_among_the_audio_has_arrived_when_the_kernel_took_it(
    wire: Wire, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire.open(**remote(phone))
    phone.talk(3)  # the socket is connected then
    arrivals: list[int] = []
    monkeypatch.setattr(wire.rig.media, "receive_rtcp", lambda tick, row, data, at_ns: arrivals.append(at_ns))
    phone.report(GOODBYE, muxed=True)
    read_ns = wall_ns() + 15_000_000
    monkeypatch.setattr(sockets_module, "wall_ns", lambda: read_ns)
    latest = wire.sockets._report_time(0)
    wire.tick()
    (arrived,) = arrivals
    assert latest - 100_000_000 < arrived < latest - 10_000_000


def test_a_flood_of_strangers_costs_the_peer_no_packet(wire: Wire, phone: Phone, stranger: Phone) -> None:
    wire.open(remote=("10.0.0.1", 4_000))
    phone.talk(2)
    for _ in range(20):
        stranger.say(100)
        phone.talk(1)
    assert wire.rig.table.rx_packets[0] == 21
    assert wire.rig.table.rx_stranger[0] == 2_001
    assert wire.rig.media.peers.address[0] == address(phone.rtp)


def test_a_tick_spends_little_on_strangers(
    wire: Wire, phone: Phone, stranger: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets_module, "_MOST_STRANGERS", 20)
    wire.open(remote=("10.0.0.1", 4_000))
    phone.talk(2)
    stranger.say(100)
    wire.tick()
    assert 20 <= wire.rig.table.rx_stranger[0] <= 20 + 12


def test_what_strangers_had_sent_before_the_socket_was_connected_is_not_heard(
    wire: Wire, phone: Phone, stranger: Phone
) -> None:
    wire.open(**remote(phone))
    phone.say()
    stranger.say(30)
    wire.tick()
    assert wire.sockets._connected == {0}
    phone.talk(3)
    assert wire.rig.table.rx_packets[0] == 4
    assert wire.rig.table.rx_stranger[0] == 30
    assert wire.sockets._settling == set()
    assert wire.sockets._receivers[wire.sockets._rtp[0].fileno()].func.__name__ == "_receive_timed"  # type: ignore[attr-defined]


def test_a_peer_that_moved_is_followed_after_half_a_second(wire: Wire, phone: Phone) -> None:
    wire.open(**remote(phone))
    phone.talk(5)
    phone.heard()
    phone.rtp.close()
    phone.rtp = bound()
    phone.talk(30)
    assert wire.rig.media.peers.address[0] == address(phone.rtp)
    assert len(phone.heard()) >= 3


@pytest.mark.parametrize("latching", [True, False])
def test_lanes_of_ipv6_work_like_others(latching: bool) -> None:
    try:
        wire = Wire(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with closing(wire), closing(Phone(wire, rtp=bound("::1"), rtcp=bound("::1"))) as phone:
        wire.open(**remote(phone), latching=latching)
        phone.talk(5)
        assert wire.rig.table.rx_packets[0] == 5
        assert wire.sockets._connected == {0}
        wire.tick(30)
        assert wire.sockets._connected == (set() if latching else {0})
        assert len(phone.heard()) == 35
        wire.tick(220)
        assert len(phone.heard()) == 220
        assert len(phone.reports()) == 2
        assert wire.rig.table.tx_errors[0] == 0


def test_an_address_of_the_wrong_family_is_an_error_per_packet_and_no_more(wire: Wire) -> None:
    wire.open(remote=("2001:db8::1", 4_000), latching=False)
    wire.tick(251)
    assert wire.rig.table.tx_errors[0] >= 251


def test_the_goodbye_of_an_encrypted_lane_is_encrypted(wire: Wire, secure: Phone) -> None:
    wire.configure(rtcp_mux=True)
    secure.talk(3)
    wire.rig.media.apply(CloseLane(0, 1))
    wire.obey()
    receiver = SrtpReceiver(KEYS.suite, OURS)
    last = received(secure.rtp)[-1]
    assert receiver.unprotect_rtcp(last) is not None


def test_a_goodbye_is_sent_although_the_packet_before_it_bounced(wire: Wire, phone: Phone) -> None:
    wire.open(**remote(phone), rtcp_mux=True)
    phone.talk(3)
    host, port = address(phone.rtp)
    phone.rtp.close()
    wire.tick()  # what it sends comes back as an error of the socket's
    phone.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    phone.rtp.bind((host, port))
    phone.rtp.setblocking(False)
    wire.rig.media.apply(CloseLane(0, 1))
    wire.obey()
    assert any(isinstance(part, Bye) for data in phone.heard() for part in parse(data))


@pytest.mark.parametrize(("sending", "muxed", "empty"), [(False, False, 2), (False, True, 0), (True, False, 0)])
def test_a_lane_that_sends_nothing_keeps_nats_awake(
    wire: Wire, phone: Phone, sending: bool, muxed: bool, empty: int
) -> None:
    wire.open(**remote(phone), sending=sending, rtcp_mux=muxed)
    got = []
    for _ in range(4):
        phone.talk(250)
        got += received(phone.rtp)
    assert got.count(b"") == empty


def test_keep_alives_are_nothing_to_us(wire: Wire, secure: Phone) -> None:
    secure.rtp.sendto(b"", address(wire.rtp))
    secure.talk(5)
    secure.rtp.sendto(b"", address(wire.rtp))
    secure.talk(5)
    table = wire.rig.table
    assert table.rx_packets[0] == 9
    assert (table.rx_invalid[0], table.srtp_rejected[0], table.tx_errors[0]) == (0, 0, 0)


def open_sockets(sockets: LaneSockets, rows: int) -> None:
    for row in range(rows):
        sockets.open(row, *(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach() for _ in range(2)))


def test_few_lanes_are_all_measured_from_the_start() -> None:
    sockets = LaneSockets(Rig().media)
    open_sockets(sockets, 3)
    assert sockets._sampled == {0, 1, 2}
    sockets.close(1)
    sockets._rotate_samples(64)
    assert sockets._sampled == {0, 2}
    for row in (0, 2):
        sockets.close(row)


def test_many_lanes_take_turns() -> None:
    sockets = LaneSockets(Rig().media)
    rows = 2 * sockets_module._SAMPLED_LANES + 1
    open_sockets(sockets, rows)
    turns = []
    for tick in (0, 64, 128):
        sockets._rotate_samples(tick)
        turns.append(set(sockets._sampled))
    assert set.union(*turns) == set(range(rows))
    assert sum(map(len, turns)) == rows
    for row in range(rows):
        sockets.close(row)


@pytest.mark.parametrize("srtp", [None, KEYS])
def test_both_packets_of_10_ms_are_sent(wire: Wire, phone: Phone, srtp: SrtpKeys | None) -> None:
    wire.open(**remote(phone), latching=False, ptime_ms=10, srtp=srtp)
    phone.encrypted = srtp is not None
    wire.tick(3)
    heard = phone.heard()
    assert [len(data) for data in heard] == [92] * 6
    assert [int.from_bytes(data[2:4], "big") for data in heard] == [(65_530 + n) % 65_536 for n in range(6)]
