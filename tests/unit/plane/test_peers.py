from active_call.dsp.rtp import packet
from active_call.lanes.messages import (
    Latched,
    MediaStarted,
)
from active_call.plane.peers import Address, Connect
from tests.unit.plane.rig import REMOTE, Rig, speech

OTHER = ("198.51.100.2", 7000)


def stream(rig: Rig, numbers: range, source: Address) -> None:
    for number in numbers:
        rig.arrive(packet(0, number, number * 160, 9, speech(number)), 0, source)
        rig.tick()


def test_a_lane_latches_after_two_packets_in_sequence() -> None:
    rig = Rig()
    rig.open(latching=True)
    stream(rig, range(1), OTHER)
    assert (rig.table.latched[0], rig.table.rx_stranger[0]) == (0, 1)
    stream(rig, range(1, 2), OTHER)
    assert rig.connects == [OTHER]
    assert rig.told(MediaStarted) == [MediaStarted(0, 1, 1, *OTHER)]
    assert rig.told(Latched) == [Latched(0, 1, 1, *OTHER)]
    assert rig.media.peers.address[0] == OTHER


def test_scattered_packets_do_not_latch() -> None:
    rig = Rig()
    rig.open(latching=True)
    for number in (5, 90, 7_000):
        stream(rig, range(number, number + 1), OTHER)
    assert rig.connects == []
    assert rig.table.rx_stranger[0] == 3


def test_the_signalled_address_is_heard_from_its_first_packet() -> None:
    rig = Rig()
    rig.open(latching=True)
    stream(rig, range(1), REMOTE)
    assert rig.table.rx_packets[0] == 1


def test_a_silent_peer_may_come_back_from_elsewhere() -> None:
    rig = Rig()
    rig.open(latching=True)
    stream(rig, range(2), REMOTE)
    rig.ticks(25)
    assert rig.connects[-1] is None
    assert rig.tick()[0]  # sending goes on
    stream(rig, range(100, 102), OTHER)
    assert rig.connects[-1] == OTHER


def test_without_latching_only_the_signalled_address_is_heard() -> None:
    rig = Rig()
    rig.open(latching=False)
    assert rig.media.take_orders() == [Connect(0, REMOTE)]
    stream(rig, range(3), OTHER)
    assert rig.table.rx_stranger[0] == 3


def test_a_new_address_by_signalling_starts_over() -> None:
    rig = Rig()
    rig.open(latching=True)
    stream(rig, range(2), REMOTE)
    rig.configure(remote=OTHER, latching=True)
    rig.tick()
    assert rig.connects[-1] is None
    assert rig.media.peers.address[0] == OTHER
