"""Person or machine? What picked up an outbound call, by how it talks, what it says, and by its beep.

Pure: facts come in with milliseconds of one clock, a verdict comes out.

* A person says a short greeting and then waits. A machine talks on, with no more than short pauses.
* Machines say things that people don't: "after the tone", "not available", 请留言, 无法接通.
* A pure tone after speech is the beep of a voice mailbox: from then on it records.

Whoever was silent for the whole timeout, or gave no other sign, is taken for a person: to keep a person waiting
is worse than to talk to a machine.
"""

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Final

from active_call.core.audio import Pcm
from active_call.speech.beep import BeepDetector
from active_call.speech.turn import bare_words
from active_call.wire.options import AmdOption

_LONG_SPEECH_MS: Final = 2_800
"""Nobody greets for so long."""
_LEAST_VOICED: Final = 0.7
"""Share of a long speech that is voice. A person who says hello again and again pauses for longer."""
_PAUSE_MS: Final = 800
"""Silence that ends a greeting."""
_NEWS_MS: Final = 350
"""How long after its onset speech is reported at the latest."""
_BEFORE_BEEP_MS: Final = 300
"""Speech has begun so long before a beep: a detector of speech may take the beep itself for it."""
_BEEP_PATIENCE_MS: Final = 60_000
"""A mailbox that has not beeped so long after the answer will not."""
_REMEMBERED: Final = 300

_PHRASES: Final = (
    "leave a message",
    "leave your message",
    "leave us a message",
    "leave me a message",
    "leave your name",
    "leave a voicemail",
    "record your message",
    "after the tone",
    "after the beep",
    "at the tone",
    "at the beep",
    "voicemail",
    "voice mail",
    "voice mailbox",
    "voice messaging",
    "answering machine",
    "mailbox is full",
    "not available",
    "is unavailable",
    "currently unavailable",
    "cant come to the phone",
    "cannot come to the phone",
    "unable to take your call",
    "cant take your call",
    "cannot take your call",
    "youve reached",
    "you have reached",
    "call has been forwarded",
    "number you have dialed",
    "number you have dialled",
    "number you have called",
    "number you are trying to reach",
    "person you are trying to reach",
    "not in service",
)
"""Without punctuation and apostrophes, in lower case."""
_CHINESE_PHRASES: Final = (
    "请留言",
    "请您留言",
    "留下您的",
    "留言请",
    "语音信箱",
    "语音留言",
    "留言信箱",
    "滴声后",
    "滴的一声",
    "嘟声后",
    "哔声后",
    "提示音后",
    "提示音之后",
    "无法接通",
    "无法接听",
    "不能接听",
    "暂时无人接听",
    "无人接听",
    "不在服务区",
    "已关机",
    "已停机",
    "是空号",
    "您拨打的",
    "您所拨打",
    "您呼叫的",
    "正在通话中",
    "来电提醒",
    "稍后再拨",
)


class Evidence(StrEnum):
    """What a verdict rests on."""

    SPEECH = auto()
    """How long was spoken, and the pauses."""
    WORDS = auto()
    BEEP = auto()
    TIMEOUT = auto()
    """Nothing: the time was up."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who answered. `text` says what gave it away, between `start_ms` and `end_ms`."""

    machine: bool
    start_ms: int
    end_ms: int
    text: str
    evidence: Evidence


