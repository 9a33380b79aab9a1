import json
from pathlib import Path

import pytest

from active_call.cli.trace import find_dump, run_trace
from active_call.core.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("s.alpha-1", "s.alpha-2", "s.beta"):
        content = "< OPTIONS sip:a@b SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n"
        line = json.dumps({"type": "sip", "timestamp": 1000, "content": content})
        (tmp_path / f"{name}.events.jsonl").write_text(line + "\n")
    return tmp_path


def test_a_call_is_found_by_its_path_its_id_and_a_part_of_it(folder: Path) -> None:
    path = folder / "s.beta.events.jsonl"
    for name in (str(path), "s.beta", "beta"):
        assert find_dump(name, folder) == path


def test_a_part_that_several_have_is_refused_with_their_names(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"any of 2 calls: s\.alpha-1, s\.alpha-2"):
        find_dump("alpha", folder)


def test_a_call_that_is_not_there_is_named_with_the_folder(folder: Path) -> None:
    with pytest.raises(ConfigError, match='no dump of a call "gamma"'):
        find_dump("gamma", folder)


def test_the_ladder_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_trace("beta", folder) == 0
    assert "OPTIONS sip:a@b" in capsys.readouterr().out
