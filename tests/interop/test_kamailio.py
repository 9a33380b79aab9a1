"""Behind a real registrar and proxy: registered over UDP and TLS, called by number, calling out with 407."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from active_call.testing.process import GatewayProcess
from tests.e2e import baresip as baresip_program
from tests.e2e.baresip import Baresip
from tests.interop import kamailio as kamailio_program
from tests.interop.certificates import Certificates, make_certificates
from tests.interop.kamailio import REALM, Kamailio
from tests.interop.matrix import TONE_PLAYBOOK
from tests.interop.peers import PEER_HZ, tone_share
from tests.interop.rest import post
from tests.needs import need

pytestmark = pytest.mark.e2e

ACCOUNTS = {"7001": "first secret", "7002": "second secret", "bob": "bobs-secret"}
_EXPIRY_SECONDS = 8


@pytest.fixture(autouse=True)
def _needs_kamailio() -> None:
    need(kamailio_program.installed() and baresip_program.installed(), "kamailio and baresip-core")


@contextmanager
def office(folder: Path, algorithm: str = "MD5") -> Iterator[tuple[Kamailio, GatewayProcess]]:
    """A registrar, and our gateway with two accounts at it."""
    certificates = make_certificates(folder / "certificates")
    with Kamailio(
        folder / "kamailio",
        ACCOUNTS,
        certificates=certificates,
        algorithm=algorithm,
        max_expires=_EXPIRY_SECONDS,
    ) as registrar:
        config = accounts_at(registrar, certificates)
        with GatewayProcess(
            folder / "gateway", {"tone.md": TONE_PLAYBOOK}, "tone.md", config=config
        ) as gateway:
            for user in ("7001", "7002"):
                registrar.wait_registrations(user, 1)
            yield registrar, gateway


@contextmanager
def colleague(folder: Path, registrar: Kamailio) -> Iterator[Baresip]:
    """Bob, with a telephone that is registered too."""
    account = f'auth_user=bob;auth_pass={ACCOUNTS["bob"]};regint=60;outbound="sip:127.0.0.1:{registrar.port}"'
    with Baresip(folder, aor=f"sip:bob@{REALM}", register=account, tone_hz=PEER_HZ) as bob:
        registrar.wait_registrations("bob", 1)
        yield bob


def accounts_at(registrar: Kamailio, certificates: Certificates) -> str:
    servers = {
        "7001": f"sip:127.0.0.1:{registrar.port}",
        "7002": f"sip:127.0.0.1:{registrar.tls_port};transport=tls",
    }
    lines = [f'tls_ca_file = "{certificates.ca}"']
    for user, server in servers.items():
        lines += ["[[register_users]]", f'server = "{server}"', f'username = "{user}"']
        lines += ["[register_users.credential]", f'username = "{user}"', f'password = "{ACCOUNTS[user]}"']
    return "\n".join(lines)


def test_registered_called_by_number_calling_out_and_unregistered(tmp_path: Path) -> None:
    with office(tmp_path) as (registrar, gateway), colleague(tmp_path / "bob", registrar) as bob:
        states = {one["account"]: one["state"] for one in gateway.health()[1]["registrations"]}
        assert set(states.values()) == {"registered"}
        assert len(states) == 2
        for number in ("7001", "7002"):
            bob.command("dial", f"sip:{number}@{REALM}")
            calls = 1 if number == "7001" else 2
            bob.wait_for_count("Call established", calls)
            time.sleep(1.5)
            bob.command("hangup")
            assert gateway.wait_records(calls)[-1]["statusCode"] == 200
        post(gateway, "/call", {"callee": f"sip:bob@127.0.0.1:{registrar.port}", "playbook": "tone.md"})
        bob.wait_for_count("Call established", 3)
        time.sleep(1.5)
        bob.command("hangup")
        assert gateway.wait_records(3)[-1]["statusCode"] == 200
        gateway.stop()
        for number in ("7001", "7002"):
            assert "expires=0" in registrar.registrations(number)[-1]
    heard = bob.heard_last()
    assert tone_share(8000, heard[4000:10_000], 440.0) > 0.9


@pytest.mark.parametrize("algorithm", ["SHA-256"])
def test_registrations_survive_a_restart_of_the_registrar(tmp_path: Path, algorithm: str) -> None:
    with office(tmp_path, algorithm) as (registrar, gateway):
        registrar.restart()
        for number in ("7001", "7002"):
            count = len(registrar.registrations(number))
            registrar.wait_registrations(number, count + 1, timeout=_EXPIRY_SECONDS + 4)
        states = {one["state"] for one in gateway.health()[1]["registrations"]}
        assert states == {"registered"}
