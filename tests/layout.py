"""Checks that unit tests mirror the sources and that modules stay small: `python -m tests.layout`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "active_call"
UNIT_TESTS = ROOT / "tests" / "unit"
MOST_LINES = 900


def sources_of(test: Path) -> list[Path]:
    """What tests/unit/a/test_b.py may test: a/b.py, the package a/b, or a/__b__.py."""
    name = test.stem.removeprefix("test_")
    return [test.parent / f"{name}.py", test.parent / name / "__init__.py", test.parent / f"__{name}__.py"]


def tests_without_source() -> Iterator[str]:
    """A line for each unit test that has no source."""
    for test in sorted(UNIT_TESTS.rglob("test_*.py")):
        relative = test.relative_to(UNIT_TESTS)
        if not any((SOURCES / source).is_file() for source in sources_of(relative)):
            yield f"tests/unit/{relative}: no source src/active_call/{sources_of(relative)[0]}"


def module_lines() -> dict[Path, int]:
    """Lines of each module; empty ones don't count."""
    counts = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in sorted(SOURCES.rglob("*.py"))
    }
    return {path: count for path, count in counts.items() if count}


def main() -> int:
    """Print what is wrong; 1 if anything is."""
    counts = module_lines()
    problems = list(tests_without_source())
    problems += [
        f"{path.relative_to(ROOT)}: {count} lines, more than {MOST_LINES}; which is its second subject?"
        for path, count in counts.items()
        if count > MOST_LINES
    ]
    for problem in problems:
        print(problem, file=sys.stderr)
    lines = counts.values()
    print(f"layout: {len(lines)} modules, median {median(lines):.0f} lines, longest {max(lines)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