class MachineDetector:
    """Decides once for one call, between the answer and the option's timeout.

    After a machine by speech or words, its beep gives a second verdict: the moment to leave a message.
    All times are milliseconds of one clock. Facts may be told late, and before `answered` they don't count.
    """

    def __init__(self, option: AmdOption) -> None:
        self.verdict: Verdict | None = None
        """The first one."""
        self._timeout_ms = round(option.timeout * 1000)
        self._answered_ms: int | None = None
        self._finished = not option.enabled
        self._first_ms: int | None = None
        """Onset of all that was said so far, with short pauses in it."""
        self._onset_ms: int | None = None
        """Onset of what is being said."""
        self._end_ms = 0
        self._voiced_ms = 0
        self._said = ""
        self._beeps = BeepDetector()

    @property
    def finished(self) -> bool:
        """Whether no more verdict will come: nothing needs to be told any longer."""
        return self._finished

    def answered(self, now_ms: int) -> None:
        """The call was answered; from now on the time runs."""
        if self._answered_ms is None:
            self._answered_ms = now_ms

    def speech_started(self, start_ms: int) -> Verdict | None:
        """The far end speaks since `start_ms`."""
        if not self._undecided or self._answered_ms is None:
            return None
        if self._first_ms is not None and start_ms - self._end_ms >= _PAUSE_MS:
            return self._greeted(start_ms)
        self._onset_ms = max(start_ms, self._answered_ms)  # the end of a ringback announcement doesn't count
        if self._first_ms is None:
            self._first_ms = self._onset_ms
        return None

    def speech_ended(self, end_ms: int) -> Verdict | None:
        """The far end is silent since `end_ms`."""
        if not self._undecided or self._onset_ms is None:
            return None
        self._voiced_ms += max(end_ms - self._onset_ms, 0)
        self._end_ms = max(end_ms, self._onset_ms)
        self._onset_ms = None
        return self._judge_length(self._end_ms)

    def recognised(self, text: str, end_ms: int) -> Verdict | None:
        """The far end said `text`, whole or a piece of it, until `end_ms`."""
        if not self._undecided or self._answered_ms is None:
            return None
        # A phrase may be cut in two.
        self._said = f"{self._said} {bare_words(text)}"[-_REMEMBERED:]
        if not _is_announcement(self._said):
            return None
        start_ms = self._answered_ms if self._first_ms is None else self._first_ms
        return self._decide(Verdict(True, start_ms, max(end_ms, start_ms), text.strip(), Evidence.WORDS))

    def audio(self, pcm: Pcm, position_ms: int) -> Verdict | None:
        """Take 16 kHz samples of what the far end says, the first one at `position_ms`; looks for the beep."""
        if self._finished or self._answered_ms is None:
            return None
        beep = self._beeps.feed(pcm, position_ms)
        if beep is None or self._first_ms is None or beep.start_ms - self._first_ms < _BEFORE_BEEP_MS:
            return None
        verdict = Verdict(True, beep.start_ms, beep.end_ms, f"beep of {beep.hz} Hz", Evidence.BEEP)
        return self._decide(verdict)

    def tick(self, now_ms: int) -> Verdict | None:
        """Let time pass. Call it some times per second until `finished`."""
        if self._finished or self._answered_ms is None:
            return None
        if self.verdict is not None:
            self._finished = now_ms - self._answered_ms >= _BEEP_PATIENCE_MS
            return None
        if self._onset_ms is not None:
            verdict = self._judge_length(now_ms)
            if verdict is not None:
                return verdict
        elif self._first_ms is not None and now_ms - self._end_ms >= _PAUSE_MS + _NEWS_MS:
            return self._greeted(now_ms)
        if now_ms - self._answered_ms >= self._timeout_ms:
            return self._decide(
                Verdict(False, self._answered_ms, now_ms, "no sign of a machine in time", Evidence.TIMEOUT)
            )
        return None

    @property
    def _undecided(self) -> bool:
        return not self._finished and self.verdict is None

    def _judge_length(self, now_ms: int) -> Verdict | None:
        """A machine, if what is said has gone on for long enough."""
        first_ms = now_ms if self._first_ms is None else self._first_ms
        length_ms = now_ms - first_ms
        voiced_ms = self._voiced_ms + (0 if self._onset_ms is None else now_ms - self._onset_ms)
        if length_ms < _LONG_SPEECH_MS or voiced_ms < _LEAST_VOICED * length_ms:
            return None
        text = f"speech of {length_ms / 1000:.1f} s without a longer pause"
        return self._decide(Verdict(True, first_ms, now_ms, text, Evidence.SPEECH))

    def _greeted(self, now_ms: int) -> Verdict:
        first_ms = now_ms if self._first_ms is None else self._first_ms
        text = f"a greeting of {(self._end_ms - first_ms) / 1000:.1f} s, then silence"
        return self._decide(Verdict(False, first_ms, now_ms, text, Evidence.SPEECH))

    def _decide(self, verdict: Verdict) -> Verdict:
        if self.verdict is None:
            self.verdict = verdict
        # After the beep there is nothing more to learn, and a person does not beep.
        self._finished = not verdict.machine or verdict.evidence is Evidence.BEEP
        return verdict


def _is_announcement(words: str) -> bool:
    """Whether `words`, as bare_words makes them, are of a machine."""
    joined = words.replace(" ", "")
    return any(phrase in words for phrase in _PHRASES) or any(phrase in joined for phrase in _CHINESE_PHRASES)
