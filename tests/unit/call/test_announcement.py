"""What a webhook is told."""

from typing import cast

from active_call.call.announcement import webhook_body
from active_call.sip.agent import SipCall
from tests.unit.call.fakes import OFFER, NotingSip


def test_the_body_has_the_fields_of_both_kinds_of_clients() -> None:
    body = webhook_body(cast("SipCall", NotingSip()), created_at="2023-11-14T22:13:20.000Z")
    assert body == {
        "event": "invite",
        "dialogId": "dialog-1",
        "createdAt": "2023-11-14T22:13:20.000Z",
        "caller": "sip:alice@example.com",
        "callee": "sip:bot@example.com",
        "headers": ["X-Account: 7"],
        "offer": OFFER.decode(),
        "call_id": "dialog-1",
        "from_tag": "from",
        "to_tag": "to",
    }
