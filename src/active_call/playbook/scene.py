"""Scenes: the states of a playbook, each a prompt with the keys, sounds and phrases that belong to it."""

import re
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from active_call.core.errors import PlaybookError
from active_call.playbook.options import DtmfAction, FollowUpOption
from active_call.playbook.tags import Tag, scan_tag
from active_call.wire.model import Model
from active_call.wire.problems import explain

DEFAULT = "default"

_HEADER = re.compile(r"^# ?scene:[ \t]*(.*?)[ \t]*$", re.IGNORECASE)
_CODE = re.compile(r"^\s*(```|~~~)")
_TAGS = ("dtmf", "play", "followup", "expect")
_EXPECT_END = re.compile(r"</expect\s*>", re.IGNORECASE)
_ACTION: TypeAdapter[DtmfAction] = TypeAdapter(DtmfAction)


class Scene(Model):
    """One state of the dialogue. `prompt` is a template; `line` is where it starts in the file."""

    id: str
    prompt: str = ""
    line: int = 1
    dtmf: dict[str, DtmfAction] = Field(default_factory=dict)
    play: str | None = None
    follow_up: FollowUpOption | None = None
    expect: tuple[str, ...] = ()


def parse_scenes(body: str, *, source: str, first_line: int) -> tuple[list[Scene], list[str]]:
    """The scenes of a playbook's `body`, the initial one first, and warnings.

    Text before the first `# Scene: id` is the scene "default"; it is the initial one if it isn't blank. Of
    scenes with one id the last counts. Raises PlaybookError on tags that can't be used.
    """
    chunks: list[tuple[str, int, list[str]]] = [(DEFAULT, first_line, [])]
    in_code, code_line = False, 0
    for number, line in enumerate(body.split("\n"), first_line):
        if _CODE.match(line):
            in_code, code_line = not in_code, number
        header = None if in_code else _HEADER.match(line)
        if header is None:
            chunks[-1][2].append(line)
        elif not header[1]:
            raise PlaybookError("a scene needs a name: # Scene: name", source=source, line=number)
        else:
            chunks.append((header[1], number + 1, []))
    scenes: dict[str, Scene] = {}
    warnings: list[str] = []
    if in_code:
        warnings.append(f"{source}:{code_line}: this code block is not closed: scenes below it are not seen")
    for scene_id, line_number, lines in chunks:
        text = "\n".join(lines)
        if scene_id == DEFAULT and line_number == first_line and not text.strip():
            continue
        if scene_id in scenes:
            warnings.append(f'{source}:{line_number - 1}: there are two scenes "{scene_id}"; this one counts')
        scenes[scene_id] = _scene(scene_id, text, line_number, source)
    return list(scenes.values()), warnings


def _scene(scene_id: str, text: str, line: int, source: str) -> Scene:
    found: dict[str, Any] = {"dtmf": {}, "expect": ()}
    prompt = ""
    while (at := text.find("<")) >= 0:
        prompt, text = prompt + text[:at], text[at:]
        scanned = scan_tag(text, _TAGS, _TAGS)
        if not isinstance(scanned, tuple):
            prompt, text = prompt + "<", text[1:]
            continue
        tag, length = scanned
        here = line + prompt.count("\n")
        dropped, text = text[:length], text[length:]
        if tag is not None and tag.name == "expect":
            end = _EXPECT_END.search(text)
            if end is None:
                raise PlaybookError("<expect> is not closed: </expect> is missing", source=source, line=here)
            phrases = (phrase.strip() for phrase in re.split(r"[|\n]", text[: end.start()]))
            found["expect"] += tuple(phrase for phrase in phrases if phrase)
            dropped, text = dropped + text[: end.end()], text[end.end() :]
        elif tag is not None:
            _take(tag, found, source, here)
        prompt += "\n" * dropped.count("\n")  # so that lines keep their numbers
    prompt += text
    blank = len(prompt) - len(prompt.lstrip("\n"))
    return Scene(id=scene_id, prompt=prompt.strip(), line=line + blank, **found)


def _take(tag: Tag, found: dict[str, Any], source: str, line: int) -> None:
    attributes = tag.attributes
    try:
        if tag.name == "dtmf":
            digit = attributes.get("digit", "")
            if not digit:
                raise PlaybookError('<dtmf> needs digit="…" and action="…"', source=source, line=line)
            found["dtmf"][digit] = _ACTION.validate_python(attributes)
        elif tag.name == "play":
            found.setdefault("play", attributes.get("file"))
        elif tag.name == "followup":
            found.setdefault("follow_up", FollowUpOption.model_validate(attributes))
    except ValidationError as error:
        raise PlaybookError(f"<{tag.name}> {explain(error)}", source=source, line=line) from error
