"""Turn taking: who has the floor, when the caller may interrupt, when a turn ends, when to ask again.

Pure: facts come in with `now` in milliseconds, decisions come out, and `next_deadline` says when to ask again.

* The agent speaks while a track of playback is heard. A barge-in is due once the caller has spoken for
  `minSpeechMs` and the agent has been heard for `ignoreFirstMs`; if the caller began sooner and still speaks
  then, it is due then.
* With the filler filter a voice alone interrupts only when it lasts longer than an "um" does; words interrupt
  unless they all are fillers.
* A final text ends the caller's turn. Words that may not interrupt are held until the agent has finished.
* While the caller speaks, and until the words just spoken have arrived, the agent does not begin.
* The follow-up counts from the later of the agent's last sound and the caller's last sign of life.
"""

import re
from collections.abc import Collection
from enum import StrEnum, auto

from pydantic import Field

from active_call.wire.model import Model

_FILLER_MS = 700
"""A voice that lasts longer is no filler."""

_WORDS_GRACE_MS = 800
"""How long after the caller's voice its words may still be on their way."""


class Strategy(StrEnum):
    """What may interrupt the agent: the caller's voice, the caller's words, either, or nothing."""

    BOTH = auto()
    VAD = auto()
    ASR = auto()
    NONE = auto()


class InterruptionOption(Model):
    """How the caller may interrupt."""

    strategy: Strategy = Strategy.BOTH
    min_speech_ms: int = Field(0, ge=0)
    filler_word_filter: bool = False
    volume_fade_ms: int | None = Field(None, ge=0, le=60_000)
    ignore_first_ms: int = Field(800, ge=0)


class Heard(StrEnum):
    """What to do about final text."""

    IGNORE = auto()
    """Only fillers, or the call is about to end."""
    NOTE = auto()
    """Said before the greeting could be heard: the greeting answers it."""
    HOLD = auto()
    """Answer it when the agent has finished."""
    ANSWER = auto()
    INTERRUPT = auto()
    """Stop the agent, then answer."""


_NOT_WORDS = re.compile(r"[^\w\s]+|_")


def bare_words(text: str) -> str:
    """`text` in lower case without punctuation."""
    return " ".join(_NOT_WORDS.sub(" ", text.replace("'", "").replace("’", "")).lower().split())


