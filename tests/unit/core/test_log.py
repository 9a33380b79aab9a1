"""Lines of the log."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from active_call.core import log


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log.setup("info", str(tmp_path / "log"))
    yield tmp_path / "log"
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


def test_a_call_is_named_whatever_its_id_is(file: Path) -> None:
    calls = log.CallLog(logging.getLogger("calls"), "50%s%d")
    calls.info("- %s -> %s", "new", "ringing")
    calls.warning("- 100 % of it")
    calls.debug("not shown")
    first, second = file.read_text().splitlines()
    assert first.endswith(" INFO  calls [50%s%d] - new -> ringing")
    assert second.endswith(" WARN  calls [50%s%d] - 100 % of it")


def test_a_text_of_a_stranger_is_one_line(file: Path) -> None:
    logging.getLogger("calls").info("! %s", "sip:a@b\r\n2026-01-01 00:00:00 INFO  calls all is well\x1b[2J")
    (line,) = file.read_text().splitlines()
    assert line.endswith(r"! sip:a@b\x0d\x0a2026-01-01 00:00:00 INFO  calls all is well\x1b[2J")


def test_a_traceback_has_its_lines(file: Path) -> None:
    try:
        raise ValueError("so")
    except ValueError:
        logging.getLogger("calls").exception("- failed")
    lines = file.read_text().splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: so"
