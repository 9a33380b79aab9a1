"""Tells a web service about an inbound call, so that one of its clients takes it."""

import asyncio
import logging
from itertools import cycle
from typing import Any

from active_call.config import WebhookHandler
from active_call.core.errors import ActiveCallError
from active_call.core.urls import mask_urls
from active_call.outbound import FetchError, GuardError, Origin, Outbound
from active_call.sdp.crypto import without_keys
from active_call.sip.agent import SipCall

log = logging.getLogger(__name__)

_BUDGET = 5.0
"""Seconds for all targets together: the caller hears nothing meanwhile."""
_CONNECT = 1.0
_LEAST = 1.0


class WebhookError(ActiveCallError):
    """No target took the announcement; the text says why of each."""


class Webhook:
    """Announces calls to the targets of a handler in turn; if one fails, the next ones are tried."""

    def __init__(self, handler: WebhookHandler, outbound: Outbound) -> None:
        self._handler = handler
        self._outbound = outbound
        self._headers = dict(handler.headers)
        self._first = cycle(range(len(handler.targets)))

    async def announce(self, body: dict[str, Any]) -> None:
        """Returns when a target answered 2xx. Raises WebhookError within 5 seconds if none does."""
        targets, first = self._handler.targets, next(self._first)
        targets = targets[first:] + targets[:first]
        deadline = asyncio.get_running_loop().time() + _BUDGET
        failures: list[str] = []
        for index, url in enumerate(targets):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            share = min(left, max(_LEAST, left / (len(targets) - index)))
            failure = await self._try(url, body, share)
            if failure is None:
                return
            log.warning("- %s", failure)
            failures.append(failure)
        raise WebhookError("; ".join(failures))

    async def _try(self, url: str, body: dict[str, Any], timeout: float) -> str | None:
        """What went wrong."""
        try:
            status = await self._outbound.post_json(
                url,
                body,
                Origin.OPERATOR,
                headers=self._headers,
                method=self._handler.method,
                timeout=timeout,
                connect_timeout=min(timeout, _CONNECT),
            )
        except (FetchError, GuardError) as error:
            return f"webhook {error}"
        return None if 200 <= status < 300 else f"webhook {mask_urls(url)} answered {status}"


def webhook_body(sip: SipCall, *, created_at: str) -> dict[str, Any]:
    """What it is told, with the fields of both kinds of clients: camelCase and snake_case.

    `created_at` is RFC 3339.
    """
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
