"""Half a minute of everything that we send, captured: calls with real telephones, and with ourselves."""

import asyncio
import secrets
import socket
import subprocess
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_call.client import connect
from active_call.core.audio import SAMPLE_RATE
from active_call.sip.config import SipConfig
from active_call.testing.caller import CallRefused, Telephones
from active_call.testing.process import GatewayProcess
from active_call.wire import events
from active_call.wire.options import ReferOption
from tests.e2e.api import option
from tests.e2e.baresip import Baresip
from tests.e2e.test_sip_dialogs import make_a_call, take_calls
from tests.interop.coturn import Coturn
from tests.interop.kamailio import REALM, Kamailio
from tests.interop.linphone import Linphone
from tests.interop.matrix import TONE_PLAYBOOK
from tests.interop.namespaces import entered, lonely_host
from tests.interop.streams import Report, RtpPacket, reports, rtp_streams
from tests.interop.wireshark import Capture, Dissection, Frame

GATEWAY, TELEPHONES = "127.0.0.2", "127.0.0.3"
"""Addresses of ours; all others are at 127.0.0.1."""
_SIPP_PORT = 5060
_SECONDS = 7.0
"""Of most calls: long enough for a report."""

_BOB = "bobs-secret"
_TONE = (8000 * np.sin(2 * np.pi * 600 * np.arange(SAMPLE_RATE * 9) / SAMPLE_RATE)).astype(np.int16)


@dataclass
class Recorded:
    """The capture, and who was where."""

    capture: Dissection
    stun: "StunAnswers"

    def is_ours(self, frame: Frame) -> bool:
        """Whether we have sent it."""
        return frame.source[0] in (GATEWAY, TELEPHONES) or frame.destination[1] == _SIPP_PORT

    @cached_property
    def streams(self) -> dict[int, list[RtpPacket]]:
        """All RTP, by SSRC."""
        return rtp_streams(self.capture)

    @cached_property
    def sent(self) -> dict[int, list[RtpPacket]]:
        """The RTP that we sent, without what is encrypted."""
        ours, secret = (GATEWAY, TELEPHONES), self.payload_types("RTP/SAVP")
        return {
            ssrc: packets
            for ssrc, packets in self.streams.items()
            if packets[0].source[0] in ours and packets[0].source[1] not in secret
        }

    @cached_property
    def reports(self) -> list[Report]:
        """The reports about these streams, from both ends."""
        return [one for one in reports(self.capture) if one.ssrc in self.sent]

    def payload_types(self, profile: str) -> dict[int, set[int]]:
        """What was to be sent to each port that was described with this profile (RTP/AVP, RTP/SAVP)."""
        ports: dict[int, set[int]] = defaultdict(set)
        for frame in self.capture.frames("sdp", "sdp.media"):
            for line in frame.all("sdp.media"):
                _, port, protocol, *numbers = line.split()
                if protocol == profile:
                    ports[int(port)].update(map(int, numbers))
        return ports


@dataclass
class StunAnswers:
    """What a STUN client of coturn's says of us; what we and coturn answer to the same questions."""

    reflexive: str = ""
    from_us: list[bytes] = field(default_factory=list)
    from_coturn: list[bytes] = field(default_factory=list)


def record(folder: Path) -> Recorded:
    """Make all the calls, most of them at the same time."""
    with lonely_host() as host, entered(host), ExitStack() as stack:
        capture = stack.enter_context(Capture(folder / "calls.pcapng"))
        registrar = stack.enter_context(Kamailio(folder / "kamailio", {"7001": "secret", "bob": _BOB}))
        gateway = stack.enter_context(
            GatewayProcess(
                folder / "gateway",
                {"tone.md": TONE_PLAYBOOK},
                "tone.md",
                config=_config(registrar),
                host=GATEWAY,
            )
        )
        registrar.wait_registrations("7001", 1)
        scenes = Scenes(folder, gateway, registrar, stack)
        asyncio.run(scenes.play())
        gateway.stop()
    ports = sorted({gateway.sip_port, registrar.port, *scenes.sip_ports})
    layers = [f"{kind}.port=={port},sip" for port in ports for kind in ("udp", "tcp")]
    options = tuple(part for layer in layers for part in ("-d", layer))
    # Reports are stamped with the tick that they belong to: less than one of 20 ms is no complaint.
    options += ("-o", "rtcp.show_roundtrip_calculation:TRUE", "-o", "rtcp.roundtrip_min_threshhold:20")
    return Recorded(Dissection(capture.file, options), scenes.stun)


