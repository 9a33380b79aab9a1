"""What broken input is thrown at: each may refuse it in the way it says it does; all else is a defect."""

from active_call.core.errors import RemoteProtocolError
from active_call.core.tokens import token_source
from active_call.sdp.negotiate import LocalMedia, accept_answer, answer_offer
from active_call.sip.messages.message import BadMessage, Request, check_request, check_response, parse_message
from tests.fuzz.corpus import MESSAGES, OFFERS
from tests.unit.sip.support import ALICE, ANSWER, OFFER, Agent, Pair

LOCAL = LocalMedia("192.0.2.1", 4000, ("pcmu", "pcma", "g722", "opus"), session_id=1)
_FORGOTTEN_SECONDS = 400.0


def sdp(data: bytes) -> None:
    """As an offer, and as an answer to ours."""
    for read in (answer_offer, accept_answer):
        try:
            read(data, LOCAL)
        except RemoteProtocolError:
            continue


def sip(data: bytes) -> None:
    """Parsed, checked and written again."""
    try:
        message = parse_message(data)
        if isinstance(message, Request):
            check_request(message)
            message.stamp(ALICE)
        else:
            check_response(message)
    except (BadMessage, RemoteProtocolError):
        return
    parse_message(bytes(message))


class BusyAgent:
    """A user agent amid calls. `receive` must never raise; `forget` must leave nothing behind."""

    def __init__(self) -> None:
        pair = Pair()
        self.agent: Agent = pair.bob
        self._pair = pair
        self._renew()

    def _renew(self) -> None:
        self._out, _ = self._pair.connected()
        inbound = self._pair.bob.incoming[-1]
        assert inbound.dialog is not None
        self._tags = (inbound.dialog.local_tag.encode(), inbound.dialog.remote_tag.encode())
        self._call_id = inbound.call_id.encode()

    def receive(self, data: bytes) -> None:
        """Feed it a message, whose LOCALTAG becomes that of a live call."""
        data = data.replace(b"LOCALTAG", self._tags[0]).replace(b"tag=f1", b"tag=" + self._tags[1])
        data = data.replace(b"fuzz@10.0.0.1", self._call_id)
        net = self._pair.net
        self.agent.receive_datagram(data, ALICE, net.now)
        for usage in self.agent.incoming[-1:]:
            usage.ring(net.now)
            usage.accept(ANSWER, net.now)
        net.run(0.005)

    def forget(self) -> None:
        """Hang up everywhere and let time pass. Raises AssertionError for what remains."""
        net = self._pair.net
        for usage in (*self.agent.incoming, self._out):
            usage.hangup(net.now)
        net.run(_FORGOTTEN_SECONDS)
        for agent in (self._pair.alice, self._pair.bob):
            agent.collect()
            agent.events.clear()
            agent.incoming.clear()
            agent.sent.clear()
            assert agent.stack.transactions == 0, f"{agent.stack.transactions} transactions remain"
            assert agent.stack.dialogs == 0, f"{agent.stack.dialogs} dialogs remain"
        net.sent.clear()
        self._renew()


__all__ = ["LOCAL", "MESSAGES", "OFFER", "OFFERS", "BusyAgent", "sdp", "sip", "token_source"]
