"""Where a call is recorded, and that a client can't choose a place elsewhere."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.call.recording import RecordingPlan, RecordingPolicy, below
from active_call.core.errors import LocalProtocolError
from active_call.wire.options import RecorderOption

ROOT = Path("/root-folder")


def path_of(policy: RecordingPolicy, file: str | None, *, trusted: bool = False) -> str | None:
    asked = RecorderOption(recorder_file=file) if file is not None else None
    plan = policy.plan(asked, "a/b", trusted=trusted)
    return plan.path if plan is not None else None


@pytest.mark.parametrize(
    ("file", "path"),
    [
        (None, None),
        ("", "/root-folder/a%2Fb.wav"),
        ("calls/{id}", "/root-folder/calls/a%2Fb.wav"),
        ("/path/to/recording.wav", "/root-folder/path/to/recording.wav"),
        ("C:\\x.wav", "/root-folder/C:/x.wav"),
    ],
)
def test_a_clients_file_lies_below_the_root(file: str | None, path: str | None) -> None:
    assert path_of(RecordingPolicy(ROOT), file) == path


@pytest.mark.parametrize("file", ["../x.wav", "a/../../x", "/../x", "a\0b", "a\\..\\..\\x"])
def test_a_client_cant_leave_the_root(file: str) -> None:
    with pytest.raises(LocalProtocolError, match=r"recorder\.recorderFile"):
        path_of(RecordingPolicy(ROOT), file)


def test_the_operator_may_name_any_file() -> None:
    assert path_of(RecordingPolicy(ROOT), "/var/calls/x", trusted=True) == "/var/calls/x.wav"


def test_every_call_is_recorded_by_the_configurations_pattern() -> None:
    policy = RecordingPolicy(ROOT, True, RecorderOption(recorder_file="../day/{id}", samplerate=8000, ptime=0))
    plan = policy.plan(None, "c1", trusted=False)
    assert plan is not None
    assert (plan.path, plan.rate_hz, plan.flush_ms) == ("/root-folder/../day/c1.wav", 8000, 200)
    assert path_of(policy, "") == "/root-folder/../day/a%2Fb.wav"


@given(st.text(max_size=40))
def test_no_name_leads_out_of_a_folder(name: str) -> None:
    try:
        path = below(ROOT, name, what="x")
    except LocalProtocolError:
        return
    assert path.is_relative_to(ROOT)
    assert ".." not in path.parts


def test_each_further_part_has_its_own_file() -> None:
    plan = RecordingPlan("a/b-2.wav", 8_000, 100)
    second = plan.next_part()
    assert (second.path, second.rate_hz, second.flush_ms) == ("a/b-2-2.wav", 8_000, 100)
    assert second.next_part().path == "a/b-2-3.wav"


def test_an_empty_name_is_called_so() -> None:
    with pytest.raises(LocalProtocolError, match="^recorderFile is empty; name a file$"):
        below(ROOT, "/", what="recorderFile")
