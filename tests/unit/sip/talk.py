"""One end of a call in progress, spoken to in raw messages by the other."""

from active_call.sip.dialogs.inbound import InboundUsage
from active_call.sip.dialogs.outbound import OutboundUsage
from active_call.sip.events import SipEvent
from active_call.sip.messages.message import Request, Response
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Agent, message, reply

Said = list[Request | Response]


class Talk:
    """Bob in a confirmed call of Alice's."""

    def __init__(self, headers: str = "") -> None:
        self.bob = Agent(BOB)
        self.bob.hear(message("INVITE", body=OFFER, headers=headers))
        self.usage: InboundUsage = self.bob.incoming[0]
        assert self.usage.dialog is not None
        self.tag = self.usage.dialog.local_tag
        self.usage.accept(ANSWER, 0.0)
        self.ok = self.bob.said()[-1]
        self.ack(1)
        self.bob.events.clear()
        self._count = 1

    @property
    def events(self) -> list[SipEvent]:
        """What Bob's owner was told since the call was answered."""
        return self.bob.events_of(self.usage)

    def ack(self, cseq: int, body: bytes = b"", now: float = 0.0) -> Said:
        data = message("ACK", to_tag=self.tag, cseq=cseq, branch=f"z9hG4bKack{cseq}", body=body)
        return self.bob.hear(data, now)

    def request(
        self, method: str, *, cseq: int = 0, headers: str = "", body: bytes = b"", now: float = 0.0
    ) -> Said:
        """Alice's next request within the dialog; what is answered."""
        self._count += 1
        data = message(
            method,
            to_tag=self.tag,
            cseq=cseq or self._count,
            branch=f"z9hG4bK{method}{self._count}{cseq}",
            headers=headers,
            body=body,
        )
        return self.bob.hear(data, now)

    def answer(self, method: str, *, cseq: int = 0, headers: str = "", body: bytes = b"") -> str:
        """The same; the start line of the one response."""
        (response,) = self.request(method, cseq=cseq, headers=headers, body=body)
        return response.start_line

    def said(self) -> Request:
        """The one request that Bob has sent."""
        return only(self.bob.said())

    def reply(
        self, request: Request, status: int, *, headers: str = "", body: bytes = b"", now: float = 0.0
    ) -> Said:
        """Alice's response to it; what is sent because of that."""
        data = reply(request, status, headers=headers, body=body)
        return self.bob.hear(data.replace(b"Contact: <sip:bob@10.0.0.2", b"Contact: <sip:alice@10.0.0.1"), now)


class Dialed:
    """Alice in a confirmed call to Bob."""

    def __init__(self, headers: str = "", **options: object) -> None:
        self.alice = Agent(ALICE)
        self.usage: OutboundUsage = self.alice.stack.invite(
            "sip:bob@10.0.0.2",
            caller="sip:alice@example.com",
            sdp=OFFER,
            now=0.0,
            **options,  # type: ignore[arg-type]
        )
        self.invite = only(self.alice.said())
        self.ack = only(self.hear(self.invite, 200, headers=headers, body=ANSWER))
        self.alice.events.clear()

    @property
    def events(self) -> list[SipEvent]:
        """What Alice's owner was told since the call was answered."""
        return self.alice.events_of(self.usage)

    def hear(
        self, request: Request, status: int, *, headers: str = "", body: bytes = b"", now: float = 0.0
    ) -> Said:
        """Bob's response; what is sent because of it."""
        return self.alice.hear(reply(request, status, headers=headers, body=body), now, source=BOB)

    def said(self) -> Request:
        """The one request that Alice has sent."""
        return only(self.alice.said())

    def request(self, method: str, *, cseq: int = 100, headers: str = "", body: bytes = b"") -> Said:
        """Bob's request within the dialog; what is answered."""
        data = message(
            method,
            uri="sip:alice@10.0.0.1",
            call_id=self.invite.call_id,
            from_tag="b1",
            to_tag=self.invite.from_.tag,
            cseq=cseq,
            branch=f"z9hG4bK{method}{cseq}",
            headers=headers,
            body=body,
        )
        return self.alice.hear(data.replace(b"Contact: <sip:alice@10.0.0.1", b"Contact: <sip:bob@10.0.0.2"))


def only(said: Said) -> Request:
    """The request that is all that was said."""
    (request,) = said
    assert isinstance(request, Request)
    return request
