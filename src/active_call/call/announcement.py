"""What a webhook is told of an inbound call."""

from typing import Any

from active_call.sdp.crypto import without_keys
from active_call.sip.agent import SipCall


def webhook_body(sip: SipCall, *, created_at: str) -> dict[str, Any]:
    """The fields of both kinds of webhook clients: camelCase and snake_case. `created_at` is RFC 3339."""
    return {
        "event": "invite",
        "dialogId": sip.dialog_id,
        "createdAt": created_at,
        "caller": sip.caller,
        "callee": sip.callee,
        "headers": list(sip.header_lines),
        "offer": without_keys((sip.remote_sdp or b"").decode("utf-8", "replace")),
        "call_id": sip.call_id,
        "from_tag": sip.remote_tag,
        "to_tag": sip.local_tag,
    }
