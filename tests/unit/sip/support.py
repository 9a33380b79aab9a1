"""Two user agents in one process, and messages to throw at one."""

from active_call.core.tokens import token_source
from active_call.sip.call import SipCall
from active_call.sip.dialogs.dialog import DialogId
from active_call.sip.dialogs.inbound import InboundUsage
from active_call.sip.dialogs.outbound import OutboundUsage
from active_call.sip.dialogs.usage import Usage
from active_call.sip.events import SipEvent
from active_call.sip.hop import Hop
from active_call.sip.messages.message import Request, Response, parse_message
from active_call.sip.stack import Incoming, SipStack
from active_call.testing.fakenet import FakeNet

ALICE = Hop("10.0.0.1", 5060)
BOB = Hop("10.0.0.2", 5060)
OFFER = b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ANSWER = b"v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n"


class Agent:
    """A stack that notes what happens to it; an endpoint of FakeNet."""

    def __init__(self, address: Hop, seed: int = 1) -> None:
        self.stack = SipStack(local=lambda _: address[:2], tokens=token_source(seed), user_agent="test")
        self.address = address
        self.now = 0.0
        self.names: dict[str, list[Hop]] = {}
        """What names are found at; others are at Bob's address."""
        self.incoming: list[InboundUsage] = []
        self.events: list[tuple[Usage, SipEvent]] = []
        self.sent: list[tuple[bytes, Hop]] = []

    def receive_datagram(self, data: bytes, source: Hop, now: float) -> None:
        self.now = now
        self.stack.receive_datagram(data, source, now)
        self.collect()

    def datagrams_to_send(self) -> list[tuple[bytes, Hop]]:
        while targets := self.stack.lookups_to_make():
            for target in targets:
                default = [target.hop._replace(host=BOB.host)]
                hops = self.names.get(target.host, default)
                reason = "" if hops else f"DNS: no address for {target.host} (NXDOMAIN)"
                self.stack.looked_up(target, hops, reason, self.now)
        datagrams = self.stack.datagrams_to_send()
        self.sent += datagrams
        return datagrams

    def next_deadline(self) -> float | None:
        return self.stack.next_deadline()

    def handle_timer(self, now: float) -> None:
        self.now = now
        self.stack.handle_timer(now)
        self.collect()

    def collect(self) -> None:
        while (event := self.stack.next_event()) is not None:
            if isinstance(event, Incoming):
                self.incoming.append(event.usage)
            else:
                self.events.append((event.usage, event.event))

    def events_of(self, usage: Usage) -> list[SipEvent]:
        self.collect()
        return [event for owner, event in self.events if owner is usage]

    def kinds_of(self, usage: Usage) -> list[str]:
        return [type(event).__name__ for event in self.events_of(usage)]

    # --- a single agent, spoken to in raw messages ------------------------------------------------------

    def hear(self, data: bytes, now: float = 0.0, source: Hop = ALICE) -> list[Request | Response]:
        """Receive `data`; what is sent because of it."""
        self.receive_datagram(data, source, now)
        return self.said()

    def wait_until(self, now: float) -> list[Request | Response]:
        """Let time pass, timer by timer; what is sent meanwhile."""
        said: list[Request | Response] = []
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            self.handle_timer(deadline)
            said += self.said()
        self.now = now
        return said

    def said(self) -> list[Request | Response]:
        """What was sent since the last look."""
        return [parse_message(data) for data, _ in self.datagrams_to_send()]

    @property
    def dialogs(self) -> dict[DialogId, Usage]:
        """The dialogs that the stack knows."""
        return self.stack._core.dialogs

    def wind_up(self, seconds: float) -> None:
        """Hang up all calls and let time pass, while nobody answers."""
        for usage in set(self.dialogs.values()):
            usage.hangup(self.now)
        self.said()
        self.wait_until(self.now + seconds)

    def statuses(self, data: bytes, now: float = 0.0) -> list[int]:
        """The statuses that are answered to `data`."""
        return [one.status for one in self.hear(data, now) if isinstance(one, Response)]


class Pair:
    """Alice and Bob on a network."""

    def __init__(
        self, *, loss: float = 0.0, duplicate: float = 0.0, jitter: float = 0.0, seed: int = 1
    ) -> None:
        self.net = FakeNet(seed=seed, loss=loss, duplicate=duplicate, jitter=jitter)
        self.alice = Agent(ALICE, 1)
        self.bob = Agent(BOB, 2)
        self.net.attach(ALICE, self.alice)
        self.net.attach(BOB, self.bob)

    def call(self, **options: object) -> OutboundUsage:
        """Alice calls Bob."""
        return self.alice.stack.invite(
            "sip:bob@10.0.0.2",
            caller="sip:alice@10.0.0.1",
            sdp=OFFER,
            now=self.net.now,
            **options,  # type: ignore[arg-type]
        )

    def ringing(self, **options: object) -> tuple[OutboundUsage, InboundUsage]:
        """Alice calls Bob, who hasn't answered."""
        out = self.call(**options)
        self.net.run(0.1)
        return out, self.bob.incoming[-1]

    def connected(self) -> tuple[OutboundUsage, InboundUsage]:
        """A call in progress."""
        out, into = self.ringing()
        into.accept(ANSWER, self.net.now)
        self.net.run(0.1)
        return out, into


def message(
    method: str,
    *,
    uri: str = "sip:bob@10.0.0.2",
    branch: str = "z9hG4bK1",
    call_id: str = "c1",
    cseq: int = 1,
    to_tag: str = "",
    from_tag: str = "f1",
    headers: str = "",
    body: bytes = b"",
    via: str = "SIP/2.0/UDP 10.0.0.1:5060",
    cseq_method: str = "",
) -> bytes:
    """A request of Alice's, as bytes."""
    tag = f";tag={to_tag}" if to_tag else ""
    content = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"{method} {uri} SIP/2.0\r\nVia: {via};branch={branch}\r\nMax-Forwards: 70\r\n"
        f"From: <sip:alice@10.0.0.1>;tag={from_tag}\r\nTo: <sip:bob@10.0.0.2>{tag}\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq} {cseq_method or method}\r\nContact: <sip:alice@10.0.0.1:5060>\r\n{headers}{content}"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def reply(request: Request, status: int, *, tag: str = "b1", headers: str = "", body: bytes = b"") -> bytes:
    """Bob's response to a request of ours, as bytes."""
    via = "".join(f"Via: {value}\r\n" for value in request.headers.all("via"))
    to = request.headers.get("to") or ""
    if tag and "tag=" not in to:
        to += f";tag={tag}"
    content = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"SIP/2.0 {status} Whatever\r\n{via}From: {request.headers.get('from')}\r\nTo: {to}\r\n"
        f"Call-ID: {request.call_id}\r\nCSeq: {request.headers.get('cseq')}\r\n"
        f"Contact: <sip:bob@10.0.0.2:5060>\r\n{headers}{content}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def call_of(usage: Usage) -> SipCall:
    """The owner's handle on a usage, at time 0."""
    return SipCall(usage, lambda: 0.0, lambda: None)
