"""The command line: flags as overrides of configuration keys, and what to run."""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from active_call import __version__
from active_call.core.errors import ConfigError

_URI = re.compile(
    r"sips?:(?:[^@\s<>]+@)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)"
    r"(?::(?P<port>[0-9]+))?(?:;[^\s<>]*)?"
)
_MAX_PORT = 65_535
_COMMANDS = ("demo", "schema", "trace")


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the operator asked for."""

    command: Literal["serve", "demo", "schema", "trace"] = "serve"
    conf: Path | None = None
    overrides: dict[str, tuple[str, Any]] = field(default_factory=dict)
    """Configuration key: the flag that sets it, and its value; `load_config` checks most of them."""
    call: str | None = None
    once: bool = False
    trace: str | None = None
    """The call whose ladder is to be printed."""


def parse_arguments(argv: Sequence[str] | None = None) -> Arguments:
    """Read the command line (None: the process's own).

    Raises ConfigError for a wrong value or a feature that comes later; argparse exits with 2 for unknown flags.
    """
    parser = _parser()
    _refuse_unknown(parser, sys.argv[1:] if argv is None else argv)
    given = parser.parse_args(argv)
    if given.download_models is not None or given.models_dir is not None or given.exit_after_download:
        raise ConfigError("--download-models: offline models come later; the `local` extra needs no download")
    if given.command == "schema":
        return Arguments("schema")
    if given.command == "demo":
        for name in ("conf", "http", "sip", "handler", "call", "external_ip", "codecs"):
            if getattr(given, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')}: the demo has its own settings")
        return Arguments("demo", once=given.once)
    if given.command == "trace":
        return Arguments("trace", conf=given.conf, trace=given.dump)
    overrides: dict[str, tuple[str, Any]] = {}
    if given.http is not None:
        overrides["http_addr"] = ("--http", given.http)
    if given.sip is not None:
        overrides |= _sip(given.sip)
    if given.handler is not None:
        overrides["handler"] = ("--handler", _handler(given.handler))
    if given.external_ip is not None:
        overrides["external_ip"] = ("--external-ip", given.external_ip)
    if given.codecs is not None:
        overrides["codecs"] = ("--codecs", [name.strip() for name in given.codecs.split(",") if name.strip()])
    if given.call is not None:
        _check_uri(given.call)
    return Arguments(conf=given.conf, overrides=overrides, call=given.call)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="active-call",
        description="Voice-agent gateway: connects AI agents to telephones and browsers.",
        epilog="Flags win over the file. Without --conf every key has its default; see docs/configuration.md.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--conf", metavar="FILE", type=Path, help="read this TOML configuration file")
    add("--http", metavar="IP:PORT", help="address of the HTTP service")
    add("--sip", metavar="X", help="address of the SIP service: a port, ip:port or an IP")
    add("--handler", metavar="X", help="answer every call with this playbook (.md), or ask this webhook (URL)")
    add("--call", metavar="URI", help="call this SIP URI with the handler's playbook, then exit")
    add("--external-ip", metavar="IP", help="the address peers reach this machine at, if it is behind NAT")
    add("--codecs", metavar="A,B", help="codecs to negotiate, preferred first")
    add("--download-models", metavar="NAME", help=argparse.SUPPRESS)
    add("--models-dir", metavar="DIR", help=argparse.SUPPRESS)
    add("--exit-after-download", action="store_true", help=argparse.SUPPRESS)
    add("--version", action="version", version=f"active-call {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    demo = commands.add_parser("demo", help="talk to a sample agent on this machine", allow_abbrev=False)
    commands.add_parser("schema", help="print the JSON Schema of commands and events", allow_abbrev=False)
    trace = commands.add_parser("trace", help="print the SIP ladder of a call", allow_abbrev=False)
    trace.add_argument(
        "--conf", metavar="FILE", type=Path, default=argparse.SUPPRESS, help="the gateway's configuration file"
    )
    trace.add_argument("dump", metavar="CALL", help="its id (or a part of it), or its .events.jsonl file")
    demo.add_argument("--once", action="store_true", help="make one scripted call and exit")
    return parser


def _refuse_unknown(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Name an unknown flag or command: argparse takes a flag's value for a command and complains about that."""
    if argv and argv[0] not in _COMMANDS and not argv[0].startswith("-"):
        parser.error(f'there is no command "{argv[0]}"; {_instead(argv[0])}')
    known = [*parser._option_string_actions, "--once"]
    for word in argv:
        flag = word.partition("=")[0]
        if re.match("--?[A-Za-z]", flag) and flag not in known:
            near = get_close_matches(f"--{flag.lstrip('-')}", [name for name in known if name[1] == "-"], n=1)
            parser.error(f"unknown flag {flag}" + (f"; did you mean {near[0]}?" if near else ""))


def _instead(word: str) -> str:
    """What somebody may have meant who began with `word`."""
    for ending, flag in ((".md", "--handler"), (".toml", "--conf")):
        if word.endswith(ending):
            return f"did you mean {flag} {word}?"
    if word.lower().startswith(("sip:", "sips:")):
        return f"did you mean --call {word}?"
    near = get_close_matches(word, _COMMANDS, n=1)
    return (
        f"did you mean {near[0]}?"
        if near
        else f"known are {', '.join(_COMMANDS)}; without one the gateway runs"
    )


def _sip(text: str) -> dict[str, tuple[str, Any]]:
    """--sip X: a port, an IP, or both."""
    host, colon, port = text.rpartition(":")
    if _is_ip(text):
        host, port = text, ""
    elif colon:
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    wrong = (
        (host and not _is_ip(host)) or (port and not _is_port(port)) or not (host or port) or text.endswith(":")
    )
    if wrong or (colon and not host):
        raise ConfigError(
            f'--sip: "{text}" is not an address; write a port, an IP, or IP:port like 0.0.0.0:25060'
        )
    given: dict[str, tuple[str, Any]] = {}
    if host:
        given["addr"] = ("--sip", host)
    if port:
        given["udp_port"] = ("--sip", int(port))
    return given


def _handler(text: str) -> dict[str, Any]:
    """--handler X replaces the whole table `[handler]`."""
    if text.lower().startswith(("http://", "https://")):
        return {"type": "webhook", "url": text}
    if not text.endswith(".md"):
        raise ConfigError(
            f'--handler: "{text}" is neither a playbook (.md) nor a webhook (http:// or https://)'
        )
    return {"type": "playbook", "default": text}


def _check_uri(text: str) -> None:
    match = _URI.fullmatch(text)
    if match is None or (match["port"] and not 0 < int(match["port"]) <= _MAX_PORT):
        raise ConfigError(f'--call: "{text}" is not a SIP URI; write one like sip:1001@192.0.2.10:5060')


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    return re.fullmatch("[0-9]{1,5}", text) is not None and int(text) <= _MAX_PORT
