from pathlib import Path
from typing import Any

import pytest

from active_call.core.errors import PlaybookError
from active_call.playbook.document import Playbook, load_playbook, read_playbook
from active_call.speech.turn import Strategy


def load(
    front: str, body: str = "", *, environment: dict[str, str] | None = None, **variables: Any
) -> Playbook:
    text = f"---\n{front}\n---\n{body}"
    return load_playbook(text, source="p.md", environment=environment or {}, variables=variables)


def error(front: str, body: str = "") -> str:
    with pytest.raises(PlaybookError) as caught:
        load(front, body)
    return str(caught.value)


def test_a_playbook_without_blocks_runs_on_this_machine() -> None:
    option = load("greeting: Hello.").option
    assert (option.tts and option.tts.provider, option.asr and option.asr.provider) == (
        "espeak",
        "pocketsphinx",
    )
    assert option.vad is not None
    assert (option.vad.type, option.vad.silence_padding) == ("silero", 500)
    assert option.asr is not None
    assert option.asr.language == "en"


def test_without_a_recogniser_for_the_language_only_keys_are_heard() -> None:
    playbook = load("greeting: 您好")
    assert playbook.option.asr is None
    assert 'knows English only, not "zh"; name another' in playbook.warnings[0]
    german = load("greeting: Hello\nasr: {language: de}")
    assert 'not "de"' in german.warnings[0]
    assert load("greeting: 您好\nasr: {provider: openai}").option.asr is not None


def test_the_language_is_given_or_seen_in_the_texts() -> None:
    assert load("greeting: 您好").language == "zh"
    assert load("llm: {language: zh-CN}").language == "zh"
    tts = load("greeting: 您好\ntts: {language: yue}").option.tts
    assert tts is not None
    assert tts.language == "yue"


def test_blocks_are_taken_in_every_spelling() -> None:
    playbook = load(
        """
asr: {provider: openai, model: whisper-1}
tts: {provider: openai, voice: 101001}
vad: {provider: webrtc, speech_padding: 300, silencePadding: 500}
llm: {provider: openai, base_url: "http://localhost/v1", repair_window_ms: 100}
followup: {timeout: 10s, max: 2}
interruption: {ignore_first_ms: 300, fillerWordFilter: true}
inactivityTimeout: 1m 30s
dtmf: {0: {action: hangup}, "*": {action: transfer, target: "sip:1"}}
recorder: {recorder_file: "x.wav"}
sip: {extract_headers: [X-A], hangup_headers: {X-B: 1}}
"""
    )
    option = playbook.option
    assert option.asr is not None
    assert option.asr.model_type == "whisper-1"
    assert option.tts is not None
    assert option.tts.speaker == "101001"
    assert option.vad is not None
    assert (option.vad.type, option.vad.speech_padding, option.vad.silence_padding) == ("webrtc", 300, 500)
    assert playbook.llm.repair_window_ms == 100
    assert playbook.settings.follow_up is not None
    assert (playbook.settings.follow_up.timeout, playbook.settings.follow_up.max_count) == (10_000, 2)
    assert playbook.settings.interruption.strategy is Strategy.BOTH
    assert option.inactivity_timeout == 90
    assert set(playbook.settings.dtmf) == {"0", "*"}
    assert playbook.warnings == ()


def test_front_matter_ends_at_a_line_only() -> None:
    playbook = load("greeting: a --- b\nextra: {x: '---'}", "text\n---\nmore")
    assert playbook.greeting == "a --- b"
    assert playbook.scenes[0].prompt == "text\n---\nmore"


@pytest.mark.parametrize("before", ["\ufeff", "\n\n", "\ufeff\r\n"])
def test_a_mark_and_blank_lines_before_it_do_no_harm(before: str) -> None:
    text = before + "---\r\ngreeting: Hi\r\n---\r\n# Scene: a \r\nOne\r\n"
    playbook = load_playbook(text, source="p.md", environment={}, variables={})
    assert playbook.greeting == "Hi"
    assert [(scene.id, scene.prompt) for scene in playbook.scenes] == [("a", "One")]


def test_yaml_is_read_by_the_core_rules() -> None:
    extra = load("extra: {a: yes, b: on, c: 12:30, d: 010, e: true, f: 2024-01-02, g: 1.5}").option.extra
    assert extra == {"a": "yes", "b": "on", "c": "12:30", "d": 10, "e": True, "f": "2024-01-02", "g": 1.5}


