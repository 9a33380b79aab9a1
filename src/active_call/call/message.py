"""Texts within a call (SIP MESSAGE, RFC 3428), both ways."""

from typing import TYPE_CHECKING

from active_call.call.leg import SipLeg
from active_call.core.errors import LocalProtocolError
from active_call.sip.events import MessageAnswered, MessageReceived
from active_call.wire import commands, events

if TYPE_CHECKING:
    from active_call.call.call import Call


def send(call: "Call", command: commands.Message) -> None:
    """To the peer or the transferred party. Raises LocalProtocolError if there is none, or no telephone."""
    leg = call.transfer.party(refer=command.refer)
    if not isinstance(leg, SipLeg):
        raise LocalProtocolError("only telephones take SIP messages; custom is for who follows the call")
    leg.sip.message(command.body.encode(), command.content_type, headers=command.headers or {})


def tell(call: "Call", event: MessageReceived | MessageAnswered, *, refer: bool | None = None) -> None:
    """A text has come; or one of ours, or a key sent by INFO, was answered: only a failure is told."""
    if isinstance(event, MessageReceived):
        call.emit(
            events.Message(
                track_id=call.server_side_track if refer else call.id,
                timestamp=call.now_ms(),
                body=event.body.decode("utf-8", "replace"),
                content_type=event.content_type,
                refer=refer,
            )
        )
    elif event.status >= 300:
        sender = "message" if event.method == "MESSAGE" else "sendDtmf"
        call.complain(sender, f"the other side answered {event.status} {event.reason}", event.status)
