"""Reading a playbook: a Markdown file with settings (YAML) in front and prompts behind."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError

from active_call.core.errors import PlaybookError
from active_call.playbook.frontmatter import Path as KeyPath
from active_call.playbook.frontmatter import Settings, expand, map_text, split_front_matter, unknown_keys
from active_call.playbook.options import FollowUpOption, FrontMatter
from active_call.playbook.prompt import context_of, render
from active_call.playbook.scene import DEFAULT, Scene, parse_scenes
from active_call.speech.llm.rules import Rule, parse_rules
from active_call.speech.providers import LlmOption
from active_call.wire.model import Model
from active_call.wire.options import AsrOption, CallOption, TtsOption, VadOption
from active_call.wire.problems import explain_all

VAD = VadOption(type="silero", speech_padding=200, silence_padding=500)
"""Without a `vad` block: a voice is told after 200 ms, and an utterance ends with 500 ms of silence."""

FILLERS_FILE = Path("config/fillers.txt")
FILLERS = ("uh", "um", "ah", "嗯", "啊", "哦", "那个")
"""Words that don't interrupt, unless FILLERS_FILE has others, one a line."""

_FALLBACK = {
    "en": "Sorry, something went wrong here. Please say that again.",
    "zh": "抱歉，我这边出了点问题，请您再说一遍。",
}
_KEYS = "0123456789*#ABCD"
_GOTO = re.compile(r"""<goto\s[^>]*?scene\s*=\s*["']([^"'>]+)""", re.IGNORECASE)
_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATE = ("greeting", "fallback")
_LATE_KEYS = frozenset(("prompt", "greeting", "rules", "hangup_headers", "hangupHeaders", "target"))
"""Under these keys, at any depth, templates are rendered when they are used."""
_NOT_EFFECTIVE = ("dtmf_collectors", "realtime", "posthook", "eou")


class Playbook(Model):
    """A playbook ready to lead a call. Prompts, greeting and rules are templates, rendered when used."""

    source: str
    option: CallOption
    llm: LlmOption
    language: str
    settings: FrontMatter
    greeting: str | None = None
    fallback: str
    fillers: tuple[str, ...] = FILLERS
    scenes: tuple[Scene, ...]
    """Never empty; the first is the initial one."""
    rules: tuple[Rule, ...] = ()
    warnings: tuple[str, ...] = ()
    lines: dict[str, int] = Field(default_factory=dict)
    """Where the late templates stand in the file."""
    varies: bool = False
    """Its settings hold templates: the variables of another call make another playbook."""

    def scene(self, scene_id: str) -> Scene | None:
        """The scene of that id."""
        return next((scene for scene in self.scenes if scene.id == scene_id), None)

    def follow_up(self, scene: Scene) -> FollowUpOption | None:
        """What holds in `scene`."""
        return scene.follow_up or self.settings.follow_up

    def phrases(self, scene: Scene) -> list[str]:
        """What the caller may say in `scene`: its own list, that of the playbook, and literal rules."""
        ruled = (phrase for rule in self.rules if rule.scene in (None, scene.id) for phrase in rule.phrases())
        return list(dict.fromkeys((*scene.expect, *self.settings.expect, *ruled)))


