"""Why did this call fail? One sentence, the same in log, record, event, SIP and `active-call trace`."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from active_call.client import connect
from active_call.records.ladder import ladder
from active_call.sdp.negotiate import LocalMedia, Srtp, make_offer
from active_call.sip.agent import SipAgent, SipCall, SipConfig
from active_call.sip.events import Answered, Ended, Rejected, SipEvent
from active_call.sip.messages.grammar import unquote
from active_call.testing.process import GatewayProcess, free_port
from active_call.wire import events
from active_call.wire.options import SipOption
from tests.e2e.api import TALK, Hook, option, run, until
from tests.e2e.certificates import make_certificate

pytestmark = pytest.mark.e2e

ANSWER = "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 9 {formats}\r\n"
CHALLENGE = {"WWW-Authenticate": 'Digest realm="pbx.example", nonce="1"'}
BROKEN = "---\nllm: {provider: scripted\n---\nA test.\n"
RULES = """codecs = ["pcmu"]
tls_ca_file = "{trusted}"
[handler]
type = "playbook"
[[handler.rules]]
callee = "talk@"
playbook = "talk.md"
[[handler.rules]]
callee = "patient@"
playbook = "patient.md"
[[handler.rules]]
callee = "missing@"
playbook = "absent.md"
[[handler.rules]]
callee = "broken@"
playbook = "broken.md"
"""


@dataclass(frozen=True)
class Told:
    """What became of a call: in its record, and on the wire."""

    record: dict[str, Any]
    headers: Mapping[str, str]
    """Of the refusal, or of the BYE."""
    event: str | None = None
    """`detail` of the `hangup` event."""

    @property
    def why(self) -> str:
        return str(self.record["hangupDetail"])


def record_where(gateway: GatewayProcess, field: str, value: str) -> dict[str, Any]:
    """The one record whose `field` is `value`; log and trace say the same as it."""

    def found() -> list[dict[str, Any]]:
        return [record for record in gateway.records() if record[field] == value]

    gateway._wait(lambda: len(found()) == 1, f"a record whose {field} is {value}", 10.0)
    (record,) = found()
    lines = [line for line in gateway.log().splitlines() if f"[{record['callId']}]" in line]
    assert (
        sum(line.endswith(record["hangupDetail"]) for line in lines if "- ends: " in line or "refused" in line)
        == 1
    )
    with (gateway.directory / record["dumpEventFile"]).open(encoding="utf-8") as dump:
        assert list(ladder(dump))[-1] == f"ended: {record['hangupDetail']}"
    return record


# --- calls that come --------------------------------------------------------------------------------------


@asynccontextmanager
async def calling(
    gateway: GatewayProcess, name: str, *, callee: str = "talk", codec: str = "pcmu", srtp: Srtp = False
) -> AsyncIterator[tuple[SipCall, list[SipEvent]]]:
    """Somebody called `name` calls, and never sends audio."""
    agent = SipAgent(SipConfig("127.0.0.1", 0), on_call=lambda call: call.reject(486, ""))
    await agent.start()
    seen: list[SipEvent] = []
    local = LocalMedia("127.0.0.1", 9, (codec,), session_id=1, srtp=srtp)
    sip = agent.invite(
        f"sip:{callee}@127.0.0.1:{gateway.sip_port}",
        caller=f"sip:{name}@127.0.0.1",
        sdp=make_offer(local),
        listener=seen.append,
    )
    try:
        yield sip, seen
    finally:
        sip.hangup()
        await agent.aclose()


async def refused(gateway: GatewayProcess, name: str, **how: Any) -> Told:
    """Their call is refused."""
    async with calling(gateway, name, **how) as (_, seen):
        await until(lambda: any(isinstance(event, Rejected) for event in seen))
    (rejection,) = (event for event in seen if isinstance(event, Rejected))
    record = await asyncio.to_thread(record_where, gateway, "caller", f"sip:{name}@127.0.0.1")
    assert record["statusCode"] == rejection.status
    return Told(record, rejection.headers)


INBOUND = {
    "codec": (488, r"no common codec; theirs: G722/8000, telephone-event/8000; ours: PCMU/8000"),
    "missing": (503, r"Playbook Not Found: there is no file absent\.md"),
    "broken": (503, r"Failed to process invite: .*broken\.md:\d.*"),
    "nobody": (503, r"Failed to process invite: no matching playbook found for caller sip:nobody@.*"),
}


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("rules")
    trusted = make_certificate(folder, "DNS:other.example")
    playbooks = {"talk.md": TALK.replace("vad:", "inactivityTimeout: 1\nvad:")}
    playbooks |= {"patient.md": TALK, "broken.md": BROKEN}
    with GatewayProcess(folder, playbooks, config=RULES.format(trusted=trusted.cert)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def inbound(rules: GatewayProcess) -> dict[str, Told]:
    async def scene() -> dict[str, Told]:
        told = await asyncio.gather(
            refused(rules, "codec", codec="g722"),
            *(refused(rules, name, callee=name) for name in ("missing", "broken", "nobody")),
        )
        return dict(zip(INBOUND, told, strict=True))

    return run(scene())


@pytest.mark.parametrize("case", INBOUND)
def test_a_call_that_we_refuse(inbound: dict[str, Told], case: str) -> None:
    told, (status, why) = inbound[case], INBOUND[case]
    assert told.record["statusCode"] == status
    assert re.fullmatch(why, told.why)
    protocol, cause, text = told.headers["Reason"].split(";", 2)
    assert (protocol, cause) == ("SIP", f"cause={status}")
    assert unquote(text.removeprefix("text=")) == told.why
    assert told.record["hangupBy"] == "system"
    assert len(told.why) <= 200


def test_refused_calls_are_counted(rules: GatewayProcess, inbound: dict[str, Told]) -> None:
    assert rules.health()[1]["calls"]["refused"] == len(inbound)


def test_no_rtp_at_all(rules: GatewayProcess) -> None:
    async def scene() -> Told:
        async with calling(rules, "silent") as (_, seen):
            await until(lambda: any(isinstance(event, Ended) for event in seen))
        record = await asyncio.to_thread(record_where, rules, "caller", "sip:silent@127.0.0.1")
        (ended,) = (event for event in seen if isinstance(event, Ended))
        return Told(record, {"Reason": ended.reason})

    told = run(scene())
    assert told.why.startswith("no RTP arrived for 1 s; their SDP asked for audio at 127.0.0.1:9, ours at ")
    assert told.headers["Reason"] == f'BYE (SIP;cause=408;text="{told.why}")'
    assert told.record["hangupReason"] == "inactivityTimeout"


def test_nobody_handles_calls(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as gateway:
        told = run(refused(gateway, "early"))
    assert told.why.startswith("No invite handler configured: ")


# --- calls that wait for a client --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (500, r"Failed to process invite: webhook http://127\.0\.0\.1:\d+/webhook answered 500"),
        (0, r"Failed to process invite: webhook http://127\.0\.0\.1:\d+/: .*"),
        (200, r"accept timeout: nobody accepted the call within 0\.3 s \(accept_timeout\)"),
    ],
)
def test_a_webhook_that_brings_nobody(tmp_path: Path, status: int, why: str) -> None:
    with Hook(status or 200) as hook:
        url = hook.url if status else f"http://127.0.0.1:{free_port()}/"
        handler = f'accept_timeout = "300ms"\n[handler]\ntype = "webhook"\nurls = ["{url}"]\n'
        with GatewayProcess(tmp_path, config=handler) as gateway:
            told = run(refused(gateway, "waiting"))
            health = gateway.health()[1]["calls"]
    assert re.fullmatch(why, told.why)
    assert f'text="{told.why}"' in told.headers["Reason"]
    assert health["failed"] == (status != 200)


def test_a_caller_that_gives_up(tmp_path: Path) -> None:
    async def scene(gateway: GatewayProcess, hook: Hook) -> dict[str, Any]:
        async with calling(gateway, "hasty"):
            await hook.asked()
        return await asyncio.to_thread(record_where, gateway, "caller", "sip:hasty@127.0.0.1")

    with Hook() as hook:
        handler = f'[handler]\ntype = "webhook"\nurls = ["{hook.url}"]\n'
        with GatewayProcess(tmp_path, config=handler) as gateway:
            record = run(scene(gateway, hook))
    assert re.fullmatch(r"the caller gave up before the answer, after \d\.\d s", record["hangupDetail"])


def test_encryption_capacity_and_the_end(tmp_path: Path) -> None:
    """One after the other, with a gateway that has ports for one call only."""

    async def scene(gateway: GatewayProcess) -> list[Told]:
        plain = await refused(gateway, "plain")
        async with calling(gateway, "first", srtp="require") as (_, seen):
            await until(lambda: any(isinstance(event, Answered) for event in seen))
            second = await refused(gateway, "second", srtp="require")
            gateway.process.send_signal(signal.SIGTERM)
            await until(lambda: gateway.health()[0] == 503)
            late = await refused(gateway, "late", srtp="require")
        return [plain, second, late]

    config = 'enable_srtp = "require"\ngraceful_shutdown = true\n'
    low = 30_000 + 2 * (free_port() % 1000)
    with GatewayProcess(tmp_path, {"p.md": TALK}, "p.md", config=config, rtp_ports=(low, low + 1)) as gateway:
        plain, second, late = run(scene(gateway))
    assert plain.why == "encryption is required here (enable_srtp = require) and RTP/AVP was offered"
    assert second.why == f"out of media capacity: no RTP port is free in {low}-{low + 1}"
    assert late.why == "Server shutting down"
    assert second.headers["Retry-After"] == "5"
    assert late.headers["Retry-After"] == "10"


# --- calls that we make -------------------------------------------------------------------------------------

Behaviour: TypeAlias = Callable[[SipCall], None]


async def called(
    gateway: GatewayProcess, name: str, callee: str, seen: list[tuple[str, bytes]], **options: Any
) -> Told:
    """A client calls; `seen` are the callee's messages."""
    async with connect(gateway.ws_url, "sip", id=name) as call:
        await call.invite(option(callee=callee, **options))
        hangup = await call.until(events.Hangup, timeout=40)
    record = await asyncio.to_thread(record_where, gateway, "callId", name)
    assert hangup.detail == record["hangupDetail"]
    ends = [data.decode() for way, data in seen if way == "<" and data.startswith((b"BYE ", b"CANCEL "))]
    reasons = re.findall(r"\r\nReason: ([^\r]*)", "".join(ends))
    return Told(record, {"Reason": reasons[0]} if reasons else {}, hangup.detail)


