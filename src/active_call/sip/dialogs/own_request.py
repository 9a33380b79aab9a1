"""A request of ours within a dialog, repeated with credentials if need be (RFC 3261 §12.2.1, §22)."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from active_call.sip.dialogs.dialog import Dialog
from active_call.sip.messages.grammar import one_line
from active_call.sip.messages.message import Response
from active_call.sip.transactions.delivery import Delivery

if TYPE_CHECKING:
    from active_call.sip.dialogs.usage import Usage

OnFinal = Callable[[Response, float], None]
Headers = Iterable[tuple[str, str]]


class OwnRequest:
    """Sent when it is made. `on_final` gets the final response; of an INVITE also each repetition of its 2xx.

    A challenge that can't be answered is final; the response's reason phrase then says why in words.
    """

    def __init__(
        self,
        usage: "Usage",
        dialog: Dialog,
        method: str,
        now: float,
        *,
        headers: Headers = (),
        body: bytes = b"",
        content_type: str = "",
        on_final: OnFinal,
        on_provisional: Callable[[float], None] | None = None,
    ) -> None:
        self._usage = usage
        self._dialog = dialog
        self._method = method
        self._headers = (*headers, *((("Content-Type", one_line(content_type)),) if body else ()))
        self._body = body
        self._on_final = on_final
        self._on_provisional = on_provisional
        self._tried: set[str] = set()
        self.delivery: Delivery = self._send(now)

    @property
    def cseq(self) -> int:
        """The number of what was sent last."""
        return self.delivery.request.cseq[0]

    def _send(self, now: float) -> Delivery:
        layer = self._usage.layer
        uri = self._dialog.request_uri()
        fields = (
            *self._headers,
            *self._usage.auth.headers(self._method, uri),
            ("User-Agent", layer.user_agent),
        )
        request = self._dialog.request(self._method, fields, self._body)
        return layer.request(request, self._dialog.destination(), self._on_response, now)

    def _on_response(self, response: Response, now: float) -> None:
        if response.status < 200:
            if self._on_provisional is not None:
                self._on_provisional(now)
            return
        if response.status in (401, 407):
            # A dialog may lead past the server that was called, straight to the callee.
            stranger = self.delivery.destination.host != self._usage.peer.host
            fault = self._usage.auth.refused(response, self._tried, stranger=stranger)
            if fault is None and not self._usage.over:
                self.delivery = self._send(now)
                return
            response.reason = fault or response.reason
        elif response.status < 300:
            self._usage.auth.accepted(response)
        self._on_final(response, now)
