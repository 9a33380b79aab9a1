"""Templates (minijinja) and the system prompt.

A template sees the call's variables, the map `sip` with the headers, and headers by their own names:
`{{ X-Customer }}` as well as `{{ sip["X-Customer"] }}`. What is rendered is never rendered or expanded again.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import minijinja

from active_call.core.errors import PlaybookError

BUILT_INS = frozenset({"session_id", "call_type", "start_time", "caller", "callee"})

_CODE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'|[A-Za-z][\w-]*-\w[\w-]*")
_FUEL = 1_000_000
"""Instructions that a template may run: some hundredths of a second."""


def _written(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else NotImplemented


def _said(value: Any) -> Any:
    written = _written(value)
    if value is None:
        return written
    return str(value if written is NotImplemented else written).replace("<", " ")


_environment = minijinja.Environment(finalizer=_written, fuel=_FUEL)
_speech = minijinja.Environment(finalizer=_said, fuel=_FUEL)

_TOOLS = {
    "en": """\
You are on the telephone: what you write is spoken. Use short sentences, no lists and no Markdown.
To act, write one of these tags; callers never hear them:
- <hangup/> ends the call after you said goodbye in the same answer.
- <goto scene="name"/> continues with another scene.
- <play file="path"/> plays a sound file after what you said before it.
- <set_var key="name" value="text"/> remembers something.
- <refer to="sip:user@host"/> transfers the caller after what you said before it.""",
    "zh": """\
你正在打电话：你写的内容会被读出来。请用简短的句子，不要列表，不要 Markdown。
需要执行动作时写下面的标签，来电者听不到它们：
- <hangup/> 在同一回答里道别之后结束通话。
- <goto scene="名称"/> 进入另一个场景。
- <play file="路径"/> 在前面的话说完后播放一个声音文件。
- <set_var key="名称" value="内容"/> 记住一项信息。
- <refer to="sip:user@host"/> 在前面的话说完后转接来电者。""",
}


def context_of(variables: Mapping[str, Any], headers: Iterable[str] = ()) -> dict[str, Any]:
    """What templates see: `variables` but private ones, and `sip` with `headers` (all, if none are named)."""
    context = {name: value for name, value in variables.items() if not name.startswith("_")}
    wanted = {header.lower() for header in headers}
    sip = {
        name: value
        for name, value in context.items()
        if (name.lower() in wanted if wanted else name not in BUILT_INS and isinstance(value, str))
    }
    return {**context, "sip": sip}


def render(
    template: str, context: Mapping[str, Any], *, source: str = "", line: int = 1, spoken: bool = False
) -> str:
    """`template` with `context` filled in; unknown names are empty.

    `spoken`: for text in which tags act. Those of the template do; what is filled in, a header of the caller's
    for instance, is only said.

    Raises PlaybookError with the line, where `line` is that of the template's first line in `source`.
    """
    if "{{" not in template and "{%" not in template:
        return template
    values = dict(context)
    by_name = {name.lower(): value for name, value in context.items() if "-" in name}

    def plain_names(code: re.Match[str]) -> str:
        def plain(token: re.Match[str]) -> str:
            name = token[0].lower()
            if token[0][0] in "\"'" or not (name in by_name or name.startswith(("x-", "p-"))):
                return token[0]
            # minijinja reads X-Name as a subtraction.
            alias = "__header_" + name.replace("-", "_")
            values[alias] = by_name.get(name, "")
            return alias

        return _TOKEN.sub(plain, code[0])

    try:
        return (_speech if spoken else _environment).render_str(
            _CODE.sub(plain_names, template), None, **values
        )
    except minijinja.TemplateError as error:
        at = line + (error.line or 1) - 1
        raise PlaybookError(
            f"the template can't be rendered: {error.detail or error.kind}", source=source, line=at
        ) from error


def system_prompt(base: str, *, language: str, tool_instructions: str | None = None) -> str:
    """The system message: the scene's text, then how to speak and act."""
    tools = tool_instructions if tool_instructions is not None else _TOOLS["zh" if language == "zh" else "en"]
    return "\n\n".join(part for part in (base.strip(), tools.strip()) if part)
