from pathlib import Path

import pytest

from active_call import __version__
from active_call.cli.arguments import parse_arguments
from active_call.core.errors import ConfigError


def test_nothing_given_serves_the_defaults() -> None:
    given = parse_arguments([])
    assert (given.command, given.conf, given.overrides, given.call) == ("serve", None, {}, None)


@pytest.mark.parametrize(
    ("flags", "overrides"),
    [
        (["--http", "0.0.0.0:9090"], {"http_addr": ("--http", "0.0.0.0:9090")}),
        (["--sip", "13050"], {"udp_port": ("--sip", 13050)}),
        (["--sip", "0.0.0.0:13050"], {"addr": ("--sip", "0.0.0.0"), "udp_port": ("--sip", 13050)}),
        (["--sip", "127.0.0.1"], {"addr": ("--sip", "127.0.0.1")}),
        (["--sip", "[::1]:5070"], {"addr": ("--sip", "::1"), "udp_port": ("--sip", 5070)}),
        (["--sip", "::1"], {"addr": ("--sip", "::1")}),
        (
            ["--handler", "default.md"],
            {"handler": ("--handler", {"type": "playbook", "default": "default.md"})},
        ),
        (
            ["--handler", "https://example.com/webhook"],
            {"handler": ("--handler", {"type": "webhook", "url": "https://example.com/webhook"})},
        ),
        (["--external-ip", "1.2.3.4"], {"external_ip": ("--external-ip", "1.2.3.4")}),
        (["--codecs", "pcmu, pcma,opus"], {"codecs": ("--codecs", ["pcmu", "pcma", "opus"])}),
    ],
)
def test_flags_override_keys(flags: list[str], overrides: dict[str, object]) -> None:
    assert parse_arguments(flags).overrides == overrides


def test_a_file() -> None:
    assert parse_arguments(["--conf", "active-call.toml"]).conf == Path("active-call.toml")


def test_the_demo_takes_no_flags_of_the_gateway() -> None:
    with pytest.raises(ConfigError, match=r"--http: the demo has its own settings"):
        parse_arguments(["--http", "127.0.0.1:9000", "demo"])


def test_demo() -> None:
    assert parse_arguments(["demo"]).command == "demo"
    assert not parse_arguments(["demo"]).once
    assert parse_arguments(["demo", "--once"]).once


@pytest.mark.parametrize(
    "uri", ["sip:1001@127.0.0.1", "sip:1001@pbx.example.com:5060", "sip:[::1]:5060", "sip:a@h;transport=udp"]
)
def test_call_takes_a_sip_uri(uri: str) -> None:
    assert parse_arguments(["--call", uri, "--handler", "greeting.md"]).call == uri


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sip", "65536"], "--sip: .* is not an address"),
        (["--sip", "pbx.example.com"], "--sip: .* is not an address"),
        (["--sip", ":5060"], "--sip: .* is not an address"),
        (["--sip", "0.0.0.0:"], "--sip: .* is not an address"),
        (["--sip", ""], "--sip: .* is not an address"),
        (["--handler", "greeting.txt"], "neither a playbook"),
        (["--call", "1001"], "--call: .* is not a SIP URI"),
        (["--call", "sip:1001@host:0"], "--call: .* is not a SIP URI"),
        (["--call", "sip:1001@host:65536"], "--call: .* is not a SIP URI"),
        (["--call", "sip:a b@host"], "--call: .* is not a SIP URI"),
        (["--download-models", "all"], "offline models come later"),
        (["--models-dir", "./models"], "offline models come later"),
        (["--exit-after-download"], "offline models come later"),
    ],
)
def test_wrong_values_are_named(flags: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_arguments(flags)


@pytest.mark.parametrize("flags", [["--htpp", "0.0.0.0:1"], ["--ht", "0.0.0.0:1"], ["--conf"]])
def test_unknown_flags_exit_with_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(flags)
    assert caught.value.code == 2
    assert "active-call: error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["demmo"], "did you mean demo?"),
        (["hello.md"], "did you mean --handler hello.md?"),
        (["active-call.toml"], "did you mean --conf active-call.toml?"),
        (["sip:1001@192.0.2.10"], "did you mean --call sip:1001@192.0.2.10?"),
        (["serve"], "known are demo, schema, trace; without one the gateway runs"),
        (["-conf", "a.toml"], "unknown flag -conf; did you mean --conf?"),
    ],
)
def test_a_wrong_first_word_is_answered_with_what_was_meant(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(words)
    assert caught.value.code == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--conf", "a.toml", "trace", "x"], ["trace", "--conf", "a.toml", "x"]])
def test_trace_takes_the_file_before_and_after(words: list[str]) -> None:
    assert parse_arguments(words).conf == Path("a.toml")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"active-call {__version__}\n"


@pytest.mark.parametrize("flags", [["--hndler", "x.md"], ["--hndler=x.md"]])
def test_an_unknown_flag_is_named_with_the_nearest(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_status:
        parse_arguments(flags)
    assert exit_status.value.code == 2
    assert "unknown flag --hndler; did you mean --handler?" in capsys.readouterr().err
