import numpy as np
import pytest

from active_call.core.audio import SAMPLE_RATE, ms_to_samples
from active_call.speech.amd import Evidence, MachineDetector, Verdict
from active_call.wire.options import AmdOption

START = 1_700_000_000_000
"""When the call is answered, in Unix milliseconds."""


class Line:
    """Tells a detector what happens on a call; times in milliseconds after the answer."""

    def __init__(self, **option: object) -> None:
        self.detector = MachineDetector(AmdOption(**option))
        self.detector.answered(START)
        self.verdicts: list[Verdict] = []
        self._now = 0

    def speaks(self, start: int, end: int) -> None:
        """Speech, reported as late as speech detection does."""
        self.wait(start + 300)
        self._note(self.detector.speech_started(START + start))
        self.wait(end + 120)
        self._note(self.detector.speech_ended(START + end))

    def says(self, text: str, end: int) -> None:
        self.wait(end + 200)
        self._note(self.detector.recognised(text, START + end))

    def beeps(self, start: int, end: int) -> None:
        samples = np.arange(ms_to_samples(end - start + 300)) / SAMPLE_RATE
        audio = (6000 * np.sin(2 * np.pi * 1000 * samples)).astype(np.int16)
        audio[-ms_to_samples(300) :] = 0
        self.wait(end)
        self._note(self.detector.audio(audio, START + start))

    def wait(self, until: int) -> None:
        while self._now < until:
            self._now += 50
            self._note(self.detector.tick(START + self._now))

    def _note(self, verdict: Verdict | None) -> None:
        if verdict:
            self.verdicts.append(verdict)

    @property
    def only(self) -> Verdict:
        (verdict,) = self.verdicts
        return verdict


def test_short_greeting_then_silence_is_a_person() -> None:
    line = Line()
    line.speaks(900, 1_500)
    line.wait(6_000)
    assert not line.only.machine
    assert line.only.evidence is Evidence.SPEECH
    assert line.only.start_ms == START + 900
    assert line.only.end_ms <= START + 1_500 + 1_200
    assert "0.6 s" in line.only.text


def test_person_who_says_hello_twice_quickly_is_a_person() -> None:
    line = Line()
    line.speaks(500, 900)
    line.speaks(1_500, 1_900)
    line.wait(5_000)
    assert not line.only.machine


def test_hello_again_and_again_is_no_speech_without_pauses() -> None:
    line = Line()
    for start in range(500, 4_500, 1_000):
        line.speaks(start, start + 400)
    line.wait(5_000)
    assert not line.only.machine


def test_who_talks_on_is_a_machine_while_still_talking() -> None:
    line = Line()
    line.speaks(400, 1_900)
    line.speaks(2_300, 6_000)
    assert line.only.machine
    assert line.only.evidence is Evidence.SPEECH
    assert line.only.start_ms == START + 400
    assert line.only.end_ms <= START + 3_300


def test_who_talks_on_after_a_pause_is_a_person() -> None:
    line = Line()
    line.speaks(500, 900)
    line.speaks(1_700, 4_900)
    assert not line.only.machine


def test_onset_told_late_still_joins_the_speech_before_the_pause() -> None:
    line = Line()
    line.speaks(400, 1_900)
    line.wait(1_900 + 790 + 300)
    assert line.detector.speech_started(START + 1_900 + 790) is None
    assert line.verdicts == []


def test_silence_is_a_person_when_the_time_is_up() -> None:
    line = Line(timeout=3)
    line.wait(2_950)
    assert line.verdicts == []
    line.wait(6_000)
    assert not line.only.machine
    assert line.only.evidence is Evidence.TIMEOUT
    assert line.only.end_ms == START + 3_000


@pytest.mark.parametrize(
    "text",
    [
        "Hi, this is Bob. Please leave a message",
        "I'm sorry, I can't take your call.",
        "The person you're calling is NOT available",
        "You've reached the voicemail of",
        "你好，请留言。",
        "您拨打的电话 暂时无法接通",
        "请 在 滴 声 后 录音",
    ],
)
def test_words_give_a_machine_away(text: str) -> None:
    line = Line()
    line.says(text, 1_000)
    assert line.only.machine
    assert line.only.evidence is Evidence.WORDS
    assert line.only.text == text


def test_phrase_in_two_pieces_counts() -> None:
    line = Line()
    line.says("please leave", 700)
    line.says("a message", 1_200)
    assert line.only.machine


@pytest.mark.parametrize("text", ["hello", "hello, who is there?", "yes, speaking", "喂，你好", "是我，请讲"])
def test_words_of_people_decide_nothing(text: str) -> None:
    line = Line()
    line.says(text, 1_000)
    assert line.verdicts == []


def test_beep_after_speech_is_a_machine() -> None:
    line = Line()
    line.speaks(300, 1_300)
    line.beeps(1_700, 2_100)
    assert line.only.machine
    assert line.only.evidence is Evidence.BEEP
    assert abs(line.only.start_ms - START - 1_700) <= 20
    assert "1000 Hz" in line.only.text
    assert line.detector.finished


def test_beep_that_a_speech_detector_took_for_speech_is_not_enough() -> None:
    line = Line()
    line.speaks(500, 900)
    line.beeps(500, 900)
    assert line.verdicts == []


def test_beep_after_a_machine_is_told_once_more() -> None:
    line = Line()
    line.speaks(300, 6_000)
    line.says("after the tone", 6_000)
    assert len(line.verdicts) == 1
    line.beeps(9_000, 9_500)
    line.beeps(12_000, 12_500)
    assert [verdict.evidence for verdict in line.verdicts] == [Evidence.SPEECH, Evidence.BEEP]
    assert line.detector.verdict == line.verdicts[0]


def test_a_machine_that_never_beeps_is_not_listened_to_for_ever() -> None:
    line = Line()
    line.says("leave a message", 1_000)
    line.wait(59_000)
    assert not line.detector.finished
    line.wait(61_000)
    assert line.detector.finished


def test_after_a_person_nothing_is_told() -> None:
    line = Line()
    line.speaks(500, 1_000)
    line.wait(3_000)
    assert line.detector.finished
    line.says("please leave a message", 3_500)
    line.beeps(4_000, 4_500)
    line.speaks(5_000, 9_000)
    assert not line.only.machine


def test_ringback_announcement_before_the_answer_does_not_count() -> None:
    detector = MachineDetector(AmdOption())
    assert detector.speech_started(START - 4_000) is None
    assert detector.speech_ended(START - 500) is None
    assert detector.recognised("the number you have dialed", START - 100) is None
    assert detector.audio(np.zeros(1600, np.int16), START - 100) is None
    assert detector.tick(START) is None
    assert detector.verdict is None


def test_switched_off_it_says_nothing() -> None:
    line = Line(enabled=False)
    line.speaks(300, 6_000)
    assert line.verdicts == []
    assert line.detector.finished
