"""A stack with registrations, and a registrar that is written by hand: raw messages in virtual time."""

from collections.abc import Sequence

from active_call.core.tokens import token_source
from active_call.sip.hop import Hop
from active_call.sip.messages.message import Request, parse_message
from active_call.sip.messages.uri import SipUri
from active_call.sip.registration import Account
from active_call.sip.registrations import RegistrationStatus
from active_call.sip.stack import SipStack

REGISTRAR = Hop("10.0.0.9", 5060)
OURS = ("10.0.0.1", 25060)
CHALLENGE = 'WWW-Authenticate: Digest realm="pbx", nonce="{}", qop="auth"\r\n'


def account(server: str = "sip:10.0.0.9", user: str = "1001", **more: object) -> Account:
    """An account at the registrar."""
    return Account(SipUri.parse(server), user, **more)  # type: ignore[arg-type]


class Phone:
    """What the gateway does; `answer` speaks for the registrar."""

    def __init__(self, *accounts: Account, seed: int = 1) -> None:
        self.own = OURS
        self.stack = SipStack(local=lambda _: self.own, tokens=token_source(seed), user_agent="test")
        self.now = 0.0
        self.raw: list[tuple[bytes, Hop]] = []
        self.stack.registrations.start(accounts or (account(),), 0.0)

    def status(self, number: int = 0) -> RegistrationStatus:
        return self.stack.registrations.statuses(self.now)[number]

    def ended(self) -> bool:
        return self.stack.registrations.ended

    def sent(self) -> list[Request]:
        """REGISTERs sent since the last look, without repetitions. All names lead to the registrar."""
        for target in self.stack.lookups_to_make():
            hop = target.hop
            self.stack.looked_up(target, [hop._replace(host=REGISTRAR.host)], "", self.now)
        requests: dict[str, Request] = {}
        for data, destination in self.stack.datagrams_to_send():
            self.raw.append((data, destination))
            if data.strip():
                request = parse_message(data)
                assert isinstance(request, Request)
                requests[f"{request.via.branch}"] = request
        return list(requests.values())

    def wait(self, seconds: float) -> list[Request]:
        """Let time pass; what is sent meanwhile."""
        end = self.now + seconds
        while (deadline := self.stack.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.stack.handle_timer(self.now)
        self.now = end
        return self.sent()

    def next(self, limit: float = 100_000.0) -> Request:
        """The next REGISTER, whenever it comes."""
        end = self.now + limit
        while (deadline := self.stack.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.stack.handle_timer(self.now)
            sent = self.sent()
            if sent:
                return sent[-1]
        raise AssertionError(f"no REGISTER within {limit} s")

    def answer(
        self, request: Request, status: int, headers: str = "", source: Hop = REGISTRAR
    ) -> list[Request]:
        """The registrar answers; what is sent because of it."""
        data = (
            f"SIP/2.0 {status} Whatever\r\nVia: {request.headers.get('via')}\r\n"
            f"From: {request.headers.get('from')}\r\nTo: {request.headers.get('to')};tag=r1\r\n"
            f"Call-ID: {request.call_id}\r\nCSeq: {request.headers.get('cseq')}\r\n"
            f"{headers}Content-Length: 0\r\n\r\n"
        )
        self.stack.receive_datagram(data.encode(), source, self.now)
        return self.sent()

    def accept(self, request: Request, seconds: int = 3600) -> list[Request]:
        """200 with our binding."""
        return self.answer(request, 200, f"Contact: {request.headers.get('contact')};expires={seconds}\r\n")

    def registered(self, seconds: int = 3600) -> Request:
        """Register; the request that was accepted."""
        request = self.next()
        assert self.accept(request, seconds) == []
        assert self.status().state == "registered"
        return request


def contacts(request: Request) -> Sequence[str]:
    """All its Contacts."""
    return request.headers.all("contact")
