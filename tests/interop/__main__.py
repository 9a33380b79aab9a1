"""The whole matrix, cell by cell, and its table in docs/interop.md.

    python -m tests.interop [part of a cell's name …]

Exit status 1 if a cell failed that the peer can do.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from active_call import __version__
from active_call.core.errors import ActiveCallError
from tests.interop.matrix import CODECS, DIRECTIONS, MEDIA, PEERS, TRANSPORTS, Cell, cells, house, missing

_DOCUMENT = Path(__file__).parents[2] / "docs" / "interop.md"
_VERSIONS = {
    "baresip": ("dpkg-query", "-W", "-f=${Version}", "baresip-core"),
    "linphone": ("dpkg-query", "-W", "-f=${Version}", "linphone-cli"),
    "SIPp": ("dpkg-query", "-W", "-f=${Version}", "sip-tester"),
}


def main(patterns: list[str]) -> int:
    wanted = [cell for cell in cells() if all(pattern in str(cell) for pattern in patterns)]
    results: dict[Cell, str] = {}
    with tempfile.TemporaryDirectory(prefix="interop-") as folder, house(Path(folder)) as made:
        for number, cell in enumerate(wanted, 1):
            results[cell] = _result(made.run, cell)
            print(f"[{number:3}/{len(wanted)}] {cell!s:45} {results[cell]}", flush=True)
    failed = [cell for cell in wanted if results[cell] != "ok" and not results[cell].startswith("no: ")]
    print(f"{len(wanted)} cells: {sum(result == 'ok' for result in results.values())} ok, {len(failed)} failed")
    if not patterns:
        _DOCUMENT.write_text(_document(results), encoding="utf-8")
        print(f"written: {_DOCUMENT}")
    return 1 if failed else 0


def _result(run: Callable[[Cell], None], cell: Cell) -> str:
    if cell.cannot is not None:
        return f"no: {cell.cannot}"
    lacking = missing(cell)
    if lacking is not None:
        return f"{lacking} is not installed"
    try:
        run(cell)
    except (ActiveCallError, TimeoutError, OSError) as error:
        return f"FAILED: {str(error).splitlines()[0]}"
    return "ok"


def _document(results: dict[Cell, str]) -> str:
    lines = [
        "# Which telephones work",
        "",
        "Each cell is a real call on loopback: the telephone says one tone, the agent another, and both must",
        "be heard at the other end, through the codec and the encryption named. `make interop` makes all calls",
        "and writes this page.",
        "",
        f"active-call {__version__}; " + "; ".join(f"{peer} {_version(peer)}" for peer in _VERSIONS),
        "",
    ]
    notes: dict[str, int] = {}
    for peer in PEERS:
        heading = "active-call itself" if peer == "active-call" else peer
        lines += [f"## {heading}", "", f"| transport | media | direction | {' | '.join(CODECS)} |"]
        lines += ["|---|---|---|" + "---|" * len(CODECS)]
        for transport in TRANSPORTS:
            for media in MEDIA:
                for direction in DIRECTIONS:
                    marks = []
                    for codec in CODECS:
                        result = results[Cell(peer, transport, media, codec, direction)]
                        number = notes.setdefault(result, len(notes) + 1) if result != "ok" else 0
                        marks.append("✓" if result == "ok" else f"– ({number})")
                    lines.append(
                        f"| {transport.upper()} | {media.upper()} | {direction} | {' | '.join(marks)} |"
                    )
        lines.append("")
    lines += [f"({number}) {result.removeprefix('no: ')}  " for result, number in notes.items()]
    return "\n".join(lines).rstrip() + "\n"


def _version(peer: str) -> str:
    done = subprocess.run(_VERSIONS[peer], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not installed"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
