"""What waits for a client that reads slower than its call speaks."""

from collections import deque
from collections.abc import Callable

from active_call.core.channel import ChannelFull

_CONTROL_BYTES = 16 << 20


class Outbox:
    """Frames on their way to one client: written at once, or kept while the connection takes no more.

    Control frames go first, and are never dropped: `control` raises ChannelFull at `control_limit`, and beyond
    16 MiB. Of the audio only the latest `audio_limit` frames are kept, and what is dropped is counted.
    """

    def __init__(
        self, write: Callable[[bytes], None], *, control_limit: int = 10_000, audio_limit: int = 50
    ) -> None:
        self.dropped = 0
        """Audio frames that were never sent."""
        self._write = write
        self._paused = False
        self._control: deque[bytes] = deque()
        self._control_limit = control_limit
        self._control_bytes = 0
        self._audio: deque[bytes] = deque()
        self._audio_limit = audio_limit

    def control(self, frame: bytes) -> None:
        """Send, or keep, what must arrive."""
        if not self._paused:
            self._write(frame)
        elif len(self._control) >= self._control_limit or self._control_bytes > _CONTROL_BYTES:
            raise ChannelFull(f"{len(self._control)} events of {self._control_bytes} bytes are waiting")
        else:
            self._control.append(frame)
            self._control_bytes += len(frame)

    def audio(self, frame: bytes) -> None:
        """Send, or keep for a while, what is useless when it is late."""
        if not self._paused:
            self._write(frame)
            return
        if len(self._audio) >= self._audio_limit:
            self._audio.popleft()
            self.dropped += 1
        self._audio.append(frame)

    def pause(self) -> None:
        """The connection takes no more."""
        self._paused = True

    def resume(self) -> None:
        """The connection takes more again; it may `pause` while what was kept is written."""
        self._paused = False
        while self._control and not self._paused:
            frame = self._control.popleft()
            self._control_bytes -= len(frame)
            self._write(frame)
        while self._audio and not self._paused:
            self._write(self._audio.popleft())
