import ctypes
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from active_call.lanes import codecs
from active_call.lanes.codecs import available_codecs, g729_library, opus_library


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    for found in (opus_library, g729_library):
        found.cache_clear()
    yield
    for found in (opus_library, g729_library):
        found.cache_clear()


class Loader:
    """Stands for ctypes.CDLL: knows some libraries."""

    def __init__(self, *known: str) -> None:
        self._known = known

    def __call__(self, name: str) -> None:
        if name not in self._known:
            raise OSError(f"{name}: cannot open shared object file")


def test_some_codecs_need_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", Loader())
    monkeypatch.setattr(codecs, "find_spec", lambda name: None)
    assert available_codecs() == {"pcmu", "pcma", "g722", "l16", "telephone-event", "cn"}
    assert opus_library() is g729_library() is None


def test_the_systems_libraries_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", Loader("libopus.so.0", "libbcg729.so.0"))
    assert available_codecs() >= {"opus", "g729"}
    assert opus_library() == "libopus.so.0"


def test_opus_may_come_with_av_which_is_not_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "av.libs" / "libopus-1234.so.0.11.1"
    copy.parent.mkdir()
    copy.touch()
    spec = ModuleSpec("av", None, origin=str(tmp_path / "av" / "__init__.py"))
    monkeypatch.setattr(ctypes, "CDLL", Loader(str(copy)))
    monkeypatch.setattr(codecs, "find_spec", lambda name: spec)
    assert opus_library() == str(copy)
    assert "opus" in available_codecs()
