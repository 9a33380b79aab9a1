"""What the agent said, and how much of it was heard; and the conversation made of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from active_call.speech.providers import ChatMessage
from active_call.wire.events import Interruption

_SHORT_REPLY = 15
"""Characters: a reply cut this early was no answer, the caller just had not finished."""

_MARK = " [interrupted by the caller]"


def join(pieces: Sequence[str]) -> str:
    """Pieces of speech as one text: with spaces, except after a script that has none."""
    text = ""
    for piece in pieces:
        text += " " + piece if text and ord(text[-1]) < 0x2E80 else piece
    return text


@dataclass(eq=False, slots=True)
class Segment:
    """Speech or a file under one play id; one track of playback."""

    play_id: str
    pieces: list[str] = field(default_factory=list)
    started: bool = False
    ended: bool = False
    cut: Interruption | None = None

    def heard(self) -> str:
        """The text up to the word at which it was cut; all of it if it was not."""
        text = join(self.pieces)
        if self.cut is None:
            return text
        share = self.cut.current / self.cut.total_duration if self.cut.total_duration > 0 else 0.0
        subtitle, position = (self.cut.subtitle or "").strip(), self.cut.position
        if subtitle and position is not None and subtitle in text:
            return (text[: _nearest(text, subtitle, share)] + _first_words(subtitle, position)).rstrip()
        end = int(min(1.0, share) * len(text))
        if end < len(text) and " " in text:
            end = text.rfind(" ", 0, end + 1) + 1
        return text[:end].rstrip()


def _nearest(text: str, part: str, share: float) -> int:
    """Where `part` stands in `text`, nearest to `share` of its length."""
    places = []
    at = text.find(part)
    while at >= 0:
        places.append(at)
        at = text.find(part, at + 1)
    return min(places, key=lambda place: abs(place - share * len(text)))


def _first_words(text: str, count: int) -> str:
    words = text.split(" ")
    return " ".join(words[:count]) if len(words) > 1 else text[:count]


@dataclass(eq=False, slots=True)
class Reply:
    """One turn of the agent. `raw` is what the model wrote, tags included."""

    id: str
    raw: str = ""
    segments: list[Segment] = field(default_factory=list)
    sent: bool = False
    """All of it was handed over to be played."""
    interrupted: bool = False
    recorded: bool = False

    @property
    def playing(self) -> bool:
        """Some of it is not played to its end yet."""
        return any(not segment.ended for segment in self.segments)

    @property
    def complete(self) -> bool:
        """It was played to its end."""
        return self.sent and not self.playing

    def heard(self) -> str:
        """The words that were heard, or will be unless the reply is interrupted."""
        segments = (
            segment for segment in self.segments if not self.interrupted or segment.started or segment.cut
        )
        return join([text for text in (segment.heard() for segment in segments) if text])

    def content(self) -> str:
        """How the model shall remember it."""
        if not self.interrupted:
            return self.raw.strip()
        heard = self.heard()
        return heard + _MARK if heard else ""


class Conversation:
    """What was said so far, as the language model sees it."""

    def __init__(self) -> None:
        self._entries: list[ChatMessage | Reply] = []

    def hear(self, text: str, *, continued: bool) -> None:
        """The caller said `text`; `continued`: soon after what they said before.

        A reply that was cut before it said anything is forgotten, and words that go on are one message.
        """
        last = self._entries[-1] if self._entries else None
        if isinstance(last, Reply) and last.interrupted and self._said_by_caller(-2):
            heard = last.heard()
            if not heard or (continued and len(heard) < _SHORT_REPLY):
                self._entries.pop()
                last = self._entries[-1]
        if isinstance(last, ChatMessage) and last.role == "user":
            self._entries[-1] = ChatMessage("user", join([last.content, text]))
        else:
            self._entries.append(ChatMessage("user", text))

    def overheard(self, text: str) -> None:
        """The caller said `text` before the greeting could be heard."""
        at = (
            len(self._entries) - 1
            if self._entries and isinstance(self._entries[-1], Reply)
            else len(self._entries)
        )
        self._entries.insert(at, ChatMessage("user", text))

    def add(self, entry: ChatMessage | Reply) -> None:
        """A hint, or a reply that has begun."""
        self._entries.append(entry)

    def messages(self, system: str) -> list[ChatMessage]:
        """`system`, and everything said; replies of which nothing was heard are left out."""
        said = [
            ChatMessage("assistant", entry.content()) if isinstance(entry, Reply) else entry
            for entry in self._entries
        ]
        return [ChatMessage("system", system), *(message for message in said if message.content)]

    def _said_by_caller(self, index: int) -> bool:
        if len(self._entries) < -index:
            return False
        entry = self._entries[index]
        return isinstance(entry, ChatMessage) and entry.role == "user"
