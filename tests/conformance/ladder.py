"""Call flows as RFCs draw them: who sent what, in order."""

from collections.abc import Sequence

from active_call.sip.messages.message import Request, Response, parse_message
from tests.unit.sip.support import ALICE, BOB, Pair

NAMES = {ALICE[:2]: "alice", BOB[:2]: "bob"}


def rung(name: str, message: Request | Response) -> str:
    """`alice INVITE` or `bob 180 INVITE`."""
    if isinstance(message, Request):
        return f"{name} {message.method}"
    return f"{name} {message.status} {message.cseq[1]}"


def flow(pair: Pair, since: int = 0) -> list[str]:
    """What Alice and Bob have sent, from datagram number `since` on; repetitions included, 100 left out."""
    rungs = [rung(NAMES[one.source[:2]], parse_message(one.data)) for one in pair.net.sent[since:]]
    return [one for one in rungs if " 100 " not in one]


def spoken(name: str, said: Sequence[Request | Response]) -> list[str]:
    """The same for what one agent said."""
    return [rung(name, one) for one in said]
