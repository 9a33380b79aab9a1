"""Real telephones call, and are called: audio is heard at both ends. `make interop` runs all cells."""

from collections.abc import Iterator

import pytest

from tests.interop.matrix import Cell, House, cells, house, missing, pairwise
from tests.needs import need

POSSIBLE = [cell for cell in cells() if cell.cannot is None]
SUBSET = pairwise(POSSIBLE)


@pytest.fixture(scope="module")
def gateway_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("interop")) as made:
        yield made


@pytest.mark.e2e
@pytest.mark.parametrize("cell", SUBSET, ids=str)
def test_audio_both_ways(gateway_house: House, cell: Cell) -> None:
    lacking = missing(cell)
    need(lacking is None, lacking or "")
    gateway_house.run(cell)


def test_the_subset_is_small_and_meets_everything() -> None:
    assert len(SUBSET) <= 30
    for column in ("peer", "transport", "media", "codec", "direction"):
        assert {getattr(cell, column) for cell in SUBSET} == {getattr(cell, column) for cell in POSSIBLE}
