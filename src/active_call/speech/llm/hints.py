"""System messages that tell a model why it speaks although the caller said nothing."""

import re
from typing import Literal, TypeAlias

from active_call.speech.providers import ChatMessage

Occasion: TypeAlias = Literal["start", "followup", "dtmf", "transfer"]

_TEXTS: dict[Occasion, str] = {
    "start": "The call was just answered. Speak first.",
    "followup": "The caller has been silent for a while. Ask in one sentence whether they are still there.",
    "dtmf": "The caller pressed a key. Go on as the instructions for this part of the call say.",
    "transfer": (
        "The caller is with you again: the transfer failed (with this SIP status), "
        "or the other party has left. Say so in one sentence and offer to go on."
    ),
}
_OCCASION = re.compile(r"\[(start|followup|dtmf|transfer)(?: [^\]]*)?\]")


def hint(occasion: Occasion, detail: str = "") -> ChatMessage:
    """The message for `occasion`; `detail` is the key that was pressed, or how a transfer ended."""
    mark = f"[{occasion} {detail}]" if detail else f"[{occasion}]"
    return ChatMessage("system", f"{mark} {_TEXTS[occasion]}")


def occasion_of(message: ChatMessage) -> str | None:
    """The occasion, if `message` is a hint."""
    match = _OCCASION.match(message.content) if message.role == "system" else None
    return match[1] if match else None