def read_playbook(
    path: Path | str, *, environment: Mapping[str, str], variables: Mapping[str, Any]
) -> Playbook:
    """The playbook in a file. Raises OSError, and PlaybookError as `load_playbook` does."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlaybookError(
            f"the file is not UTF-8: {error.reason} at byte {error.start}", source=str(path)
        ) from error
    return load_playbook(text, source=str(path), environment=environment, variables=variables)


def load_playbook(
    text: str, *, source: str, environment: Mapping[str, str], variables: Mapping[str, Any]
) -> Playbook:
    """The playbook in `text`, for a call with `variables`. `environment` fills `${NAME}` in its settings.

    Raises PlaybookError that names the line; what is merely odd is in `warnings`.
    """
    parts = split_front_matter(text, source)
    settings = Settings(parts.front, parts.front_line, source)
    warnings = [
        _unknown(path, near, settings, source) for path, near in unknown_keys(FrontMatter, settings.values)
    ]
    scenes, scene_warnings = parse_scenes(parts.body, source=source, first_line=parts.body_line)
    values, varies = _fill(settings, source, environment, variables, warnings)
    front = _validate(values, settings, source)
    warnings += [
        f'{source}:{settings.line((name,))}: "{name}" is read, but not effective yet'
        for name in (key for key in settings.values if _snake(key) in _NOT_EFFECTIVE)
    ]
    llm = _llm(front, environment)
    if not scenes:
        scenes = [Scene(id=DEFAULT, prompt=llm.prompt or "", line=settings.line(("llm", "prompt")))]
    greeting = front.greeting if front.greeting is not None else llm.greeting
    language = _language(front, llm, greeting, scenes)
    rules_path: KeyPath = ("rules",) if "rules" in settings.values else ("llm", "rules")
    playbook = Playbook(
        source=source,
        option=_call_option(front, language, environment),
        llm=llm,
        language=language,
        settings=front,
        greeting=greeting,
        fallback=front.fallback or _FALLBACK["zh" if language == "zh" else "en"],
        fillers=_fillers(),
        varies=varies,
        scenes=tuple(scenes),
        rules=tuple(parse_rules(llm.rules, where=f"{source}:{settings.line(rules_path)}")),
        lines={name: settings.line((name,)) for name in _LATE}
        | {f"rule {at + 1}": settings.line((*rules_path, at, "say")) for at in range(len(llm.rules))},
    )
    warnings += scene_warnings + _check_targets(playbook)
    if playbook.option.asr is None:
        warnings.append(
            f"{source}: only keys are heard: the recogniser of this machine knows English only, not "
            f'"{(front.asr and front.asr.language) or language}"; name another as asr.provider'
        )
    warnings += [
        f'{source}:{settings.line(("llm", name))}: "{name}" is read, but not effective yet'
        for name in ("features", "summaryLimit", "summary_limit")
        if (settings.values.get("llm") or {}).get(name)
    ]
    check_templates(playbook, variables)
    return playbook.model_copy(update={"warnings": tuple(warnings)})


def _fillers() -> tuple[str, ...]:
    try:
        lines = FILLERS_FILE.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return FILLERS
    return tuple(line.strip() for line in lines if line.strip()) or FILLERS


def _unknown(path: KeyPath, near: str | None, settings: Settings, source: str) -> str:
    hint = f'; did you mean "{near}"?' if near else ""
    return f'{source}:{settings.line(path)}: unknown key "{".".join(map(str, path))}" is ignored{hint}'


def _fill(
    settings: Settings,
    source: str,
    environment: Mapping[str, str],
    variables: Mapping[str, Any],
    warnings: list[str],
) -> tuple[dict[str, Any], bool]:
    """The settings with `${NAME}` from the environment, and templates rendered that are not rendered later.

    And whether there were any such templates.
    """
    sip = settings.values.get("sip")
    sip = sip if isinstance(sip, dict) else {}
    headers = sip.get("extract_headers", sip.get("extractHeaders"))
    extra = settings.values.get("extra")
    known = {**(extra if isinstance(extra, dict) else {}), **variables}
    context = context_of(known, headers if isinstance(headers, list) else ())
    rendered = 0

    def fill(text: str, path: KeyPath) -> str:
        def missing(name: str) -> None:
            where = ".".join(map(str, path))
            warnings.append(
                f"{source}:{settings.line(path)}: {where}: ${{{name}}} is not set in the environment"
            )

        filled = expand(text, environment, missing)
        late = path[0] in (*_LATE, "rules") or _LATE_KEYS & set(path)
        plain = "{{" not in text and "{%" not in text  # what the environment holds is no template
        if late or plain:
            return filled
        nonlocal rendered
        rendered += 1
        return render(filled, context, source=source, line=settings.line(path))

    values = map_text(settings.values, fill)
    assert isinstance(values, dict)
    return values, rendered > 0


def _validate(values: dict[str, Any], settings: Settings, source: str) -> FrontMatter:
    # A block with nothing in it is as good as no block.
    values = {key: value for key, value in values.items() if value is not None}
    try:
        return FrontMatter.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise PlaybookError(explain_all([first]), source=source, line=settings.line(first["loc"])) from error


def _llm(front: FrontMatter, environment: Mapping[str, str]) -> LlmOption:
    llm = front.llm or LlmOption(provider="scripted" if front.rules else "openai")
    changes: dict[str, Any] = {}
    if front.rules and not llm.rules:
        changes["rules"] = front.rules
    if (front.rules or llm.rules) and "provider" not in llm.model_fields_set:
        changes["provider"] = "scripted"
    elif llm.provider == "openai":
        changes["model"] = llm.model or environment.get("OPENAI_MODEL")
        changes["base_url"] = llm.base_url or environment.get("OPENAI_BASE_URL")
        if llm.api_key is None and "OPENAI_API_KEY" in environment:
            changes["api_key"] = SecretStr(environment["OPENAI_API_KEY"])
    return llm.model_copy(update=changes)


def _language(front: FrontMatter, llm: LlmOption, greeting: str | None, scenes: list[Scene]) -> str:
    """As it is set, or else Chinese if the texts are."""
    if llm.language:
        return llm.language.lower().replace("_", "-").split("-")[0]
    chinese = _HAN.search(greeting or "") or any(_HAN.search(scene.prompt) for scene in scenes)
    return "zh" if chinese else "en"


def _call_option(front: FrontMatter, language: str, environment: Mapping[str, str]) -> CallOption:
    asr, tts = front.asr or AsrOption(), front.tts or TtsOption()
    deaf = asr.provider is None and not (asr.language or language).lower().startswith("en")
    asr = asr.model_copy(
        update={"provider": asr.provider or "pocketsphinx", "language": asr.language or language}
    )
    tts = tts.model_copy(update={"provider": tts.provider or "espeak", "language": tts.language or language})
    key = environment.get("OPENAI_API_KEY")
    if key and asr.provider == "openai" and asr.secret_key is None:
        asr = asr.model_copy(update={"secret_key": SecretStr(key)})
    if key and tts.provider == "openai" and tts.secret_key is None:
        tts = tts.model_copy(update={"secret_key": SecretStr(key)})
    vad = VAD if front.vad is None else front.vad
    if vad.type is None:
        vad = vad.model_copy(update={"type": VAD.type})
    return CallOption(
        asr=None if deaf else asr,
        tts=tts,
        vad=vad,
        denoise=front.denoise,
        ambiance=front.ambiance,
        recorder=front.recorder,
        eou=front.eou,
        sip=front.sip,
        extra=front.extra,
        inactivity_timeout=front.inactivity_timeout,
        handshake_timeout=front.handshake_timeout,
    )


def _check_targets(playbook: Playbook) -> list[str]:
    known = {scene.id for scene in playbook.scenes}
    warnings = []
    places = [
        ("dtmf", playbook.settings.dtmf),
        *((f'scene "{scene.id}"', scene.dtmf) for scene in playbook.scenes),
    ]
    for where, actions in places:
        for digit, action in actions.items():
            if digit not in _KEYS:
                warnings.append(f'{playbook.source}: {where}: there is no key "{digit}"; keys are {_KEYS}')
            if action.action == "goto" and action.scene not in known:
                warnings.append(
                    f'{playbook.source}: {where}: key {digit} leads to an unknown scene "{action.scene}"'
                )
    warnings += [
        f'{playbook.source}: rule {number}: unknown scene "{rule.scene}"'
        for number, rule in enumerate(playbook.rules, 1)
        if rule.scene is not None and rule.scene not in known
    ]
    said = [("greeting", playbook.greeting or ""), ("fallback", playbook.fallback)]
    said += [(f"rule {number}", text) for number, rule in enumerate(playbook.rules, 1) for text in rule.say]
    warnings += [
        f'{playbook.source}:{playbook.lines[name]}: {name}: <goto> leads to an unknown scene "{scene}"'
        for name, text in said
        for scene in _GOTO.findall(text)
        if scene not in known and "{" not in scene
    ]
    return warnings


def check_templates(playbook: Playbook, variables: Mapping[str, Any]) -> None:
    """Render what is said with a call's variables. Raises PlaybookError that names the line."""
    sip = playbook.option.sip
    known = {**(playbook.option.extra or {}), **variables}
    context = context_of(known, (sip.extract_headers or ()) if sip else ())
    for scene in playbook.scenes:
        render(scene.prompt, context, source=playbook.source, line=scene.line)
    for name, text in (("greeting", playbook.greeting), ("fallback", playbook.fallback)):
        render(text or "", context, source=playbook.source, line=playbook.lines[name])
    for number, rule in enumerate(playbook.rules, 1):
        for text in rule.say:
            render(text, context, source=playbook.source, line=playbook.lines[f"rule {number}"])


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()
