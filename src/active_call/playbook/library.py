"""Playbook files, read once: calls share what their variables do not change."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from active_call.playbook.document import FILLERS_FILE, Playbook, check_templates, read_playbook

_Stamp = tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class _Read:
    playbook: Playbook
    stamps: tuple[_Stamp, _Stamp]


class PlaybookLibrary:
    """Reads playbooks, and again when their files changed. `environment` fills `${NAME}` in their settings."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._read: dict[Path, _Read] = {}

    def read(self, path: Path, variables: Mapping[str, Any]) -> Playbook:
        """The playbook in a file, for a call with `variables`. Raises OSError and PlaybookError."""
        stamps = (_stamp(path), _stamp(FILLERS_FILE))
        known = self._read.get(path)
        if known is not None and known.stamps == stamps:
            check_templates(known.playbook, variables)
            return known.playbook
        playbook = read_playbook(path, environment=self._environment, variables=variables)
        if playbook.varies:
            self._read.pop(path, None)
        else:
            self._read[path] = _Read(playbook, stamps)
        return playbook


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
