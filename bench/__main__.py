"""`python -m bench`: measure the gateway on this machine. See docs/benchmark.md."""

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench import api, bargein, flush, media, playbook, rate, ready, setup, stalls, turns
from bench.figures import Figure, save, show
from bench.measure import Options, Tell

SCENARIOS: dict[str, Callable[[Options, Tell], Awaitable[list[Figure]]]] = {
    "ready": ready.run,
    "setup": setup.run,
    "rate": rate.run,
    "flush": flush.run,
    "bargein": bargein.run,
    "turns": turns.run,
    "playbook": playbook.run,
    "stalls": stalls.run,
    "media": media.run,
    "api": api.run,
}
_RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run what was asked for; 1 if a scenario could not be measured."""
    arguments = _arguments()
    options = Options(
        calls=(20,) if arguments.quick else arguments.calls,
        seconds=5.0 if arguments.quick else arguments.seconds,
        quick=arguments.quick,
    )
    progress = Console(stderr=True)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    results: dict[str, list[Figure]] = {}
    failed = False
    for name in arguments.only:
        began = time.monotonic()
        progress.print(f"[bold]{name}[/]")
        try:
            results[name] = asyncio.run(_run(name, options, lambda text: progress.print(f"  {text}")))
        except Exception:
            failed = True
            progress.print_exception(max_frames=8)
        progress.print(f"  {time.monotonic() - began:.0f} s")
    show(results, Console(width=None if sys.stdout.isatty() else 160))
    path = save(results, {"calls": options.calls, "seconds": options.seconds}, started, _RESULTS)
    progress.print(f"written to {path}")
    return 1 if failed else 0


async def _run(name: str, options: Options, tell: Tell) -> list[Figure]:
    return await SCENARIOS[name](options, tell)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gateway on this machine.")
    parser.add_argument(
        "--calls", type=_counts, default=Options().calls, metavar="N,N", help="parallel calls of `media`"
    )
    parser.add_argument(
        "--seconds", type=float, default=Options().seconds, help="length of each measurement of `media`"
    )
    parser.add_argument("--only", type=_names, default=list(SCENARIOS), metavar="NAME,NAME", help="scenarios")
    parser.add_argument("--quick", action="store_true", help="20 calls, 5 s, a quarter of the repetitions")
    return parser.parse_args()


def _counts(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no scenario {', '.join(unknown)}; known: {', '.join(SCENARIOS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
