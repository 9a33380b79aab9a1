"""SIGTERM: no new calls, unregistered at once, live calls may finish."""

import asyncio
import signal
import socket
import time
from pathlib import Path
from threading import Thread
from types import TracebackType

import pytest

from active_call.sip.messages.message import Request, make_response, parse_message
from active_call.testing.caller import CallRefused, Telephones
from active_call.testing.process import GatewayProcess, free_port
from tests.e2e.api import TALK, until

pytestmark = pytest.mark.e2e


class Registrar:
    """Takes every REGISTER; `registers` has their Expires. Silent if `mute`."""

    def __init__(self) -> None:
        self.registers: list[str] = []
        self.mute = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = Thread(target=self._run)

    def __enter__(self) -> "Registrar":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()

    @property
    def config(self) -> str:
        """An account here, for the gateway's file."""
        port = self._socket.getsockname()[1]
        return f'[[register_users]]\nserver = "127.0.0.1:{port}"\nusername = "1001"\npassword = "p"\n'

    def _run(self) -> None:
        while True:
            data, source = self._socket.recvfrom(65_536)
            if not data:
                return
            if not data.strip() or self.mute:
                continue
            request = parse_message(data)
            assert isinstance(request, Request)
            expires = request.headers.get("expires") or ""
            self.registers.append(expires)
            headers = [("Contact", f"{request.headers.get('contact')};expires={expires}")]
            self._socket.sendto(bytes(make_response(request, 200, tag="r", headers=headers)), source)


def options(gateway: GatewayProcess) -> int:
    """The status that an OPTIONS gets, as a dispatcher asks."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((gateway.host, gateway.sip_port))
        host, port = sock.getsockname()
        sock.send(
            f"OPTIONS {gateway.uri} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bKo;rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:d@{host}>;tag=1\r\nTo: <{gateway.uri}>\r\nCall-ID: o1\r\n"
            f"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n".encode()
        )
        return int(sock.recv(65_536).split()[1])


def test_t24_a_live_call_finishes_and_no_other_begins(tmp_path: Path) -> None:
    async def scene(gateway: GatewayProcess, registrar: Registrar) -> None:
        async with Telephones(capacity=4) as phones:
            phone = phones.dial(gateway.uri)
            await phone.wait_answered()
            gateway.process.send_signal(signal.SIGTERM)
            await until(lambda: "0" in registrar.registers)
            assert registrar.registers == ["3600", "0"]
            with pytest.raises(CallRefused) as refused:
                await phones.dial(gateway.uri).wait_answered()
            assert (refused.value.status, refused.value.reason) == (503, "Server shutting down")
            assert options(gateway) == 503
            status, health = gateway.health()
            assert (status, health["reasons"], health["calls"]["active"]) == (503, ["draining"], 1)
            assert health["registrations"][0]["state"] == "ended"
            assert not phone.ended.is_set()
            await phone.hang_up()

    with (
        Registrar() as registrar,
        GatewayProcess(
            tmp_path, {"p.md": TALK}, "p.md", config=f"graceful_shutdown = true\n{registrar.config}"
        ) as gateway,
    ):
        [registration] = gateway.health()[1]["registrations"]
        assert registration["state"] == "registered"
        assert registration["lastError"] == ""
        assert 3_500 < registration["expires"] <= 3_600
        asyncio.run(asyncio.wait_for(scene(gateway, registrar), 30))
        assert gateway.process.wait(5) == 0
        assert "Traceback" not in gateway.log()


def test_calls_that_last_longer_get_a_bye(tmp_path: Path) -> None:
    async def scene(gateway: GatewayProcess) -> None:
        async with Telephones(capacity=2) as phones:
            phone = phones.dial(gateway.uri)
            await phone.wait_answered()
            gateway.process.send_signal(signal.SIGTERM)
            await phone.wait_ended(5)
            assert phone.ended_by == "peer"

    config = 'graceful_shutdown_timeout = "1s"'
    with GatewayProcess(tmp_path, {"p.md": TALK}, "p.md", config=config) as gateway:
        asyncio.run(asyncio.wait_for(scene(gateway), 30))
        assert gateway.process.wait(5) == 0
        [record] = gateway.records()
    assert record["hangupReason"] == "bySystem"


def test_t24_a_registrar_that_has_gone_does_not_block_the_exit(tmp_path: Path) -> None:
    with (
        Registrar() as registrar,
        GatewayProcess(tmp_path, config=f"graceful_shutdown = true\n{registrar.config}") as gateway,
    ):
        registrar.mute = True
        began = time.perf_counter()
        assert gateway.stop() == 0
        assert time.perf_counter() - began < 5


def test_an_unreachable_registrar_is_told(tmp_path: Path) -> None:
    server = f"sip:127.0.0.1:{free_port()};transport=tcp"
    text = f'[[register_users]]\nserver = "{server}"\nusername = "1"'
    with GatewayProcess(tmp_path, config=text) as gateway:
        deadline = time.perf_counter() + 5
        while (found := gateway.health()[1]["registrations"][0])["state"] != "failed":
            assert time.perf_counter() < deadline, found
            time.sleep(0.05)
        assert found["lastError"]
        assert "is not registered at" in gateway.log()
