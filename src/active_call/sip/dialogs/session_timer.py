"""Session timers: a call whose peer has vanished is noticed and ended (RFC 4028).

Both ends agree on an interval and on who refreshes the session in its middle, by UPDATE or re-INVITE. If no
refresh comes, the call ends shortly before the interval is over. Pure: who holds this sets the alarms.
"""

from dataclasses import dataclass
from typing import Literal

from active_call.core.digits import is_number
from active_call.core.errors import RemoteProtocolError
from active_call.sip.messages.capabilities import MIN_SE, supports
from active_call.sip.messages.grammar import parse_params
from active_call.sip.messages.message import Headers, Request, Response

WANTED = 1800
"""What we ask for (§4 recommends it)."""
_LONGEST = 7 * 86_400
"""What a 422 may drive us to."""

Refresher = Literal["uac", "uas"]


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """A Session-Expires header field."""

    seconds: int
    refresher: Refresher | None = None

    @classmethod
    def of(cls, headers: Headers) -> "SessionExpires | None":
        """None if there is none. Raises RemoteProtocolError."""
        value = headers.get("session-expires")
        if value is None:
            return None
        digits, semicolon, rest = value.partition(";")
        refresher = (parse_params(semicolon + rest).get("refresher") or "").lower()
        seconds = _seconds(digits, "Session-Expires")
        if refresher == "uac":
            return cls(seconds, "uac")
        return cls(seconds, "uas" if refresher == "uas" else None)

    def __str__(self) -> str:
        return f"{self.seconds};refresher={self.refresher}" if self.refresher else str(self.seconds)


class SessionTimer:
    """What one call has agreed on. An answer, in either direction, sets `interval` anew."""

    def __init__(self, wanted: int = WANTED) -> None:
        self.interval: int | None = None
        """Seconds; None: the session does not expire."""
        self.refreshing = False
        """Whether refreshing is up to us."""
        self._wanted = wanted
        self._min_se = MIN_SE

    # --- as client ------------------------------------------------------------------------------------

    def asks(self) -> list[tuple[str, str]]:
        """The header fields of an INVITE, re-INVITE or UPDATE of ours."""
        refresher: Refresher | None = None
        if self.interval is not None:
            refresher = "uac" if self.refreshing else "uas"  # roles stay (§7.4)
        fields = [("Session-Expires", str(SessionExpires(self.interval or self._wanted, refresher)))]
        if self._min_se > MIN_SE:
            fields.append(("Min-SE", str(self._min_se)))
        return fields

    def too_brief(self, response: Response) -> bool:
        """Take a 422 to heart; whether asking again makes sense (§7.3)."""
        try:
            least = _seconds(response.headers.get("min-se") or "", "Min-SE")
        except RemoteProtocolError:
            return False
        if not self._min_se < least <= _LONGEST:
            return False
        self._min_se = least
        self._wanted = max(self._wanted, least)
        if self.interval is not None:
            self.interval = max(self.interval, least)
        return True

    def answered(self, response: Response) -> None:
        """A 2xx to what we asked (§7.2)."""
        expires = _lenient(response.headers)
        self.interval = max(expires.seconds, MIN_SE) if expires is not None else None
        # A peer that doesn't say who refreshes leaves it to the one who can be relied on.
        self.refreshing = expires is not None and expires.refresher != "uas"

    # --- as server ------------------------------------------------------------------------------------

    @staticmethod
    def check(request: Request) -> None:
        """Raises RemoteProtocolError 422 if the peer wants an interval that is too brief (§9)."""
        expires = SessionExpires.of(request.headers)
        if expires is not None and expires.seconds < MIN_SE and supports(request, "timer"):
            raise RemoteProtocolError(f"Session-Expires is {expires.seconds}, must be {MIN_SE} or more", 422)

    def answers(self, request: Request) -> list[tuple[str, str]]:
        """Agree to what the peer asks: the header fields of our 2xx (§9, table 2)."""
        expires = _lenient(request.headers)
        if expires is None:
            if self.interval is None:
                return []
            # It only wants something else, such as to show another name: the session stays as it is.
            expires = SessionExpires(self.interval)
        able = supports(request, "timer")
        refresher: Refresher = "uas"
        if able:
            refresher = expires.refresher or ("uas" if self.interval is not None and self.refreshing else "uac")
        self.interval = max(expires.seconds, MIN_SE)
        self.refreshing = refresher == "uas"
        required = [("Require", "timer")] if able else []
        return [*required, ("Session-Expires", str(SessionExpires(self.interval, refresher)))]

    # --- when -----------------------------------------------------------------------------------------

    @property
    def refresh_after(self) -> float | None:
        """Seconds from the last agreement until we must refresh; None if that isn't up to us."""
        return self.interval / 2 if self.interval is not None and self.refreshing else None

    @property
    def expires_after(self) -> float | None:
        """Seconds from the last agreement until the call is to be ended (§10)."""
        return self.interval - min(32.0, self.interval / 3) if self.interval is not None else None


def _lenient(headers: Headers) -> SessionExpires | None:
    try:
        return SessionExpires.of(headers)
    except RemoteProtocolError:
        return None


def _seconds(text: str, name: str) -> int:
    digits = text.split(";")[0].strip()
    if not is_number(digits, 10):
        raise RemoteProtocolError(f'{name} "{text[:20]}" is no number of seconds')
    return int(digits)
