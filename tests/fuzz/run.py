"""Throws broken messages at parsers, at a user agent amid calls, and over the wire at a running gateway."""

import gc
import itertools
import resource
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.fuzz import targets
from tests.fuzz.corpus import MESSAGES, OFFERS, torture
from tests.fuzz.mutation import Mutator

_MESSAGES_PER_AGENT = 300


@dataclass
class Report:
    """What was thrown, and what it broke."""

    counts: dict[str, int] = field(default_factory=dict)
    defects: list[str] = field(default_factory=list)
    growth_mib: float = 0.0
    """Of this process after the first tenth of the time."""


def fuzz(seconds: float, seed: int = 1, progress: Callable[[str], None] | None = None) -> Report:
    """Fuzz parsers and a user agent for so long. The defects name the seed and the input."""
    report = Report()
    begun = time.monotonic()
    warm = 0.0
    for turn in itertools.count(seed):
        passed = time.monotonic() - begun
        if passed >= seconds or len(report.defects) >= 10:
            break
        for name, inputs, throw in _targets(turn):
            _throw(report, name, turn, inputs, throw)
        agent = targets.BusyAgent()
        _throw(report, "agent", turn, _several(Mutator(turn, (*MESSAGES, *torture()))), agent.receive)
        _throw(report, "agent forgets", turn, iter((b"",)), lambda _, agent=agent: agent.forget())  # type: ignore[misc]
        if not warm and passed > seconds / 10:
            warm = _rss_mib()
        if progress is not None and turn % 20 == 0:
            progress(f"{passed:6.0f} s  {sum(report.counts.values()):9} inputs  {len(report.defects)} defects")
    if warm:
        report.growth_mib = _rss_mib() - warm
    return report


def _targets(turn: int) -> Iterator[tuple[str, Iterator[bytes], Callable[[bytes], None]]]:
    yield "sdp", _several(Mutator(turn, OFFERS)), targets.sdp
    yield "sip", _several(Mutator(turn, (*MESSAGES, *torture()))), targets.sip


def _several(mutator: Mutator) -> Iterator[bytes]:
    return (mutator.message() for _ in range(_MESSAGES_PER_AGENT))


def _throw(
    report: Report, name: str, turn: int, inputs: Iterator[bytes], throw: Callable[[bytes], None]
) -> None:
    for number, data in enumerate(inputs):
        report.counts[name] = report.counts.get(name, 0) + 1
        try:
            throw(data)
        except Exception:
            shown = traceback.format_exc(limit=-3)
            report.defects.append(f"{name}, seed {turn}, input {number}: {data[:300]!r}\n{shown}")
            return


def _rss_mib() -> float:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / (1 << 20)
