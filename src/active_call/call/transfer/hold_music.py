"""What the caller hears while another party is called or holds: music, or a ringback tone, over and over.

Speech takes its place while it is heard. An `interrupt` ends it for good.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from active_call.call.audio.player import Player
from active_call.call.audio.track import Track
from active_call.call.services import CallServices
from active_call.call.transfer.ringback import ringback
from active_call.core.owner import Owner
from active_call.outbound.guard import Origin
from active_call.wire.commands import Play

if TYPE_CHECKING:
    from active_call.call.call import Call

FALLBACK = Path("./config/sounds/refer_moh.wav")
"""Played when the music that was asked for is missing."""
_RINGBACK_ID = "ringback"
_Begin: TypeAlias = Callable[[Player], Track]


class HoldMusic:
    """The music of one call."""

    _call = Owner["Call"]()

    def __init__(self, call: "Call", services: CallServices) -> None:
        self._call = call
        self._services = services
        self._begin: _Begin | None = None
        """How what is to be heard is played; None: nothing is."""
        self._track: Track | None = None
        self._wish = 0

    @property
    def wanted(self) -> bool:
        """Whether the caller hears it, or will when nothing else is played."""
        return self._begin is not None

    def play(self, name: str, origin: Origin) -> None:
        """Music, from a file or URL that `origin` named; a file that is missing is replaced by FALLBACK."""
        self.stop()
        self._call.spawn(self._look_for(self._wish, name, origin), "hold music")

    def ring(self) -> None:
        """The ringback tone."""
        self._start(self._wish, lambda player: player.loop(ringback(), _RINGBACK_ID))

    def stop(self) -> None:
        """No more of it; what is played in its place goes on."""
        self.forget()
        track, self._track = self._track, None
        if track is not None:
            self._call.player.stop(track)

    def go_on(self) -> None:
        """Somebody else has taken the peer's place, and hears it from now on."""
        if self._begin is not None:
            self._start(self._wish, self._begin)

    def forget(self) -> None:
        """It does not begin again."""
        self._begin = None
        self._wish += 1

    def track_ended(self, track: Track, *, complete: bool) -> None:
        """Something that was played has ended."""
        if track is self._track:
            self._track = None
            if complete:  # a loop ends by itself only if it can't be played
                self._replace()
        elif complete and self._begin is not None:
            wish, begin = self._wish, self._begin
            self._call.timers.soon(lambda: self._start(wish, begin))

    async def _look_for(self, wish: int, name: str, origin: Origin) -> None:
        sounds = self._services.sounds
        if await sounds.exists(name, origin):
            self._call.timers.soon(lambda: self._start(wish, _looped(name, origin)))
        elif await sounds.exists(str(FALLBACK), Origin.OPERATOR):
            self._call.timers.soon(lambda: self._start(wish, _fallback))
        else:
            self._call.timers.soon(lambda: self._miss(wish, name))

    def _miss(self, wish: int, name: str) -> None:
        if wish == self._wish:
            self._call.complain(
                "moh", f'"{name}": there is no such file, nor {FALLBACK}; the caller waits in silence'
            )

    def _replace(self) -> None:
        """What was played can't be."""
        begin, wish = self._begin, self._wish
        if begin is None or begin is _fallback:
            self._begin = None
            return
        self._begin = None
        self._call.spawn(self._look_for_fallback(wish), "hold music")

    async def _look_for_fallback(self, wish: int) -> None:
        if await self._services.sounds.exists(str(FALLBACK), Origin.OPERATOR):
            self._call.timers.soon(lambda: self._start(wish, _fallback))

    def _start(self, wish: int, begin: _Begin) -> None:
        if wish != self._wish:
            return  # something else is wanted by now
        self._begin = begin
        if not self._call.player.playing:
            self._track = begin(self._call.player)


def _looped(name: str, origin: Origin) -> _Begin:
    return lambda player: player.play(Play(url=name), loop=True, origin=origin)


def _fallback(player: Player) -> Track:
    return player.play(Play(url=str(FALLBACK)), loop=True, origin=Origin.OPERATOR)
