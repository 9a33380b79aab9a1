"""Keeping a session alive, and ending it when the peer doesn't (RFC 4028 §7, §10)."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from active_call.core.owner import Owner
from active_call.sip.dialogs.own_request import OwnRequest
from active_call.sip.dialogs.session_timer import SessionTimer
from active_call.sip.messages.capabilities import SUPPORTED, allows
from active_call.sip.messages.message import Request, Response

if TYPE_CHECKING:
    from active_call.sip.dialogs.usage import Usage

_REFRESH = "refresh the session"
_EXPIRY = "the session expires"
_AGAIN = 10.0
"""Pause before a refresh that failed is tried again, in seconds."""


class SessionRefresh:
    """A call's session timer at work."""

    _usage = Owner["Usage"]()

    def __init__(self, usage: "Usage") -> None:
        self._usage = usage
        self._timer = SessionTimer()
        self._update = False

    def note(self, message: Request | Response) -> None:
        """Learn from the peer's INVITE or an answer to ours whether it takes UPDATE."""
        self._update = self._update or allows(message, "UPDATE")

    def asks(self) -> list[tuple[str, str]]:
        """The header fields of an INVITE of ours."""
        return self._timer.asks()

    def too_brief(self, response: Response) -> bool:
        """A 422: whether asking again makes sense."""
        return self._timer.too_brief(response)

    def agreed(self, response: Response, now: float) -> None:
        """A 2xx to our INVITE or UPDATE."""
        self._timer.answered(response)
        self._restart(now)

    def agree(self, request: Request, now: float) -> Iterable[tuple[str, str]]:
        """The header fields of our 2xx to an INVITE or UPDATE; before the answer nothing can expire."""
        if not self._usage.answered:
            return ()
        fields = self._timer.answers(request)
        self._restart(now)
        return fields

    def refused(self, status: int, now: float) -> None:
        """Our refresh failed, but the session goes on until it expires (§10)."""
        if self._timer.refresh_after is not None and status not in (408, 481):
            self._usage.alarms.set(_REFRESH, now + _AGAIN, self._refresh)

    def _restart(self, now: float) -> None:
        alarms = self._usage.alarms
        alarms.clear(_REFRESH, _EXPIRY)
        if self._timer.refresh_after is not None:
            alarms.set(_REFRESH, now + self._timer.refresh_after, self._refresh)
        if self._timer.expires_after is not None:
            alarms.set(_EXPIRY, now + self._timer.expires_after, self._expired)

    def _refresh(self, now: float) -> None:
        usage = self._usage
        if not self._update:
            usage.local_offer.refresh(now)
        elif usage.dialog is not None and not usage.ending:
            headers = (("Contact", usage.contact), SUPPORTED, *self._timer.asks())
            OwnRequest(usage, usage.dialog, "UPDATE", now, headers=headers, on_final=self._on_update)

    def _on_update(self, response: Response, now: float) -> None:
        usage = self._usage
        if usage.over:
            return
        if response.status < 300:
            self.agreed(response, now)
        elif response.status in (408, 481):
            usage.end(
                "timeout" if response.status == 408 else "peer", f"{response.status} to session refresh", now
            )
        elif response.status in (405, 501):
            self._update = False
            usage.local_offer.refresh(now)
        elif response.status == 422 and self._timer.too_brief(response):
            self._refresh(now)
        else:
            self.refused(response.status, now)

    def _expired(self, now: float) -> None:
        seconds = self._timer.interval or 0
        self._usage.end("timeout", f"the session expired: no refresh came in its {seconds} s", now)