class TurnTaking:
    """The floor of one call. All times are milliseconds of one clock."""

    def __init__(
        self, option: InterruptionOption, fillers: Collection[str] = (), *, repair_window_ms: int = 3000
    ) -> None:
        self.option = option
        self.follow_up_ms: int | None = None
        """Silence after which a follow-up is due; None: never."""
        self.thinking = False
        """A reply is being made: no follow-up meanwhile."""
        self.greeting = False
        """The reply is the greeting: it does not wait for the caller, nor gives way to a first "hello"."""
        self.farewell = False
        """The agent says its last words: nothing interrupts them."""
        self.continued = False
        """The last final text came soon after the one before it."""
        self._fillers = {bare_words(filler) for filler in fillers}
        self._repair_window_ms = repair_window_ms
        self._tracks: dict[str, int] = {}
        self._audible_since: int | None = None
        self._speech_start: int | None = None
        self._speech_end: int | None = None  # of a voice whose words have not come yet
        self._final_at: int | None = None
        self._final_end = 0
        self._active_at: int | None = None
        self._interrupted = False

    # --- facts ----------------------------------------------------------------------------------------

    @property
    def agent_speaking(self) -> bool:
        """A track of playback is heard."""
        return bool(self._tracks)

    @property
    def caller_speaking(self) -> bool:
        """The caller's voice is heard."""
        return self._speech_start is not None

    def begin_turn(self) -> None:
        """The agent is about to say something new."""
        self._audible_since = None
        self._interrupted = False
        self.greeting = False

    def track_started(self, track: str, now: int) -> None:
        """Playback is heard from now on."""
        self._tracks[track] = now
        if self._audible_since is None:
            self._audible_since = now
        self._active_at = now

    def track_ended(self, track: str, now: int) -> None:
        """Playback is not heard any more."""
        self._tracks.pop(track, None)
        self._active_at = now

    def caller_active(self, now: int) -> None:
        """The caller gave a sign of life, such as a key."""
        self._active_at = now

    def speech_started(self, start: int, now: int) -> bool:
        """The caller's voice has been heard since `start`. True: interrupt now."""
        self._speech_start = start
        self._speech_end = None
        self._active_at = now
        return self.check(now)

    def speech_ended(self, now: int) -> None:
        """The caller's voice ended."""
        if self._speech_start is None:
            return
        words_came = self._final_at is not None and self._final_at > self._speech_start
        self._speech_end = None if words_came else now
        self._speech_start = None
        self._active_at = now

    def delta(self, text: str, start: int, end: int, now: int) -> bool:
        """Words that may still change, spoken between `start` and `end`. True: interrupt now."""
        if start < self._final_end or self._is_filler(text):
            return False
        self._active_at = now
        long_enough = (now if self.caller_speaking else end) - start >= self.option.min_speech_ms
        by_words = self.option.strategy in (Strategy.BOTH, Strategy.ASR)
        return self._take(by_words and long_enough and now >= self._protected_until(start))

    def final(self, text: str, start: int, end: int, now: int) -> Heard:
        """The caller's words, spoken between `start` and `end`."""
        self._speech_end = None
        filler = self._is_filler(text)
        if not filler:
            self.continued = self._final_at is not None and start - self._final_at <= self._repair_window_ms
            self._final_at, self._final_end = now, end
        self._active_at = now
        if filler or self.farewell or not text.strip():
            return Heard.IGNORE
        if self.greeting and self.thinking and (self._audible_since is None or start < self._audible_since):
            return Heard.NOTE
        if not self.agent_speaking:
            return Heard.INTERRUPT if self.thinking else Heard.ANSWER
        short = end - start < self.option.min_speech_ms
        if self.option.strategy is Strategy.NONE or short or now < self._protected_until(start):
            return Heard.HOLD
        return Heard.INTERRUPT

    # --- decisions ------------------------------------------------------------------------------------

    def check(self, now: int) -> bool:
        """Whether the caller's voice interrupts now. True once per turn of the agent."""
        due = self._voice_due()
        return self._take(due is not None and now >= due)

    def floor_taken(self, now: int) -> bool:
        """Whether the agent must not begin to speak."""
        if self.greeting or self.option.strategy in (Strategy.NONE, Strategy.ASR):
            return False
        words_coming = self._speech_end is not None and now < self._speech_end + _WORDS_GRACE_MS
        return self.caller_speaking or words_coming

    def follow_up_due(self, now: int) -> bool:
        """Whether nobody has spoken for `follow_up_ms`. The count starts anew when told so."""
        due = self._follow_up_at()
        if due is None or now < due:
            return False
        self._active_at = now
        return True

    def next_deadline(self, now: int) -> int | None:
        """When a decision can change without a new fact."""
        grace = self._speech_end + _WORDS_GRACE_MS if self._speech_end is not None else None
        times = [
            time
            for time in (
                self._voice_due(),
                grace if grace is not None and grace > now else None,
                self._follow_up_at(),
            )
            if time is not None
        ]
        return min(times, default=None)

    def _take(self, interrupt: bool) -> bool:
        if not interrupt or not self.agent_speaking or self.farewell or self._interrupted:
            return False
        self._interrupted = True
        return True

    def _voice_due(self) -> int | None:
        option = self.option
        if self._speech_start is None or not self.agent_speaking or self.farewell or self._interrupted:
            return None
        if option.strategy not in (Strategy.BOTH, Strategy.VAD):
            return None
        shortest = max(option.min_speech_ms, _FILLER_MS if option.filler_word_filter else 0)
        return max(self._speech_start + shortest, self._protected_until(None))

    def _protected_until(self, start: int | None) -> int:
        """When barge-in is allowed. Words that began before the agent was heard need not wait."""
        if self._audible_since is None or (start is not None and start < self._audible_since):
            return 0
        return self._audible_since + self.option.ignore_first_ms

    def _follow_up_at(self) -> int | None:
        busy = self.thinking or self.agent_speaking or self.caller_speaking or self.farewell
        if self.follow_up_ms is None or self._active_at is None or busy:
            return None
        return self._active_at + self.follow_up_ms

    def _is_filler(self, text: str) -> bool:
        if not self.option.filler_word_filter:
            return False
        words = bare_words(text)
        return not words or words in self._fillers or all(word in self._fillers for word in words.split())
