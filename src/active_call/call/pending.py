"""Playbooks that wait for the call they will lead (`POST /api/playbook/run`)."""

import secrets
from collections import OrderedDict

from active_call.core.clock import Clock

_LIFETIME_SECONDS = 300.0
_LIMIT = 10_000
_LIMIT_CHARACTERS = 64 << 20


class PendingPlaybooks:
    """Session ids handed out for playbooks; each is good for one call, within 300 s."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, content_or_name: str) -> str:
        """Remember a playbook's name, or its text. Returns the session id that it waits for."""
        self._forget_old()
        room = _LIMIT_CHARACTERS - len(content_or_name)
        while self._waiting and (len(self._waiting) >= _LIMIT or self._length > room):
            self._remove(next(iter(self._waiting)))
        session_id = f"s.{secrets.token_hex(16)}"
        self._waiting[session_id] = (self._clock.monotonic() + _LIFETIME_SECONDS, content_or_name)
        self._length += len(content_or_name)
        return session_id

    def take(self, session_id: str) -> str | None:
        """The playbook that waits for this session, once."""
        self._forget_old()
        return self._remove(session_id) if session_id in self._waiting else None

    def _remove(self, session_id: str) -> str:
        _, playbook = self._waiting.pop(session_id)
        self._length -= len(playbook)
        return playbook

    def _forget_old(self) -> None:
        now = self._clock.monotonic()
        while self._waiting and next(iter(self._waiting.values()))[0] <= now:
            self._remove(next(iter(self._waiting)))
