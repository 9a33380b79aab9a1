from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from active_call.dsp.rtp import packet
from active_call.lanes.messages import (
    Latched,
    MediaStarted,
)
from active_call.plane.peers import NEW_STREAM_TICKS, WATCHED_TICKS, Address, Connect, Peers, numeric
from tests.unit.plane.rig import REMOTE, Rig, speech

OTHER = ("198.51.100.2", 7000)
STRANGER = ("203.0.113.66", 6666)


@dataclass
class Network:
    """Delivers to a lane what its socket would let through."""

    rig: Rig
    numbers: dict[tuple[Address, int], int] = field(default_factory=dict)

    def connected(self) -> Address | None:
        self.rig.orders += self.rig.media.take_orders()
        return self.rig.connects[-1] if self.rig.connects else None

    def bring(self, source: Address, ssrc: int = 9, number: int | None = None) -> None:
        """A packet from there, the next of its stream unless numbered."""
        if number is None:
            number = self.numbers[source, ssrc] = self.numbers.get((source, ssrc), 0) + 1
        data = packet(0, number, number * 160, ssrc, speech(number))
        if self.connected() is None:
            self.rig.arrive(data, 0, source)
        elif self.connected() == source:
            self.rig.arrive(data, 0)

    def stream(self, source: Address, ticks: int, *, ssrc: int = 9, flood: int = 0) -> None:
        """Talk from there, while so many packets per tick come from a stranger."""
        for _ in range(ticks):
            for _ in range(flood):
                self.bring(STRANGER, ssrc=66)
            self.bring(source, ssrc)
            self.rig.tick()

    def flood(self, ticks: int) -> None:
        for _ in range(ticks):
            self.bring(STRANGER, ssrc=66)
            self.rig.tick()


def opened(**settings: object) -> tuple[Rig, Network]:
    rig = Rig()
    rig.open(0, **({"latching": True} | settings))
    return rig, Network(rig)


def sends_to(rig: Rig) -> Address | None:
    return rig.media.peers.address[0]


def test_a_lane_latches_after_two_packets_in_sequence() -> None:
    rig, network = opened()
    network.stream(OTHER, 1)
    assert (rig.table.latched[0], rig.table.rx_stranger[0]) == (0, 1)
    network.stream(OTHER, 1)
    assert rig.table.latched[0] == 1
    assert rig.told(MediaStarted) == [MediaStarted(0, 1, 1, *OTHER)]
    assert rig.told(Latched) == [Latched(0, 1, 1, *OTHER)]
    assert sends_to(rig) == OTHER


def test_what_was_not_signalled_is_connected_after_five_seconds_alone() -> None:
    _, network = opened()
    network.stream(OTHER, WATCHED_TICKS)
    assert network.connected() is None
    network.stream(OTHER, 3)
    assert network.connected() == OTHER


