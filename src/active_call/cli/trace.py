"""`active-call trace CALL`: the SIP ladder of a call, from its dump."""

from pathlib import Path

from active_call.core.errors import ConfigError
from active_call.core.names import safe_name
from active_call.records.ladder import ladder

_SUFFIX = ".events.jsonl"


def run_trace(call: str, folder: Path) -> int:
    """Print the ladder of a call (its id, or its dump's path). Raises ConfigError if there is no such dump."""
    path = find_dump(call, folder)
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in ladder(lines):
            print(line)
    return 0


def find_dump(call: str, folder: Path) -> Path:
    """The dump of a call, by its path, its id, or a part of its id that no other has.

    Raises ConfigError naming what there is.
    """
    for path in (Path(call), folder / f"{safe_name(call)}{_SUFFIX}"):
        if path.is_file():
            return path
    near = [path for path in folder.glob(f"*{_SUFFIX}") if call in path.name]
    if len(near) == 1:
        return near[0]
    if near:
        names = ", ".join(path.name.removesuffix(_SUFFIX) for path in sorted(near)[:5])
        raise ConfigError(f'trace: "{call}" may be any of {len(near)} calls: {names}; write more of it')
    raise ConfigError(f'trace: there is no dump of a call "{call}" in {folder}')
