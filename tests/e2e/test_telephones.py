"""Two rooms of simulated telephones call each other: every codec, encrypted or not, audio and keys."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.sip.agent import SipConfig
from active_call.testing.caller import CallRefused, Phone, Telephones
from tests.e2e.api import purity, run, tone, until
from tests.interop.certificates import make_certificates

pytestmark = pytest.mark.e2e

WIDE = ("pcmu", "pcma", "g722", "opus", "g729")
CELLS: dict[str, dict[str, Any]] = {
    "pcmu": {"codecs": ("pcmu",)},
    "pcma": {"codecs": ("pcma",)},
    "g722": {"codecs": ("g722",)},
    "opus": {"codecs": ("opus",)},
    "pcm": {"codecs": ("pcm",)},
    "pcmu encrypted": {"codecs": ("pcmu",), "srtp": True},
    "opus encrypted": {"codecs": ("opus",), "srtp": "require"},
    "pcmu 30 ms": {"codecs": ("pcmu",), "ptime_ms": 30},
    "opus 60 ms": {"codecs": ("opus",), "ptime_ms": 60},
    "pcma 10 ms": {"codecs": ("pcma",), "ptime_ms": 10},
    "tones": {"codecs": ("pcmu",), "dtmf": False},
    "tcp": {"codecs": ("pcmu",), "params": ";transport=tcp"},
}


class Ear:
    """Keeps what a phone hears."""

    def __init__(self, phone: Phone) -> None:
        self.pieces: list[Pcm] = []
        phone.on_frame = lambda pcm, position: self.pieces.append(pcm)

    def hears(self, hz: float) -> bool:
        """Whether half a second of this tone was heard, and hardly anything else: ticks may be skipped."""
        pcm = np.concatenate(self.pieces)
        loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) > 1000)
        if not len(loud) or loud[-1] - loud[0] < SAMPLE_RATE // 2:
            return False
        return purity(pcm[loud[0] : loud[-1]], SAMPLE_RATE, hz) > 0.7


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@asynccontextmanager
async def rooms() -> AsyncIterator[tuple[Telephones, Telephones]]:
    async with (
        Telephones(capacity=16, ports=(43_000, 45_998)) as ours,
        Telephones(capacity=16, ports=(46_000, 48_998), codecs=WIDE) as theirs,
    ):
        yield ours, theirs


async def connected(ours: Telephones, theirs: Telephones, name: str, **how: Any) -> tuple[Phone, Phone]:
    caller = f"sip:{name.replace(' ', '-')}@127.0.0.1"
    target = f"sip:bob@127.0.0.1:{theirs.agent.address[1]}{how.pop('params', '')}"
    alice = ours.dial(target, caller=caller, **how)
    await alice.wait_answered()
    return alice, next(phone for phone in theirs.phones if phone.leg.sip.caller == caller)


def test_every_way_to_talk() -> None:
    async def talk(ours: Telephones, theirs: Telephones, name: str, how: dict[str, Any]) -> dict[str, Any]:
        alice, bob = await connected(ours, theirs, name, **how)
        ears = Ear(alice), Ear(bob)
        await asyncio.gather(alice.say(tone(SAMPLE_RATE, 700, 1.0)), bob.say(tone(SAMPLE_RATE, 500, 1.0)))
        await asyncio.sleep(0.3)
        heard = ears[0].hears(500), ears[1].hears(700)
        with suppress(TimeoutError):  # one after the other: who sends tones hears their echo, and is deaf to it
            way = [alice.press("10")]
            await until(lambda: bob.digits == "10", 3.0)
            await asyncio.sleep(0.5)
            way.append(bob.press("#0"))
            await until(lambda: alice.digits == "#0", 3.0)
        session = alice.leg.negotiated
        assert session is not None
        assert alice.leg.secure is bob.leg.secure
        found = {
            "codec": alice.leg.codec,
            "heard": heard,
            "keys": (*way, alice.digits, bob.digits),
            "encrypted": alice.leg.secure,
            "ptime_ms": session.ptime_ms,
        }
        await alice.hang_up()
        await bob.wait_ended()
        return found

    async def scene() -> dict[str, dict[str, Any]]:
        async with rooms() as (ours, theirs):
            found = await asyncio.gather(*(talk(ours, theirs, name, dict(how)) for name, how in CELLS.items()))
        return dict(zip(CELLS, found, strict=True))

    assert run(scene()) == {
        name: {
            "codec": how["codecs"][0],
            "heard": (True, True),
            "keys": (*(("inband",) if name == "tones" else ("rfc4733",)) * 2, "#0", "10"),
            "encrypted": "srtp" in how,
            "ptime_ms": how.get("ptime_ms", 20),
        }
        for name, how in CELLS.items()
    }


@pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 on this machine's loopback")
def test_ipv6_and_encryption() -> None:
    async def scene() -> tuple[bool, bool]:
        async with (
            Telephones(host="::1", capacity=4, ports=(43_000, 45_998), srtp=True) as ours,
            Telephones(host="::1", capacity=4, ports=(46_000, 48_998)) as theirs,
        ):
            alice = ours.dial(f"sip:bob@[::1]:{theirs.agent.address[1]}")
            await alice.wait_answered()
            bob = theirs.phones[0]
            ears = Ear(alice), Ear(bob)
            await asyncio.gather(alice.say(tone(SAMPLE_RATE, 700, 1.0)), bob.say(tone(SAMPLE_RATE, 500, 1.0)))
            await asyncio.sleep(0.3)
            assert alice.leg.secure
            assert bob.leg.negotiated is not None
            assert (bob.leg.negotiated.remote or ("",))[0] == "::1"
            await alice.hang_up()
        return ears[0].hears(500), ears[1].hears(700)

    assert run(scene()) == (True, True)


def test_tls_and_encryption(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    theirs_sip = SipConfig(
        "127.0.0.1",
        0,
        tls_port=0,
        tls_cert_file=str(certificates.certificate),
        tls_key_file=str(certificates.key),
    )
    ours_sip = SipConfig("127.0.0.1", 0, tls_ca_file=str(certificates.ca))

    async def scene() -> tuple[bool, bool, bool, bool]:
        async with (
            Telephones(capacity=4, ports=(43_000, 45_998), sip=ours_sip) as ours,
            Telephones(capacity=4, ports=(46_000, 48_998), sip=theirs_sip) as theirs,
        ):
            alice = ours.dial(f"sip:bob@127.0.0.1:{theirs.agent.tls_port};transport=tls", srtp="require")
            await alice.wait_answered()
            bob = theirs.phones[0]
            ears = Ear(alice), Ear(bob)
            await asyncio.gather(alice.say(tone(SAMPLE_RATE, 700, 1.0)), bob.say(tone(SAMPLE_RATE, 500, 1.0)))
            await asyncio.sleep(0.3)
            bob.hold()
            await alice.wait_held()
            await bob.hang_up()
            await alice.wait_ended()
        return alice.leg.sip.secure, alice.leg.secure, ears[0].hears(500), ears[1].hears(700)

    assert run(scene()) == (True, True, True, True)


def test_hold_and_back() -> None:
    async def scene() -> tuple[bool, bool]:
        async with rooms() as (ours, theirs):
            alice, bob = await connected(ours, theirs, "hold")
            alice.hold()
            await bob.wait_held()
            ear = Ear(bob)
            await alice.say(tone(SAMPLE_RATE, 700, 1.0))
            await asyncio.sleep(0.3)
            silent = not ear.hears(700)
            alice.hold(False)
            await bob.wait_held(False)
            ear = Ear(bob)
            await alice.say(tone(SAMPLE_RATE, 700, 1.0))
            await asyncio.sleep(0.3)
            await alice.hang_up()
            return silent, ear.hears(700)

    assert run(scene()) == (True, True)


def test_keys_by_info() -> None:
    async def scene() -> None:
        async with rooms() as (ours, theirs):
            alice, bob = await connected(ours, theirs, "info")
            assert alice.press("1*", mode="info") == "info"
            await until(lambda: bob.digits == "1*")
            await alice.hang_up()

    run(scene())


def test_early_media_are_heard_before_the_answer() -> None:
    async def scene() -> tuple[bool, bool]:
        async with rooms() as (ours, theirs):
            rung: list[Phone] = []
            theirs.on_ring = rung.append
            alice = ours.dial(f"sip:bob@127.0.0.1:{theirs.agent.address[1]}")
            await until(lambda: bool(rung))
            ear = Ear(alice)
            rung[0].progress()
            await rung[0].say(tone(SAMPLE_RATE, 500, 1.0))
            await asyncio.sleep(0.3)
            before = ear.hears(500) and not alice.answered.is_set()
            rung[0].answer()
            await alice.wait_answered()
            ear = Ear(alice)
            await rung[0].say(tone(SAMPLE_RATE, 500, 1.0))
            await asyncio.sleep(0.3)
            await alice.hang_up()
            return before, ear.hears(500)

    assert run(scene()) == (True, True)


def test_what_cant_be_agreed_on_is_refused_in_words() -> None:
    async def scene() -> list[str]:
        refused = []
        async with rooms() as (ours, theirs):
            theirs._policy = theirs._policy.preferring("pcmu").encrypting("require")
            for how in ({"codecs": ("pcmu",)}, {"codecs": ("pcmu",), "srtp": True}):
                try:
                    await connected(ours, theirs, "x", **how)
                except CallRefused as error:
                    refused.append(str(error))
        return refused

    (refusal,) = run(scene())
    assert refusal == "488 encryption is required here (enable_srtp = require) and RTP/AVP was offered"
