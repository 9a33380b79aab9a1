"""Files that were made or fetched once: synthesised speech, downloads, decoded sounds.

Each entry is one file. It gets its name only when it is whole: readers see all of it or nothing, and two calls
that write the same entry at once both succeed. Nothing is ever removed; that is for the operator.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from active_call.core.audio import Pcm
from active_call.core.names import safe_name

SPEECH, DOWNLOAD, SOUND = ".pcm", ".audio", ".raw"
"""Kinds of entries: raw 16 kHz int16 speech; a file as it was fetched; a file decoded to raw 16 kHz int16."""

_MOST_SPEECH = 64 << 20
"""Bytes of a speech entry that is read: half an hour."""


def cache_key(**parts: Any) -> str:
    """A key that differs if any of the parts does (values of JSON)."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class MediaCache:
    """A folder, which is made when it is first needed. Its methods wait for the disk: call them in threads."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, key: str, kind: str) -> Path:
        """Where an entry is or would be. Any text is a key, and no key leads out of the folder."""
        return self._root / (safe_name(key) + kind)

    def size(self, key: str, kind: str) -> int:
        """Bytes of an entry; 0 if there is none, or none that can be what it says it is."""
        try:
            size = self.path(key, kind).stat().st_size
        except OSError:
            return 0
        return 0 if kind != DOWNLOAD and size % 2 else size

    def open_speech(self, key: str) -> BinaryIO | None:
        """A speech entry, to be read: samples of 2 bytes, little endian."""
        if not 0 < self.size(key, SPEECH) <= _MOST_SPEECH:
            return None
        try:
            return self.path(key, SPEECH).open("rb")
        except OSError:
            return None

    def write_speech(self, key: str, pcm: Pcm) -> None:
        """Keep speech. Raises OSError."""
        draft = self.draft(key, SPEECH)
        try:
            draft.append(pcm)
            draft.keep()
        finally:
            draft.drop()

    def draft(self, key: str, kind: str) -> "Draft":
        """A file that will be an entry. Raises OSError."""
        self._root.mkdir(parents=True, exist_ok=True)
        return Draft(self.path(key, kind))


class Draft:
    """An entry in the making: `write`, then `keep`; `drop` at the end in any case. All raise OSError."""

    def __init__(self, target: Path) -> None:
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=target.parent)
        self.path = Path(name)
        """Where it is until it is kept."""
        self._target = target
        self._file = os.fdopen(descriptor, "wb")

    def write(self, data: bytes) -> None:
        """Append."""
        self._file.write(data)

    def append(self, pcm: Pcm) -> None:
        """Append samples, as entries of speech and sound have them."""
        self.write(pcm.astype("<i2", copy=False).tobytes())

    def flush(self) -> None:
        """Let others read what was written."""
        self._file.flush()

    def keep(self) -> Path:
        """Make it the entry, if it is not yet; where that is."""
        if self._file.closed:
            return self._target
        self._file.flush()
        os.fsync(self._file.fileno())  # or a crash could leave a name without its data
        self._file.close()
        os.replace(self.path, self._target)
        return self._target

    def drop(self) -> None:
        """Remove what was not kept."""
        self._file.close()
        self.path.unlink(missing_ok=True)