async def with_callee(
    gateway: GatewayProcess,
    name: str,
    behave: Behaviour,
    config: SipConfig | None = None,
    **options: Any,
) -> Told:
    """Somebody is called who does as told; with `config` over TLS."""
    seen: list[tuple[str, bytes]] = []
    agent = SipAgent(
        config or SipConfig("127.0.0.1", 0),
        on_call=behave,
        on_message=lambda way, data, *_: seen.append((way, data)),
    )
    await agent.start()
    port = agent.tls_port if config is not None else agent.address[1]
    uri = f"sip:bob@127.0.0.1:{port}" + (";transport=tls" if config is not None else "")
    try:
        return await called(gateway, name, uri, seen, **options)
    finally:
        await agent.aclose()


def accepts(formats: str, host: str = "127.0.0.1") -> Behaviour:
    return lambda call: call.accept(ANSWER.format(host=host, formats=formats).encode() if formats else b"")


def refuses(status: int, reason: str, **headers: str) -> Behaviour:
    return lambda call: call.reject(
        status, reason, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


USER = SipOption(username="alice", password="wrong")
CALLEES: dict[str, tuple[Behaviour, dict[str, Any]]] = {
    "codec": (accepts("RTP/AVP 18"), {}),
    "no-sdp": (accepts(""), {}),
    "private": (accepts("RTP/AVP 0", "10.0.0.5"), {"inactivity_timeout": 1}),
    "plain": (accepts("RTP/AVP 0"), {"sip": SipOption(enable_srtp="require")}),
    "password": (refuses(401, "Unauthorized", **CHALLENGE), {"sip": USER}),
    "no-password": (refuses(401, "Unauthorized", **CHALLENGE), {}),
    "busy": (refuses(486, "Busy Here", Reason='Q.850;cause=17;text="at lunch"'), {}),
    "unsupported": (refuses(488, "Not Acceptable Here"), {}),
    "moved": (refuses(302, "Moved"), {}),
    "rings": (lambda call: call.ring(), {"sip": SipOption(ring_timeout=1)}),
}
OUTBOUND = {
    "codec": (
        488,
        r"the callee's answer can't be used: no common codec; theirs: G729/8000; ours: PCMU/8000",
    ),
    "no-sdp": (488, r"the callee's answer can't be used: it has no SDP"),
    "private": (
        200,
        r"no RTP arrived for 1 s; their SDP asked for audio at 10\.0\.0\.5:9 \(private\): "
        r"is a NAT or firewall in the way\?",
    ),
    "plain": (488, r"the callee's answer can't be used: encryption was offered, and RTP/AVP answered .*"),
    "password": (401, r"401 twice for realm pbx\.example: user alice or its password is wrong"),
    "no-password": (401, r"401 for realm pbx\.example: no user and password are given; set sip\.username .*"),
    "busy": (486, r"the callee answered 486 Busy Here \(at lunch\)"),
    "unsupported": (488, r"the callee answered 488 Not Acceptable Here; we offered PCMU over plain RTP"),
    "moved": (302, r"redirected by 302, but its Contact names nobody we can call"),
    "rings": (408, r"it rang, but nobody picked up within 1 s \(ring timeout\)"),
    "name": (503, r"TLS: the certificate is for other\.example, not 127\.0\.0\.1 \(at 127\.0\.0\.1:\d+\)"),
    "trust": (503, r"TLS: the certificate of 127\.0\.0\.1 can't be trusted: self-signed certificate"),
    "dns": (503, r"DNS: .*nowhere\.invalid.*"),
    "tcp": (503, r"can't connect to 127\.0\.0\.1:\d+ over TCP: connection refused"),
    "udp": (503, r"nobody is at 127\.0\.0\.1:\d+: connection refused"),
}


@pytest.fixture(scope="module")
def outbound(rules: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    def tls(cert: Path, key: Path) -> SipConfig:
        return SipConfig("127.0.0.1", 0, tls_port=0, tls_cert_file=str(cert), tls_key_file=str(key))

    trusted = tls(*(next(rules.directory.glob(f"*.{kind}.pem")) for kind in ("cert", "key")))
    unknown = make_certificate(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")
    nobody = f"sip:bob@127.0.0.1:{free_port()}"
    calls: dict[str, Awaitable[Told]] = {
        **{name: with_callee(rules, name, behave, **how) for name, (behave, how) in CALLEES.items()},
        "name": with_callee(rules, "name", lambda _: None, trusted),
        "trust": with_callee(rules, "trust", lambda _: None, tls(unknown.cert, unknown.key)),
        "dns": called(rules, "dns", "sip:bob@nowhere.invalid", []),
        "tcp": called(rules, "tcp", f"{nobody};transport=tcp", []),
        "udp": called(rules, "udp", nobody, []),
    }

    async def scene() -> dict[str, Told]:
        return dict(zip(calls, await asyncio.gather(*calls.values()), strict=True))

    return run(scene())


@pytest.mark.parametrize("case", OUTBOUND)
def test_a_call_that_we_make(outbound: dict[str, Told], case: str) -> None:
    told, (status, why) = outbound[case], OUTBOUND[case]
    assert re.fullmatch(why, told.why)
    assert told.record["statusCode"] == status
    assert len(told.why) <= 200


def test_who_rang_or_answered_in_vain_hears_why(outbound: dict[str, Told]) -> None:
    for case in ("codec", "no-sdp", "plain"):
        assert outbound[case].headers["Reason"] == f'SIP;cause=488;text="{outbound[case].why}"'
    assert outbound["rings"].headers["Reason"] == f'SIP;cause=408;text="{outbound["rings"].why}"'
    assert outbound["private"].headers["Reason"].startswith('SIP;cause=408;text="no RTP arrived')


def test_nothing_secret_is_told(outbound: dict[str, Told], rules: GatewayProcess) -> None:
    assert "wrong" not in outbound["password"].why.replace("is wrong", "")
    assert "Traceback" not in rules.log()


def test_a_client_that_goes_away(rules: GatewayProcess) -> None:
    async def scene() -> dict[str, Any]:
        agent = SipAgent(SipConfig("127.0.0.1", 0), on_call=lambda call: call.ring())
        await agent.start()
        async with connect(rules.ws_url, "sip", id="gone") as call:
            await call.invite(option(callee=f"sip:bob@127.0.0.1:{agent.address[1]}"))
            await call.until(events.Ringing)
        record = await asyncio.to_thread(record_where, rules, "callId", "gone")
        await agent.aclose()
        return record

    assert run(scene())["hangupDetail"] == "the client that led the call has gone"


# --- what takes half a minute ---------------------------------------------------------------------------------


@pytest.mark.long
def test_silence_after_our_invite_and_after_our_answer(rules: GatewayProcess) -> None:
    """Nobody answers at all; and a caller never confirms our answer."""

    class Mute(asyncio.DatagramProtocol):
        """Takes everything, says nothing."""

    async def scene() -> tuple[Told, dict[str, Any]]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Mute, ("127.0.0.1", 0))
        host, port = transport.get_extra_info("sockname")
        offer = make_offer(LocalMedia(host, 9, ("pcmu",), session_id=1))
        invite = (
            f"INVITE {rules.uri.replace('agent', 'patient')} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bKx;rport\r\nMax-Forwards: 70\r\n"
            f"From: <sip:unsure@{host}>;tag=1\r\nTo: <sip:patient@{host}>\r\nCall-ID: unsure\r\n"
            "CSeq: 1 INVITE\r\n"
            f"Contact: <sip:unsure@{host}:{port}>\r\nContent-Type: application/sdp\r\n"
            f"Content-Length: {len(offer)}\r\n\r\n"
        ).encode() + offer
        transport.sendto(invite, ("127.0.0.1", rules.sip_port))
        told = await called(rules, "silence", f"sip:bob@{host}:{port}", [])
        transport.close()
        return told, await asyncio.to_thread(record_where, rules, "caller", f"sip:unsure@{host}")

    told, unsure = run(scene(), timeout=100)
    assert re.fullmatch(
        r"no response from 127\.0\.0\.1:\d+ in 32 s: is it the right address, does a firewall drop it\?",
        told.why,
    )
    assert re.fullmatch(
        r"the answer was never confirmed: no ACK in 32 s; our Contact is .*", unsure["hangupDetail"]
    )
