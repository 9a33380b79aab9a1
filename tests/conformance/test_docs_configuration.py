"""The configuration in the documentation is accepted as it stands there."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from active_call.config import load_config
from active_call.wire.options import CallOption
from tests.interop import kamailio
from tests.needs import need

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [*sorted((DOCS / "connect").glob("*.md")), DOCS / "configuration.md"]


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (f"{page.stem}-{number}", text)
        for page in PAGES
        for number, text in enumerate(
            re.findall(
                rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
            )
        )
    ]


@pytest.mark.parametrize(("name", "text"), [pytest.param(*one, id=one[0]) for one in blocks("toml")])
def test_toml_is_a_working_configuration(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / "active-call.toml"
    path.write_text(text, encoding="utf-8")
    config = load_config(path, {})
    assert config.not_effective() == []


@pytest.mark.parametrize(("name", "text"), [pytest.param(*one, id=one[0]) for one in blocks("json")])
def test_json_is_the_body_of_a_call(name: str, text: str) -> None:
    body = json.loads(text)
    option = CallOption.model_validate(body)
    assert len(option.model_fields_set) == len(body)  # none was unknown, and so ignored
    if option.sip is not None:
        assert len(option.sip.model_fields_set) == len(body["sip"])


def test_every_page_is_linked_from_the_first_one() -> None:
    index = (DOCS / "connect" / "README.md").read_text(encoding="utf-8")
    for page in (DOCS / "connect").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index


def test_the_configuration_of_kamailio_is_one(tmp_path: Path) -> None:
    need(kamailio.installed(), "kamailio")
    [(_, text)] = blocks("kamailio")
    [(_, dispatched)] = [one for one in blocks("") if "# set " in one[1]]
    (tmp_path / "dispatcher.list").write_text(dispatched, encoding="utf-8")
    text = text.replace("/etc/kamailio", str(tmp_path)).replace("198.51.100.1", "127.0.0.1")
    path = tmp_path / "kamailio.cfg"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(["kamailio", "-c", "-f", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
