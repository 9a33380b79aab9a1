from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from active_call.media.cache import DOWNLOAD, SPEECH, MediaCache, cache_key

PCM = np.arange(100, dtype=np.int16)


def test_speech_comes_back(tmp_path: Path) -> None:
    cache = MediaCache(tmp_path / "made" / "when needed")
    assert cache.open_speech("key") is None
    cache.write_speech("key", PCM)
    found = cache.open_speech("key")
    assert found is not None
    with found:
        assert np.frombuffer(found.read(), "<i2").tolist() == PCM.tolist()
    assert cache.size("key", SPEECH) == 200


@given(st.text(max_size=300))
def test_no_key_is_a_path_out_of_the_folder(key: str) -> None:
    root = Path("/cache")
    path = MediaCache(root).path(key, SPEECH)
    assert path.parent == root
    assert path.suffix == SPEECH
    assert not path.name.startswith(".")


def test_dots_in_keys_keep_entries_apart(tmp_path: Path) -> None:
    cache = MediaCache(tmp_path)
    assert cache.path("a_1.2", SPEECH) != cache.path("a_1.5", SPEECH)
    assert cache.path("a", SPEECH) != cache.path("a", DOWNLOAD)


def test_a_file_of_half_a_sample_is_none(tmp_path: Path) -> None:
    cache = MediaCache(tmp_path)
    cache.path("key", SPEECH).write_bytes(b"123")
    assert cache.size("key", SPEECH) == 0
    assert cache.open_speech("key") is None
    cache.path("key", SPEECH).write_bytes(b"")
    assert cache.open_speech("key") is None


def test_two_drafts_of_one_entry_do_not_meet(tmp_path: Path) -> None:
    cache = MediaCache(tmp_path)
    first, second = cache.draft("key", DOWNLOAD), cache.draft("key", DOWNLOAD)
    first.write(b"one")
    second.write(b"another")
    assert cache.size("key", DOWNLOAD) == 0
    first.keep()
    assert first.keep() == cache.path("key", DOWNLOAD)
    second.keep()
    for draft in (first, second):
        draft.drop()
    assert cache.path("key", DOWNLOAD).read_bytes() == b"another"


def test_a_dropped_draft_leaves_nothing(tmp_path: Path) -> None:
    draft = MediaCache(tmp_path).draft("key", DOWNLOAD)
    draft.write(b"half")
    draft.drop()
    assert list(tmp_path.iterdir()) == []


def test_every_part_changes_the_key() -> None:
    parts = {"text": "hello", "speed": 1.2, "extra": {"a": "b"}}
    keys = {cache_key(**parts), cache_key(**parts | {"speed": 1.5}), cache_key(**parts | {"extra": {"a": "c"}})}
    keys.add(cache_key(**parts | {"text": "hello "}))
    assert len(keys) == 4
    assert cache_key(**dict(reversed(parts.items()))) in keys
