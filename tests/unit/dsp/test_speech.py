import numpy as np
import pytest

from active_call.dsp.speech import Speech
from active_call.lanes.messages import ConfigureVad, SpeechEnded, SpeechStarted

WINDOW = 512
ROW, GENERATION = 2, 9


class Lane:
    """One lane, fed with windows written as + and -."""

    def __init__(
        self, *, padding: int = 4, silence: int = 3, ratio: float = 0.5, longest: float = 1000
    ) -> None:
        """Paddings and `longest` in windows."""
        self.speech = Speech(4)
        self.windows = 0
        self.events: list[SpeechStarted | SpeechEnded] = []
        self.configure = ConfigureVad(
            ROW,
            GENERATION,
            "silero",
            threshold=0.6,
            speech_padding_ms=padding * 32,
            silence_padding_ms=silence * 32,
            ratio=ratio,
            max_speech_seconds=longest * 0.032,
        )
        self.speech.configure(ROW, self.configure)

    def hear(self, windows: str) -> list[tuple[str, int, int]]:
        """What is told: ("start", window of the onset, 0) or ("end", first window, one after the last)."""
        told: list[tuple[str, int, int]] = []
        for sign in windows:
            probability = np.array([0.61 if sign == "+" else 0.6], np.float32)
            start = np.array([self.windows * WINDOW])
            for event in self.speech.update(np.array([ROW]), probability, start, WINDOW, self.windows):
                assert (event.row, event.generation, event.tick) == (ROW, GENERATION, self.windows)
                if isinstance(event, SpeechStarted):
                    told.append(("start", event.position // WINDOW, 0))
                else:
                    told.append(("end", event.start // WINDOW, event.end // WINDOW))
            self.windows += 1
        return told


def test_speech_is_told_once_it_lasted_with_its_onset() -> None:
    lane = Lane(padding=4)
    assert lane.hear("--+++") == []
    assert lane.hear("+") == [("start", 2, 0)]
    assert lane.hear("++++") == []


def test_its_end_is_told_after_the_silence() -> None:
    lane = Lane(silence=3)
    lane.hear("-+++++++")
    assert lane.hear("--") == []
    assert lane.hear("-") == [("end", 1, 8)]
    assert lane.hear("-----") == []


def test_shorter_silence_does_not_end_it() -> None:
    lane = Lane(silence=3)
    assert lane.hear("++++--+--+--+---") == [("start", 0, 0), ("end", 0, 13)]


@pytest.mark.parametrize("blip", ["+", "+++", "+---+---+---", "++--", "+++----+++----"])
def test_blips_are_never_told(blip: str) -> None:
    assert Lane(padding=4).hear(blip + "-" * 20) == []


def test_speech_may_have_holes_within_the_ratio() -> None:
    assert Lane(padding=6, ratio=0.5).hear("++--++") == [("start", 0, 0)]
    assert Lane(padding=6, ratio=0.8).hear("++--++") == []


def test_a_blip_before_speech_does_not_move_its_onset() -> None:
    assert Lane(padding=4, ratio=1.0).hear("+--++++") == [("start", 3, 0)]
    assert Lane(padding=4).hear("+----------++++") == [("start", 11, 0)]


def test_speech_after_many_blips_starts_within_its_padding() -> None:
    [(_, onset, _)] = Lane(padding=4, ratio=0.75).hear("+---" * 20 + "++++++")
    assert 80 - 3 <= onset <= 80


def test_no_padding_tells_at_once() -> None:
    assert Lane(padding=0, silence=0).hear("-+-+") == [("start", 1, 0), ("end", 1, 2), ("start", 3, 0)]


def test_a_padding_beyond_the_history_is_cut_to_it() -> None:
    assert Lane(padding=500).hear("+" * 64) == [("start", 0, 0)]


def test_endless_speech_is_cut() -> None:
    assert Lane(padding=2, longest=10).hear("+" * 25) == [
        ("start", 0, 0),
        ("end", 0, 10),
        ("start", 10, 0),
        ("end", 10, 20),
        ("start", 20, 0),
    ]


def test_each_utterance_is_told_on_its_own() -> None:
    lane = Lane()
    assert lane.hear("++++---" * 2) == [("start", 0, 0), ("end", 0, 4), ("start", 7, 0), ("end", 7, 11)]


def test_finish_ends_an_open_utterance() -> None:
    lane = Lane()
    assert lane.speech.finish(ROW, 5) == []
    lane.hear("+++++-")
    assert lane.speech.speaking(np.array([0, ROW])).tolist() == [False, True]
    assert lane.speech.finish(ROW, 5) == [SpeechEnded(ROW, GENERATION, 5, 0, 5 * WINDOW)]
    assert lane.speech.finish(ROW, 5) == []


def test_forget_drops_a_beginning_but_no_utterance() -> None:
    lane = Lane()
    lane.hear("+++")
    lane.speech.forget(np.array([ROW]))
    assert lane.hear("+++") == []
    assert lane.hear("+") == [("start", 3, 0)]
    lane.speech.forget(np.array([ROW]))
    assert lane.hear("---") == [("end", 3, 7)]


def test_lanes_do_not_mix() -> None:
    speech = Speech(4)
    for row in range(4):
        speech.configure(row, ConfigureVad(row, row, "energy", speech_padding_ms=96, threshold=0.5))
    rows, told = np.arange(4), []
    for window in range(3):
        probabilities = np.array([0, 1, 0.5, 0.9], np.float32)
        told += speech.update(rows, probabilities, np.full(4, window * WINDOW), WINDOW, window)
    assert [(event.row, event.generation) for event in told] == [(1, 1), (3, 3)]
