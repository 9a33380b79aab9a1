"""Whom a lane's peer hears."""

from active_call.call.audio.mix import Mix
from active_call.lanes.messages import SetMix
from tests.unit.media.fakes import NotingPlane


def test_every_change_is_told_once() -> None:
    plane = NotingPlane()
    peer, one, two, three = (plane.lane(row) for row in range(4))
    mix = Mix(peer)
    mix.clear()
    mix.remove(one)
    mix.add(one)
    mix.add(one)
    mix.add(two)
    assert one in mix
    mix.replace(one, three)
    mix.replace(one, two)
    mix.remove(two)
    mix.move(one)
    mix.clear()
    told = [(each.row, [source.row for source in each.sources]) for each in plane.told(SetMix)]
    assert told == [(0, [1]), (0, [1, 2]), (0, [3, 2]), (0, [3]), (1, [3]), (1, [])]
