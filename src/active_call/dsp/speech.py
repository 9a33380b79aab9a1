"""From "this window is speech" to utterances, for all lanes at once.

A window is positive if its probability is above the lane's threshold. An utterance starts at a positive window
and is told when it has lasted `speech_padding_ms` up to a positive window and `ratio` of the last
`speech_padding_ms` is positive; what stays shorter is a blip and never told. It ends with its last positive
window, told once `silence_padding_ms` have followed it.

            onset                      told                    end            told
    . . . . | + + - + + + + |<- speech_padding | + + + - + + + | - - - - silence_padding |
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from active_call.core.audio import SAMPLE_RATE, ms_to_samples
from active_call.lanes.messages import ConfigureVad, SpeechEnded, SpeechStarted

HISTORY: Final = 64
"""Windows remembered per lane: the longest speech padding is so many windows."""

_NONE: Final = -1


class Speech:
    """The state of `capacity` lanes as columns. Positions and durations are 16 kHz samples."""

    def __init__(self, capacity: int) -> None:
        self._generation = np.zeros(capacity, np.int64)
        self._threshold = np.full(capacity, 0.5, np.float32)
        self._speech_padding = np.zeros(capacity, np.int64)
        self._silence_padding = np.zeros(capacity, np.int64)
        self._ratio = np.zeros(capacity)
        self._longest = np.zeros(capacity, np.int64)
        self._speaking = np.zeros(capacity, np.bool_)
        self._onset = np.full(capacity, _NONE, np.int64)
        self._end = np.zeros(capacity, np.int64)  # end of the last positive window
        self._recent = np.zeros((capacity, HISTORY), np.bool_)  # newest first

    def configure(self, row: int, message: ConfigureVad) -> None:
        """Take the lane's settings and start in silence."""
        self._generation[row] = message.generation
        self._threshold[row] = message.threshold
        self._speech_padding[row] = ms_to_samples(message.speech_padding_ms)
        self._silence_padding[row] = ms_to_samples(message.silence_padding_ms)
        self._ratio[row] = message.ratio
        self._longest[row] = int(message.max_speech_seconds * SAMPLE_RATE)
        self._speaking[row] = False
        self._onset[row] = _NONE
        self._recent[row] = False

    def speaking(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of `rows` are within an utterance that was told."""
        return self._speaking[rows]

    def forget(self, rows: NDArray[np.int64]) -> None:
        """Drop what could have become an utterance: the windows that follow don't adjoin the last ones."""
        self._onset[rows[~self._speaking[rows]]] = _NONE
        self._recent[rows] = False

    def finish(self, row: int, tick: int) -> list[SpeechEnded]:
        """End the lane's utterance, if there is one: no more windows will come."""
        if not self._speaking[row]:
            return []
        self._speaking[row] = False
        return [self._ended(row, tick, int(self._end[row]))]

    def update(
        self,
        rows: NDArray[np.int64],
        probabilities: NDArray[np.float32],
        starts: NDArray[np.int64],
        window: int,
        tick: int,
    ) -> list[SpeechStarted | SpeechEnded]:
        """Take the next window of each of `rows` (distinct): its probability, first sample and length."""
        ends = starts + window
        positive = probabilities > self._threshold[rows]
        speaking = self._speaking[rows]
        recent = self._remember(rows, positive)
        self._end[rows[positive]] = ends[positive]

        events: list[SpeechStarted | SpeechEnded] = []
        started = self._starts(rows, positive & ~speaking, ~speaking, recent, starts, window)
        overlong = speaking & positive & (starts - self._onset[rows] >= self._longest[rows])
        silent = speaking & ~positive & (ends - self._end[rows] >= self._silence_padding[rows])
        for index in np.flatnonzero(silent | overlong | started):
            row, probability = int(rows[index]), float(probabilities[index])
            if silent[index]:
                events.append(self._ended(row, tick, int(self._end[row])))
                continue
            if overlong[index]:
                cut = int(starts[index])
                events.append(self._ended(row, tick, cut))
                self._onset[row] = cut
            events.append(self._started(row, tick, probability))
        ended = rows[silent]
        self._speaking[rows[started]] = True
        self._speaking[ended] = False
        self._onset[ended] = _NONE
        self._recent[ended] = False
        return events

    def _remember(self, rows: NDArray[np.int64], positive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        recent = np.empty((len(rows), HISTORY), np.bool_)
        recent[:, 1:] = self._recent[rows, :-1]
        recent[:, 0] = positive
        self._recent[rows] = recent
        return recent

    def _starts(
        self,
        rows: NDArray[np.int64],
        candidate: NDArray[np.bool_],
        idle: NDArray[np.bool_],
        recent: NDArray[np.bool_],
        starts: NDArray[np.int64],
        window: int,
    ) -> NDArray[np.bool_]:
        """Which lanes begin to speak; moves the onsets of those (`idle`) that don't yet."""
        onset = np.where(candidate & (self._onset[rows] == _NONE), starts, self._onset[rows])
        padding = self._speech_padding[rows]
        span = np.clip(-(-padding // window), 1, HISTORY)  # the padding in windows, rounded up
        in_span = recent & (np.arange(HISTORY) < span[:, None])
        enough = in_span.sum(axis=1) >= self._ratio[rows] * span
        lasted = (onset != _NONE) & (starts + window - onset >= np.minimum(padding, span * window))
        # What lasted without being speech: go on from the first positive window that is still within the span.
        stale = idle & lasted & ~enough
        oldest = HISTORY - 1 - np.argmax(in_span[:, ::-1], axis=1)
        onset = np.where(stale, np.where(in_span.any(axis=1), starts - oldest * window, _NONE), onset)
        self._onset[rows[idle]] = onset[idle]
        begins: NDArray[np.bool_] = candidate & lasted & enough
        return begins

    def _started(self, row: int, tick: int, probability: float) -> SpeechStarted:
        generation, position = int(self._generation[row]), int(self._onset[row])
        return SpeechStarted(row, generation, tick, position, probability)

    def _ended(self, row: int, tick: int, end: int) -> SpeechEnded:
        generation, start = int(self._generation[row]), int(self._onset[row])
        return SpeechEnded(row, generation, tick, start, end)