def test_pauses_of_the_peer_do_not_prolong_that() -> None:
    rig, network = opened()
    for _ in range(WATCHED_TICKS // 40 + 1):
        network.stream(OTHER, 10)
        rig.ticks(30)
    network.stream(OTHER, 3)
    assert network.connected() == OTHER


def test_scattered_packets_do_not_latch() -> None:
    rig, network = opened()
    for number in (5, 90, 7_000):
        network.bring(OTHER, number=number)
        rig.tick()
    assert rig.table.latched[0] == 0
    assert rig.table.rx_stranger[0] == 3


def test_the_signalled_address_is_heard_and_connected_from_its_first_packet() -> None:
    rig, network = opened()
    network.stream(REMOTE, 1)
    assert rig.table.rx_packets[0] == 1
    assert network.connected() == REMOTE


def test_a_silent_peer_may_come_back_from_elsewhere() -> None:
    rig, network = opened()
    network.stream(REMOTE, 2)
    rig.ticks(25)
    assert network.connected() is None
    assert rig.tick()[0]  # sending goes on
    network.stream((REMOTE[0], 4_444), 1)
    assert network.connected() == (REMOTE[0], 4_444)
    assert rig.table.rx_stranger[0] == 0


def test_another_stream_from_elsewhere_waits_for_two_seconds_of_silence() -> None:
    rig, network = opened()
    network.stream(REMOTE, 2)
    rig.ticks(25)
    network.stream(OTHER, NEW_STREAM_TICKS - 25, ssrc=66)
    assert sends_to(rig) == REMOTE
    network.stream(OTHER, 3, ssrc=66)
    assert sends_to(rig) == OTHER


def test_a_stranger_that_came_first_loses_to_the_signalled_address() -> None:
    rig, network = opened()
    network.flood(100)
    assert sends_to(rig) == STRANGER
    heard = rig.table.rx_packets[0]
    network.stream(REMOTE, 3, flood=5)
    assert sends_to(rig) == network.connected() == REMOTE
    assert rig.table.rx_packets[0] == heard + 5 + 3  # the stranger's of the tick in which the peer came


def test_a_stranger_that_came_first_loses_to_another_port_of_the_signalled_host() -> None:
    rig, network = opened()
    network.flood(100)
    network.stream((REMOTE[0], 4_444), 2, flood=1)
    assert sends_to(rig) == (REMOTE[0], 4_444)


def test_a_stranger_that_came_first_loses_to_the_host_that_sip_comes_from() -> None:
    rig, network = opened(peer_host=OTHER[0])
    network.flood(10)
    assert sends_to(rig) == STRANGER
    network.stream(OTHER, 3, flood=1)
    assert sends_to(rig) == OTHER
    network.flood(10)
    assert sends_to(rig) == OTHER


def test_a_flood_changes_nothing_for_a_peer_behind_a_nat() -> None:
    rig, network = opened()
    network.stream(OTHER, 3)
    for number in range(60):  # with the peer's own numbers, even
        network.bring(STRANGER, ssrc=9, number=number)
        network.stream(OTHER, 1, flood=3)
    assert sends_to(rig) == OTHER
    assert rig.table.rx_packets[0] == 63 - 1
    assert rig.table.rx_stranger[0] == 1 + 60 * 4


def test_a_stranger_in_a_pause_of_the_peer_is_not_heard() -> None:
    rig, network = opened()
    network.stream(OTHER, WATCHED_TICKS + 3)
    heard = rig.table.rx_packets[0]
    network.flood(90)
    assert rig.table.rx_packets[0] == heard
    network.stream(OTHER, 2, flood=2)
    assert sends_to(rig) == network.connected() == OTHER


def test_a_peer_takes_its_lane_back_from_a_stranger_after_a_long_pause() -> None:
    rig, network = opened()
    network.stream(OTHER, WATCHED_TICKS + 3)
    network.flood(1_000)
    assert sends_to(rig) == STRANGER
    assert network.connected() is None
    network.stream(OTHER, 1, flood=2)
    assert sends_to(rig) == network.connected() == OTHER


def test_a_peer_that_moved_takes_its_lane_back_by_its_stream() -> None:
    rig, network = opened()
    network.stream(OTHER, WATCHED_TICKS + 3)
    network.flood(1_000)
    network.stream((OTHER[0], 7_777), 1)
    assert sends_to(rig) == network.connected() == (OTHER[0], 7_777)


def test_without_latching_only_the_signalled_address_is_heard() -> None:
    rig, _ = opened(latching=False)
    assert rig.media.take_orders() == [Connect(0, REMOTE)]
    for number in range(3):
        rig.arrive(packet(0, number, number * 160, 9, speech(number)), 0, OTHER)
        rig.tick()
    assert rig.table.rx_stranger[0] == 3


def test_a_new_address_by_signalling_starts_over() -> None:
    rig, network = opened()
    network.stream(REMOTE, 2)
    rig.configure(remote=OTHER, latching=True)
    rig.tick()
    assert network.connected() is None
    assert sends_to(rig) == OTHER


def test_trailing_packets_of_the_address_before_give_way_to_the_new_one() -> None:
    rig, network = opened()
    network.stream(REMOTE, 5)
    rig.configure(remote=OTHER, latching=True)
    for _ in range(3):
        network.bring(REMOTE)
        network.stream(OTHER, 1, ssrc=10)
    assert sends_to(rig) == network.connected() == OTHER
    rig.configure(remote=("10.0.0.1", 9), latching=True)  # private: its packets come from elsewhere
    network.stream(OTHER, 5, ssrc=10)
    network.stream(STRANGER, 2, ssrc=11)
    assert sends_to(rig) == STRANGER


def test_hold_by_an_unspecified_address_keeps_what_was_latched() -> None:
    rig, network = opened()
    network.stream(OTHER, 2)
    rig.configure(remote=("0.0.0.0", 4000), latching=True, sending=False)
    rig.ticks(100)
    rig.configure(remote=REMOTE, latching=True)
    assert sends_to(rig) == OTHER


def test_t08_another_stream_from_the_same_address_is_heard_at_once() -> None:
    rig, network = opened()
    network.stream(REMOTE, 5, ssrc=1)
    network.stream(REMOTE, 5, ssrc=2)
    assert network.connected() == REMOTE
    assert rig.table.rx_packets[0] == 10
    assert rig.heard(1).any()


def test_reports_go_to_where_reports_come_from_once_rtp_does() -> None:
    peers = Peers(1)
    peers.configure(0, REMOTE, latching=True, remote_rtcp=(REMOTE[0], 4_009))
    assert peers.report_address(0) == (REMOTE[0], 4_009)
    assert not peers.admit_report(0, STRANGER)
    for number in range(2):
        peers.admit(0, OTHER, number, 9, number)
    assert peers.report_address(0) == (OTHER[0], OTHER[1] + 1)
    assert peers.admit_report(0, (OTHER[0], 60_001))
    assert peers.report_address(0) == (OTHER[0], 60_001)
    assert not peers.admit_report(0, STRANGER)


def test_reports_have_no_address_beyond_the_last_port() -> None:
    peers = Peers(1)
    assert peers.report_address(0) is None
    peers.configure(0, (REMOTE[0], 65_535), latching=True)
    assert peers.report_address(0) is None


@pytest.mark.parametrize(
    ("host", "port", "is_taken_as"),
    [
        ("192.0.2.1", 5, ("192.0.2.1", 5)),
        ("2001:DB8:0::1", 5, ("2001:db8::1", 5)),
        ("0.0.0.0", 5, None),
        ("::", 5, None),
        ("example.com", 5, None),
        ("192.0.2.1", 0, None),
        ("192.0.2.1", 65_536, None),
    ],
)
def test_addresses_are_spelled_as_sockets_do(host: str, port: int, is_taken_as: Address | None) -> None:
    assert numeric((host, port)) == is_taken_as


SOURCES = st.sampled_from([STRANGER, ("203.0.113.67", 1), ("203.0.113.68", 2), (REMOTE[0], 4_001)])


@settings(max_examples=50, deadline=None)
@given(
    behind_nat=st.booleans(),
    injected=st.lists(st.lists(st.tuples(SOURCES, st.integers(0, 40)), max_size=4), min_size=20, max_size=40),
)
def test_nothing_injected_while_the_peer_talks_changes_anything(
    behind_nat: bool, injected: list[list[tuple[Address, int]]]
) -> None:
    rig, network = opened()
    peer = ("192.0.2.99", 12_345) if behind_nat else REMOTE
    if behind_nat:
        rig.configure(remote=("10.0.0.1", 4_000), latching=True)
    network.stream(peer, 2)
    for strangers in injected:
        for source, number in strangers:
            network.bring(source, ssrc=9, number=number)
        network.stream(peer, 1)
    assert sends_to(rig) == peer
    assert rig.table.rx_packets[0] == len(injected) + (1 if behind_nat else 2)
    assert rig.table.rx_duplicate[0] == 0
