import json
from pathlib import Path

import pytest

from active_call.cli.main import main


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--conf", "none.toml"], "active-call: none.toml: No such file or directory\n"),
        (["--external-ip", "x"], 'active-call: --external-ip: "x" is not an IP address'),
        (["--codecs", "pcmu,opsu"], 'active-call: --codecs: "opsu" is not a codec; did you mean opus?'),
        (["--http", "8080"], 'active-call: --http: "8080" is not an address'),
        (["--call", "sip:a@127.0.0.1"], "active-call: --call: needs a playbook to talk with"),
    ],
)
def test_what_the_operator_must_correct_exits_with_2(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags) == 2
    assert message in capsys.readouterr().err


def test_each_error_of_a_file_is_one_line(empty_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (empty_directory / "a.toml").write_text("udp_port = 'x'\nadr = 1\n")
    assert main(["--conf", "a.toml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["a.toml:1", "a.toml:2"]


def test_a_file_in_the_working_directory_is_not_read_unasked(
    empty_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (empty_directory / "active-call.toml").write_text("broken")
    assert main(["--call", "sip:a@127.0.0.1"]) == 2
    assert "broken" not in capsys.readouterr().err


def test_the_schema_of_commands_and_events_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "TtsCommand" in json.loads(capsys.readouterr().out)["$defs"]
