import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.resolver
import pytest

from active_call.sip.resolve import Answer, NotFound
from active_call.sip.transport import dns as module
from active_call.sip.transport.dns import SystemDns
from active_call.testing.clock import run

RESOLVER: Any = dns.resolver  # their constructors are untyped
EXCEPTION: Any = dns.exception
HOSTS = """
127.0.0.1 localhost
# 192.0.2.9 commented.example
192.0.2.1  pbx.example PBX  # the old one
2001:db8::1 pbx.example
nonsense   broken.example
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts").write_text(HOSTS)
    monkeypatch.setattr(module, "HOSTS", tmp_path / "hosts")
    monkeypatch.setattr(module, "CONFIGURATION", tmp_path / "resolv.conf")


def ask(name: str, kind: str, system: SystemDns | None = None) -> Answer | str:
    async def question() -> Answer:
        return await (system or SystemDns())(name, kind)

    try:
        return run(question())
    except NotFound as error:
        return str(error)


@pytest.mark.parametrize(
    ("name", "kind", "addresses"),
    [
        ("pbx.example", "A", ["192.0.2.1"]),
        ("pbx.example", "AAAA", ["2001:db8::1"]),
        ("pbx", "A", ["192.0.2.1"]),
        ("localhost", "A", ["127.0.0.1"]),
        ("localhost", "AAAA", ["::1"]),
    ],
)
def test_the_file_of_this_machine_comes_first(name: str, kind: str, addresses: list[str]) -> None:
    found = ask(name, kind)
    assert isinstance(found, Answer)
    assert found.records == addresses


def test_a_name_in_the_file_is_not_asked_for_elsewhere() -> None:
    assert ask("pbx", "AAAA") == "/etc/hosts has no IPv6 address"


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    system = SystemDns()
    assert isinstance(ask("pbx.example", "A", system), Answer)
    (tmp_path / "hosts").write_text("192.0.2.7 pbx.example")
    os.utime(tmp_path / "hosts", (1, 1))
    found = ask("pbx.example", "A", system)
    assert isinstance(found, Answer)
    assert found.records == ["192.0.2.7"]


def test_without_a_name_server_services_are_unknown() -> None:
    assert ask("_sip._udp.pbx.example", "SRV") == "no name server is configured"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (lambda: RESOLVER.NXDOMAIN(), "NXDOMAIN"),
        (lambda: RESOLVER.NoAnswer(response=dns.message.Message()), "no SRV record"),
        (lambda: RESOLVER.LifetimeTimeout(timeout=4.0, errors=[]), "the name server does not answer"),
        (lambda: EXCEPTION.SyntaxError("a label is too long"), "a label is too long"),
        (lambda: UnicodeError("no host name"), "no host name"),
    ],
)
def test_what_goes_wrong_is_said(
    error: Callable[[], Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        async def resolve(self, *_: Any, **__: Any) -> None:
            raise error()

    monkeypatch.setattr(module, "_configured", lambda path: Failing())
    assert ask("x.example", "SRV") == said


def test_what_dns_does_not_know_the_system_may(monkeypatch: pytest.MonkeyPatch) -> None:
    class Inline:
        def __init__(self, target: Any, **_: Any) -> None:
            self.start = target

    def look_up(name: str, *_: Any, **__: Any) -> list[Any]:
        if name != "printer.local":
            raise socket.gaierror(-2, "unknown")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("192.0.2.5", 0))] * 2

    monkeypatch.setattr("threading.Thread", Inline)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    found = ask("printer.local", "A")
    assert isinstance(found, Answer)
    assert found.records == ["192.0.2.5"]
    assert ask("other.local", "A") == "no name server is configured"
