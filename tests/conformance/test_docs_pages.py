"""Each page of the documentation can be found, its links lead somewhere, and its programs are right."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
PROGRAMS = [
    pytest.param(text, id=f"{path.stem}-{number}")
    for path in (ROOT / "README.md", DOCS / "client.md", DOCS / "api.md")
    for number, text in enumerate(
        re.findall(r"^```python\n(.*?)^```|^ {4}(import asyncio\n.*?)(?=^\S)", path.read_text(), re.M | re.S)
    )
]


def without_code(text: str) -> str:
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*\]\([^`\n]*`", "", text)


def anchors(path: Path) -> set[str]:
    """The names that headings get: lower case, without punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_every_page_is_linked_from_the_readme(page: Path) -> None:
    assert f"(docs/{page.name})" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", PROGRAMS)
def test_programs_are_right(text: tuple[str, str]) -> None:
    """They are Python, and what they import is there."""
    source = text[0] or re.sub("^ {4}", "", text[1], flags=re.M)
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imports
    for node in imports:
        module = importlib.import_module(node.module or "")
        for alias in node.names:
            assert hasattr(module, alias.name), alias.name


def test_there_are_programs() -> None:
    assert len(PROGRAMS) >= 2


@pytest.mark.parametrize("name", ["outbound", "echo", "dialogue", "webhook"])
def test_every_example_is_mentioned(name: str) -> None:
    assert (ROOT / "examples" / f"{name}.py").exists()
    assert f"{name}.py" in (DOCS / "client.md").read_text(encoding="utf-8")
