"""What a benchmark found, against what it should find: a table for people, JSON for comparing."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity: its statistics by name, and perhaps a limit for the statistic `limited`."""

    name: str
    unit: str
    values: dict[str, float]
    limited: str = ""
    limit: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None without one."""
        return None if self.limit is None else self.values[self.limited] <= self.limit


def one(
    name: str, value: float, unit: str, *, stat: str = "", limit: float | None = None, note: str = ""
) -> Figure:
    """A figure of a single value; `stat` says which one it is ("mean", "median", "largest")."""
    return Figure(name, unit, {stat: value}, stat, limit, note)


def spread(
    name: str,
    values: Sequence[float],
    unit: str,
    percentiles: Sequence[int] = (50, 95, 99),
    *,
    limited: int | None = None,
    limit: float | None = None,
    note: str = "",
) -> Figure:
    """A figure of percentiles. Raises ValueError without values."""
    if not len(values):
        raise ValueError(f"{name}: nothing was measured")
    found = {f"p{p}": float(np.percentile(values, p)) for p in percentiles}
    return Figure(name, unit, found, f"p{limited}" if limited else "", limit, note or f"of {len(values)}")


def show(results: dict[str, list[Figure]], console: Console) -> None:
    """Print the table."""
    table = Table(title="active-call benchmark", title_justify="left")
    for heading in ("scenario", "figure", "measured", "unit", "target", "", "note"):
        table.add_column(heading, overflow="fold")
    for scenario, figures in results.items():
        for index, figure in enumerate(figures):
            measured = "  ".join(f"{stat} {_number(value)}".strip() for stat, value in figure.values.items())
            target = "" if figure.limit is None else f"{figure.limited} ≤ {_number(figure.limit)}".strip()
            mark = {None: "", True: "[green]✓[/]", False: "[red]✗[/]"}[figure.met]
            table.add_row(
                scenario if index == 0 else "", figure.name, measured, figure.unit, target, mark, figure.note
            )
        table.add_section()
    console.print(table)


def save(results: dict[str, list[Figure]], options: dict[str, Any], started: str, folder: Path) -> Path:
    """Write `<folder>/<started>.json`; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{started}.json"
    report = {
        "started": started,
        "machine": _machine(),
        "options": options,
        "scenarios": {
            scenario: [{**asdict(figure), "met": figure.met} for figure in figures]
            for scenario, figures in results.items()
        },
    }
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