def _config(registrar: Kamailio) -> str:
    return f"""
codecs = ["pcmu", "pcma", "g722", "opus", "telephone_event"]
[[register_users]]
server = "sip:127.0.0.1:{registrar.port}"
username = "7001"
[register_users.credential]
username = "7001"
password = "secret"
"""


class Scenes:
    """What happens while the capture runs."""

    def __init__(self, folder: Path, gateway: GatewayProcess, registrar: Kamailio, stack: ExitStack) -> None:
        self.sip_ports: set[int] = set()
        self.phone_port = 0
        self.stun = StunAnswers()
        self._folder, self._gateway, self._registrar, self._stack = folder, gateway, registrar, stack

    async def play(self) -> None:
        """All of it, at the same time."""
        sip = SipConfig(TELEPHONES, 0)
        async with (
            asyncio.timeout(60),
            Telephones(host=TELEPHONES, codecs=("pcmu", "opus"), sip=sip) as room,
            asyncio.TaskGroup() as group,
        ):
            self.phone_port = room.agent.address[1]
            self.sip_ports.add(self.phone_port)
            for codec, transport in (("pcmu", "udp"), ("pcma", "tcp"), ("g722", "udp"), ("opus", "tcp")):
                group.create_task(self._called(self._phone(codec, codec, transport), codec))
            scenes = (self._holding, self._encrypted, self._long_packets, self._refused, self._cancelled)
            for scene in scenes:
                group.create_task(scene(room))
            group.create_task(self._calling(self._phone("caller", "pcma", "tcp")))
            group.create_task(self._reporting())
            group.create_task(self._transferred(self._phone("alice"), self._phone("bob")))
            group.create_task(self._through_a_proxy())
            group.create_task(self._sipp())
            group.create_task(asyncio.to_thread(self._ask_stun))

    def _phone(self, name: str, codec: str = "pcmu", transport: str = "udp", **more: Any) -> Baresip:
        phone = Baresip(self._folder / name, codecs=(codec,), transport=transport, tone_hz=600.0, **more)
        self._stack.enter_context(phone)
        self.sip_ports.add(phone.sip_port)
        return phone

    # --- calls with others ----------------------------------------------------------------------------

    async def _called(self, phone: Baresip, codec: str) -> None:
        """The gateway calls, speaks and presses keys; the telephone presses one, holds and takes back."""
        async with connect(self._gateway.ws_url, "sip") as call:
            await call.invite(option(callee=phone.uri, caller=f"sip:desk@{GATEWAY}", codec=codec))
            await call.until(events.Answer)
            await call.tts("a" * 300)
            await asyncio.sleep(1.0)
            await call.send_dtmf("1#", duration=200, gap=100)
            await asyncio.sleep(1.0)
            phone.command("sndcode", "5")
            await asyncio.sleep(0.2)
            phone.command("sndcode", "\x04")  # it is let go
            await call.until(events.Dtmf)
            phone.command("hold")
            await asyncio.sleep(1.0)
            phone.command("resume")
            await asyncio.sleep(_SECONDS - 3.2)
            if codec in ("pcmu", "opus"):
                phone.command("hangup")
            else:
                await call.hangup()
            await call.until(events.Hangup)

    async def _calling(self, phone: Baresip) -> None:
        """A telephone calls, is spoken to, and hangs up."""
        phone.command("dial", f"{self._gateway.uri};transport=tcp")
        await asyncio.to_thread(phone.wait_for, "Call established")
        await asyncio.sleep(2.0)
        phone.command("hangup")

    async def _reporting(self) -> None:
        """A linphone calls, which reports what it heard."""
        phone = Linphone(self._folder / "linphone", codecs=("opus",), tone_hz=600.0)
        await asyncio.to_thread(self._stack.enter_context, phone)
        self.sip_ports.add(phone.sip_port)
        phone.command(f"call {self._gateway.uri}")
        await asyncio.to_thread(phone.wait_for, "connected.")
        await asyncio.sleep(_SECONDS)
        phone.command("terminate")
        await asyncio.to_thread(phone.wait_for, "ended")

    async def _transferred(self, alice: Baresip, bob: Baresip) -> None:
        """Both are called, and then REFER with Replaces connects them."""
        async with connect(self._gateway.ws_url, "sip") as call:
            await call.invite(option(callee=alice.uri, caller=f"sip:desk@{GATEWAY}"))
            await call.until(events.Answer)
            await call.refer(bob.uri, options=ReferOption(mode="attended", timeout=10))
            await call.until(events.Hangup, where=lambda event: not event.refer)
        await asyncio.sleep(0.5)
        alice.command("hangup")

    async def _through_a_proxy(self) -> None:
        """Bob is registered, and is called through a proxy that wants to know who calls."""
        server = f"sip:127.0.0.1:{self._registrar.port}"
        account = f'auth_user=bob;auth_pass={_BOB};regint=60;outbound="{server}"'
        self._phone("registered", aor=f"sip:bob@{REALM}", register=account)
        await asyncio.to_thread(self._registrar.wait_registrations, "bob", 1)
        async with connect(self._gateway.ws_url, "sip") as call:
            await call.invite(
                option(callee=f"sip:bob@127.0.0.1:{self._registrar.port}", caller=f"sip:7001@{REALM}")
            )
            await call.until(events.Answer)
            await asyncio.sleep(1.0)
            await call.hangup()

    async def _sipp(self) -> None:
        """Reliable responses, session timers, UPDATE, MESSAGE, REFER; 407 and 422."""
        await take_calls(self._folder / "sipp-caller")
        await make_a_call(self._folder / "sipp-callee", _SIPP_PORT)

    # --- calls with ourselves -------------------------------------------------------------------------

    async def _holding(self, room: Telephones) -> None:
        """It holds the agent for a second, and presses keys."""
        phone = room.dial(self._gateway.uri, codecs=("pcmu",))
        await phone.wait_answered()
        await phone.start_saying(_TONE)
        await asyncio.sleep(1.0)
        phone.hold()
        await asyncio.sleep(1.0)
        phone.hold(False)
        await asyncio.sleep(1.0)
        phone.press("42")
        await asyncio.sleep(_SECONDS - 3.0)
        await phone.hang_up()

    async def _encrypted(self, room: Telephones) -> None:
        phone = room.dial(f"{self._gateway.uri};transport=tcp", srtp="require")
        await phone.wait_answered()
        await phone.start_saying(_TONE)
        await asyncio.sleep(3.0)
        await phone.hang_up()

    async def _long_packets(self, room: Telephones) -> None:
        """60 ms each; and a key by INFO."""
        phone = room.dial(self._gateway.uri, codecs=("pcmu",), ptime_ms=60)
        await phone.wait_answered()
        await phone.start_saying(_TONE)
        phone.press("3", mode="info")
        await asyncio.sleep(3.0)
        await phone.hang_up()

    async def _refused(self, room: Telephones) -> None:
        """There is no codec in common."""
        phone = room.dial(self._gateway.uri, codecs=("g729",), dtmf=False)
        with pytest.raises(CallRefused, match="^488 "):
            await phone.wait_answered()

    async def _cancelled(self, room: Telephones) -> None:
        """The gateway gives up while it rings."""
        room.on_ring = lambda phone: phone.ring()
        async with connect(self._gateway.ws_url, "sip") as call:
            await call.invite(option(callee=f"sip:ringing@{TELEPHONES}:{self.phone_port}"))
            await call.until(events.Ringing)
            await call.hangup()
            await call.until(events.Hangup)

    # --- STUN -----------------------------------------------------------------------------------------

    def _ask_stun(self) -> None:
        """A client of coturn's asks us; one of ours asks us and coturn the same."""
        command = ["turnutils_stunclient", "-p", str(self._gateway.sip_port), GATEWAY]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        self.stun.reflexive = done.stdout + done.stderr
        cookie = b"\x21\x12\xa4\x42"
        where_am_i = b"\x00\x01\x00\x00" + cookie + secrets.token_bytes(12)
        something_unknown = b"\x00\x01\x00\x04" + cookie + secrets.token_bytes(12) + b"\x7f\x00\x00\x00"
        with (
            Coturn(self._folder / "coturn") as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker,
        ):
            asker.bind(("127.0.0.1", 0))
            asker.settimeout(5.0)
            for question in (where_am_i, something_unknown):
                asker.sendto(question, (GATEWAY, self._gateway.sip_port))
                self.stun.from_us.append(asker.recv(1500))
                asker.sendto(question, ("127.0.0.1", server.port))
                self.stun.from_coturn.append(asker.recv(1500))
