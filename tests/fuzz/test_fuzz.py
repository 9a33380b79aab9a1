"""A minute's worth of broken messages; `make fuzz` takes half an hour, and more ways."""

import os
from pathlib import Path

import pytest

from tests.fuzz.run import fuzz
from tests.fuzz.wire import fuzz_gateway

SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))


def test_broken_messages_break_nothing() -> None:
    report = fuzz(SECONDS * 0.6, seed=int(os.environ.get("FUZZ_SEED", "1")))
    assert not report.defects, "\n\n".join(report.defects)
    assert min(report.counts.values()) > 10
    assert report.growth_mib < 20


@pytest.mark.e2e
def test_a_gateway_that_is_thrown_at_goes_on(tmp_path: Path) -> None:
    report = fuzz_gateway(tmp_path, SECONDS * 0.3)
    assert not report.defects, "\n\n".join(report.defects)
    assert report.growth_mib < 40