@pytest.mark.parametrize(
    ("front", "text"),
    [
        ("greeting: Hi\na: ]", "p.md:3: the YAML is broken"),
        (
            "greeting: Hi\nfollowUp:\n  timeout: soon",
            'p.md:4: followUp.timeout: "soon" is not a duration',
        ),
        (
            "greeting: Hi\ninterruption: {strategy: loud}",
            "p.md:3: interruption.strategy: must be 'both', 'vad', 'asr' or 'none'",
        ),
        ("dtmf:\n  1: {action: goto}", "p.md:3: dtmf.1.goto.scene: is missing"),
        (
            "dtmf:\n  1: {action: jump}",
            'p.md:3: dtmf.1.action: there is no action "jump"; known are goto, transfer, hangup',
        ),
        ("greeting: a\ngreeting: b", 'p.md:3: the key "greeting" stands here twice'),
        ("just text", "p.md:2: the settings are not `key: value` lines"),
        ("rules:\n  - {when: x}", "p.md:2: rule 1: say: is missing"),
        (
            "llm:\n\tprovider: x",
            "p.md:3: the YAML is broken: found character that cannot start any token; indent with spaces",
        ),
        ("a: &a [*a]", "p.md:2: an alias refers to itself"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(front: str, text: str) -> None:
    assert error(front).startswith(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [("Hello", "p.md:1: a playbook starts"), ("\n---\na: b", "p.md:2: the settings are not closed")],
)
def test_missing_lines_are_named(text: str, message: str) -> None:
    with pytest.raises(PlaybookError, match=message):
        load_playbook(text, source="p.md", environment={}, variables={})


def test_secrets_are_not_in_error_texts() -> None:
    assert "sk-1" not in error("llm: {apiKey: [sk-1]}")


def test_unknown_keys_are_warnings_with_the_nearest_name() -> None:
    playbook = load("greting: Hi\nvad:\n  silence_pading: 3\ndtmf: {1: {action: hangup}}\nfoo: 1")
    assert playbook.warnings == (
        'p.md:2: unknown key "greting" is ignored; did you mean "greeting"?',
        'p.md:4: unknown key "vad.silence_pading" is ignored; did you mean "silence_padding"?',
        'p.md:6: unknown key "foo" is ignored',
    )


def test_what_is_not_effective_yet_is_a_warning() -> None:
    playbook = load(
        "posthook: {url: 'https://a.b'}\ndtmfCollectors: {pin: {digits: 4}}\n"
        "llm: {features: [x], summaryLimit: 5}"
    )
    assert [warning.split(": ")[1].split()[0] for warning in playbook.warnings] == [
        '"posthook"',
        '"dtmfCollectors"',
        '"features"',
        '"summaryLimit"',
    ]


def test_keys_that_lead_nowhere_are_a_warning() -> None:
    playbook = load("dtmf: {1: {action: goto, scene: nowhere}}", "<dtmf digit='2' action='goto' scene='b'/>")
    assert [warning.rpartition(": ")[2] for warning in playbook.warnings] == [
        'key 1 leads to an unknown scene "nowhere"',
        'key 2 leads to an unknown scene "b"',
    ]
    playbook = load(
        "dtmf: {x: {action: hangup}}\ngreeting: 'Hi <goto scene=\"a\"/>'\n"
        "rules:\n  - say: '<goto scene=\"b\"/>'"
    )
    assert playbook.warnings == (
        'p.md: dtmf: there is no key "x"; keys are 0123456789*#ABCD',
        'p.md:3: greeting: <goto> leads to an unknown scene "a"',
        'p.md:5: rule 1: <goto> leads to an unknown scene "b"',
    )


# --- the environment and the call's data --------------------------------------------------------------


def test_the_environment_fills_values_and_can_not_change_the_yaml() -> None:
    environment = {"KEY": 'a: b # "c"', "N": "5000", "T": "{{ caller }}"}
    playbook = load(
        "llm: {apiKey: '${KEY}'}\nfollowUp: {timeout: '${N}'}\nextra: {t: '${T}', u: '${NONE}'}",
        environment=environment,
        caller="sip:eve",
    )
    assert playbook.llm.api_key is not None
    assert playbook.llm.api_key.get_secret_value() == 'a: b # "c"'
    assert playbook.settings.follow_up is not None
    assert playbook.settings.follow_up.timeout == 5000
    assert playbook.option.extra == {"t": "{{ caller }}", "u": "${NONE}"}
    assert playbook.warnings == ("p.md:4: extra.u: ${NONE} is not set in the environment",)


def test_a_caller_can_not_read_the_environment_nor_write_yaml() -> None:
    evil = '${KEY}\n---\ntts: {provider: x} # "'
    playbook = load("extra: {a: 'from {{ X-Evil }}'}", environment={"KEY": "secret"}, **{"X-Evil": evil})
    assert playbook.option.extra == {"a": "from " + evil}


def test_the_language_model_takes_its_defaults_from_the_environment_and_keeps_its_key() -> None:
    environment = {"OPENAI_API_KEY": "sk-1", "OPENAI_MODEL": "m", "OPENAI_BASE_URL": "http://x/v1"}
    playbook = load("llm: {provider: openai}\ntts: {provider: other}", environment=environment)
    assert (playbook.llm.model, playbook.llm.base_url) == ("m", "http://x/v1")
    assert playbook.option.tts is not None
    assert playbook.option.tts.secret_key is None
    assert "sk-1" not in repr(playbook)


@pytest.mark.parametrize(
    ("front", "provider"),
    [
        ("greeting: Hi", "openai"),
        ("rules: [{say: Hi}]", "scripted"),
        ("llm: {rules: [{say: Hi}]}", "scripted"),
        ("llm: {provider: scripted, rules: [{say: Hi}]}", "scripted"),
    ],
)
def test_rules_imply_the_scripted_model(front: str, provider: str) -> None:
    assert load(front).llm.provider == provider


def test_phrases_come_from_the_scene_the_settings_and_literal_rules() -> None:
    playbook = load(
        "expect: [help]\nrules:\n- {when: [yes, no], say: a}\n- {when: 'one|two', scene: b, say: c}\n"
        "- {when: '\\d+', say: d}",
        "<expect>hello | yes</expect>\n# Scene: b\nText",
    )
    assert playbook.phrases(playbook.scenes[0]) == ["hello", "yes", "help", "no"]
    assert playbook.phrases(playbook.scenes[1]) == ["help", "yes", "no", "one", "two"]


def test_templates_are_checked_at_load() -> None:
    assert "p.md:5: the template can't be rendered" in error("greeting: Hi", "One\n{{ a.b.c }}")
    assert "p.md:2: the template can't be rendered" in error("greeting: 'Hi {{ a.b.c }}'")
    assert "p.md:2: the template can't be rendered" in error("rules: [{say: '{{ a.b.c }}'}]")


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"---\n\xff\n---\n")
    with pytest.raises(PlaybookError, match="not UTF-8"):
        read_playbook(tmp_path / "a.md", environment={}, variables={})
    with pytest.raises(FileNotFoundError):
        read_playbook(tmp_path / "b.md", environment={}, variables={})


def test_fillers_come_from_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.md").write_text("---\ngreeting: Hi\n---\n")
    assert "um" in read_playbook("a.md", environment={}, variables={}).fillers
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "fillers.txt").write_text("well\n\n so \n")
    assert read_playbook("a.md", environment={}, variables={}).fillers == ("well", "so")


def test_anchors_and_merge_keys_work() -> None:
    playbook = load("extra: &x {a: 1}\nsip: {headers: {<<: *x, b: 2}}")
    assert playbook.option.sip is not None
    assert playbook.option.sip.headers == {"a": "1", "b": "2"}


@pytest.mark.parametrize("nested", ["[" * 100_000, "{a: " * 100_000, "[" * 60 + "]" * 60])
def test_deep_nesting_is_refused(nested: str) -> None:
    """PyYAML's loader in C would crash the process."""
    assert "p.md:3: the YAML is nested too deeply" in error(f"greeting: Hello.\nextra: {nested}")


def test_aliases_can_not_explode() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
    )
    assert "too many values" in error(bomb)


def test_extracted_headers_in_either_spelling() -> None:
    for key in ("extract_headers", "extractHeaders"):
        front = f"sip: {{{key}: [A]}}\n" + "extra: {seen: '{{ sip.A }}{{ sip.B }}'}"
        assert load(front, A="a", B="b").option.extra == {"seen": "a"}


def test_templates_see_the_extra_variables() -> None:
    playbook = load(
        "greeting: 'Hi {{ customer.name }}'\nextra: {customer: {name: Ann}, voice: nova}\n"
        "tts: {speaker: '{{ voice }}'}"
    )
    assert playbook.option.tts is not None
    assert playbook.option.tts.speaker == "nova"
