"""A part knows its owner, and doesn't keep it alive."""

import pytest

from active_call.core.owner import Owner, weakly


class House:
    def __init__(self) -> None:
        self.rings = 0
        self.door = Door(self)

    def ring(self, times: int = 1) -> int:
        self.rings += times
        return self.rings


class Door:
    _house = Owner[House]()

    def __init__(self, house: House) -> None:
        self._house = house
        self.bell = weakly(house.ring, -1)

    @property
    def house(self) -> House:
        return self._house


def test_a_part_has_its_owner() -> None:
    house = House()
    assert house.door.house is house
    assert house.door.bell(2) == house.rings == 2


def test_each_part_has_an_owner_of_its_own() -> None:
    one, other = House(), House()
    assert (one.door.house, other.door.house) == (one, other)


def test_a_part_does_not_keep_its_owner() -> None:
    door = House().door
    with pytest.raises(ReferenceError, match="the owner of this Door is gone"):
        _ = door.house


def test_who_is_gone_is_told_nothing() -> None:
    door = House().door
    assert door.bell() == -1
