"""Latency of each turn, from the events of the call alone."""

from typing import Literal

from active_call.wire.events import (
    AddHistory,
    Answer,
    AsrFinal,
    Dtmf,
    Event,
    Incoming,
    Interruption,
    Metrics,
    Ringing,
    Silence,
    Speaking,
    TrackStart,
)
from active_call.wire.model import Model

Stage = Literal["recognition", "llm", "tts", "playback"]


class Turn(Model):
    """What the caller said and what the agent answered. Times are Unix milliseconds; None: did not happen.

    A greeting has no caller's part; a turn by keypad has `digits`, and the last key press is its `caller_end`.
    """

    user_text: str | None = None
    digits: str | None = None
    agent_text: str | None = None
    caller_end: int | None = None
    """The caller stopped speaking."""
    asr_final: int | None = None
    llm_first: int | None = None
    """First token of the language model."""
    tts_first: int | None = None
    """First audio of the voice."""
    first_packet: int | None = None
    """The answer's first packet was sent."""
    latency_ms: int | None = None
    """From `caller_end` to `first_packet`: what the caller waits."""
    stages: dict[Stage, int] = {}
    """How that time was spent, in ms; the sum is exact. `recognition` includes endpointing."""
    interrupted: bool = False
    heard_ms: int | None = None
    """Of an interrupted answer: how much was heard."""
    heard_words: int | None = None


class _Open:
    """A turn in the making."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.digits = ""
        self.answered: list[str] = []
        self.times: dict[str, int] = {}
        self.interruption: Interruption | None = None

    @property
    def agent_spoke(self) -> bool:
        return "first_packet" in self.times

    def turn(self) -> Turn:
        times = self.times
        stages, latency = _stages(times)
        return Turn(
            user_text=" ".join(self.said) or None,
            digits=self.digits or None,
            agent_text=" ".join(self.answered) or None,
            caller_end=times.get("caller_end"),
            asr_final=times.get("asr_final"),
            llm_first=times.get("llm_first"),
            tts_first=times.get("tts_first"),
            first_packet=times.get("first_packet"),
            latency_ms=latency,
            stages=stages,
            interrupted=self.interruption is not None,
            heard_ms=self.interruption.current if self.interruption else None,
            heard_words=self.interruption.position if self.interruption else None,
        )


_STAGES: tuple[tuple[str, Stage], ...] = (
    ("asr_final", "recognition"),
    ("llm_first", "llm"),
    ("tts_first", "tts"),
    ("first_packet", "playback"),
)


def _stages(times: dict[str, int]) -> tuple[dict[Stage, int], int | None]:
    """Durations between the moments that are there, and from first to last if the caller's end is one.

    A moment outside of its neighbours (speech went on, a metric came late) does not count: its time belongs to
    the next stage then.
    """
    last = times.get("first_packet")
    before = times.get("caller_end")
    stages: dict[Stage, int] = {}
    if last is None:
        return stages, None
    for moment, stage in _STAGES:
        at = times.get(moment)
        if at is None or at > last or (before is not None and at < before):
            continue
        if before is not None:
            stages[stage] = at - before
        before = at
    end = times.get("caller_end")
    return stages, last - end if end is not None and end <= last else None


class TurnRecorder:
    """Cuts a call's events into turns. A final text or a key opens one; the answer belongs to it."""

    def __init__(self) -> None:
        self._turns: list[_Open] = []
        self._peer: str | None = None
        self._speech_end: int | None = None

    @property
    def turns(self) -> list[Turn]:
        """All turns so far, oldest first."""
        return [open_turn.turn() for open_turn in self._turns]

    def observe(self, event: Event) -> None:
        """Take the next event of the call; what others than caller and agent say belongs to no turn."""
        if getattr(event, "refer", None) or getattr(event, "track_id", "").startswith("bridge:"):
            return
        match event:
            case Incoming() | Ringing() | Answer():
                self._peer = event.track_id
            case Speaking():
                self._peer = event.track_id
                self._speech_end = None
            case Silence() if event.track_id == self._peer:
                self._silence(event.start_time)
            case AsrFinal():
                self._heard(event)
            case Dtmf():
                turn = self._by_caller()
                turn.digits += event.digit
                turn.times["caller_end"] = event.timestamp
            case Metrics():
                self._measured(event)
            case TrackStart() if event.play_id is not None or self._peer not in (None, event.track_id):
                self._by_agent().times.setdefault("first_packet", event.timestamp)
            case Interruption():
                spoken = [turn for turn in self._turns if turn.agent_spoke]
                if spoken:
                    spoken[-1].interruption = event
            case AddHistory() if event.speaker == "assistant":
                answering = [t for t in self._turns if t.agent_spoke or "llm_first" in t.times]
                (answering[-1] if answering else self._by_agent()).answered.append(event.text)

    def _silence(self, since: int) -> None:
        self._speech_end = since
        turn = self._turns[-1] if self._turns else None
        if turn is not None and turn.said and not turn.agent_spoke:  # a recogniser faster than the VAD
            turn.times["caller_end"] = since

    def _heard(self, event: AsrFinal) -> None:
        turn = self._by_caller()
        turn.said.append(event.text)
        turn.times.pop("llm_first", None)  # what was begun for half the sentence is not the answer
        turn.times.pop("tts_first", None)
        turn.times["asr_final"] = event.timestamp
        if self._speech_end is not None:
            turn.times["caller_end"] = self._speech_end

    def _measured(self, event: Metrics) -> None:
        moment = {"ttfb.llm": "llm_first", "ttfb.tts": "tts_first"}.get(".".join(event.key.split(".")[:2]))
        if moment is None:
            return
        turn = self._by_agent()
        if not turn.agent_spoke:
            turn.times.setdefault(moment, event.timestamp)

    def _by_caller(self) -> _Open:
        """The turn that the caller contributes to: a new one once the agent has answered the last."""
        if not self._turns or self._turns[-1].agent_spoke:
            self._turns.append(_Open())
        return self._turns[-1]

    def _by_agent(self) -> _Open:
        if not self._turns:
            self._turns.append(_Open())
        return self._turns[-1]
