import pytest

from active_call.speech.turn import Heard, InterruptionOption, Strategy, TurnTaking, bare_words


def turn(**option: object) -> TurnTaking:
    """Turn taking where the agent is heard from 1000 on."""
    taking = TurnTaking(InterruptionOption.model_validate(option), ["um", "uh", "那个"])
    taking.begin_turn()
    taking.track_started("t", 1000)
    return taking


def test_a_voice_interrupts_after_the_protection_period() -> None:
    assert not turn().speech_started(1600, 1799)
    assert turn().speech_started(1600, 1800)


def test_a_voice_that_goes_on_interrupts_when_the_protection_ends() -> None:
    taking = turn()
    assert not taking.speech_started(1100, 1300)
    assert taking.next_deadline(1300) == 1800
    assert not taking.check(1799)
    assert taking.check(1800)
    assert not taking.check(1801)  # once


def test_a_voice_that_ended_in_time_does_not_interrupt() -> None:
    taking = turn()
    taking.speech_started(1100, 1300)
    taking.speech_ended(1600)
    assert not taking.check(1800)


def test_the_protection_counts_from_the_first_sound_of_the_turn() -> None:
    taking = turn()
    taking.track_ended("t", 3000)
    taking.track_started("t.2", 3100)
    assert taking.speech_started(3100, 3150)


def test_a_voice_must_last_long_enough() -> None:
    taking = turn(minSpeechMs=500)
    assert not taking.speech_started(5000, 5200)
    assert taking.next_deadline(5200) == 5500
    assert taking.check(5500)


def test_nothing_interrupts_a_silent_agent_or_a_farewell() -> None:
    taking = turn()
    taking.track_ended("t", 4000)
    assert not taking.speech_started(5000, 5200)
    taking = turn()
    taking.farewell = True
    assert not taking.speech_started(5000, 5200)
    assert not taking.delta("stop", 5000, 5200, 5300)
    assert taking.final("stop", 5000, 5200, 5300) is Heard.IGNORE


@pytest.mark.parametrize(
    ("strategy", "voice", "words"),
    [("both", True, True), ("vad", True, False), ("asr", False, True), ("none", False, False)],
)
def test_strategies(strategy: str, voice: bool, words: bool) -> None:
    assert turn(strategy=strategy).speech_started(5000, 5200) is voice
    assert turn(strategy=strategy).delta("wait", 5000, 5300, 5400) is words


@pytest.mark.parametrize("text", ["um", "Um.", "UH, um…", "那个", "..."])
def test_fillers_are_not_words(text: str) -> None:
    taking = turn(fillerWordFilter=True)
    assert not taking.delta(text, 5000, 5300, 5400)
    assert taking.final(text, 5000, 5300, 5400) is Heard.IGNORE
    assert turn().delta(text, 5000, 5300, 5400)


def test_with_the_filter_a_voice_must_outlast_a_filler() -> None:
    taking = turn(fillerWordFilter=True)
    assert not taking.speech_started(5000, 5200)
    assert taking.check(5700)
    assert turn(fillerWordFilter=True).delta("um, wait", 5000, 5300, 5400)


def test_words_of_what_was_already_final_do_not_interrupt() -> None:
    taking = turn()
    taking.final("a table", 400, 900, 950)
    assert not taking.delta("a table for", 500, 1900, 2500)


@pytest.mark.parametrize(
    ("start", "now", "strategy", "decision"),
    [
        (5000, 5500, Strategy.BOTH, Heard.INTERRUPT),
        (5000, 5500, Strategy.VAD, Heard.INTERRUPT),
        (5000, 5500, Strategy.NONE, Heard.HOLD),
        (1100, 1500, Strategy.BOTH, Heard.HOLD),  # in the protection period
        (900, 1500, Strategy.BOTH, Heard.INTERRUPT),  # began before the agent did: the caller goes on
    ],
)
def test_final_words_while_the_agent_speaks(start: int, now: int, strategy: Strategy, decision: Heard) -> None:
    assert turn(strategy=strategy).final("yes", start, now, now) is decision


def test_final_words_too_short_to_interrupt_are_held() -> None:
    assert turn(minSpeechMs=500).final("yes", 5000, 5300, 5400) is Heard.HOLD


def test_final_words_in_silence_are_answered_and_stop_a_reply_in_the_making() -> None:
    taking = TurnTaking(InterruptionOption())
    assert taking.final("yes", 100, 400, 500) is Heard.ANSWER
    taking.thinking = True
    assert taking.final("yes", 600, 900, 1000) is Heard.INTERRUPT
    assert taking.continued


def test_words_long_after_the_last_ones_do_not_continue_them() -> None:
    taking = TurnTaking(InterruptionOption(), repair_window_ms=3000)
    taking.final("yes", 100, 400, 500)
    taking.final("and no", 3600, 3900, 4000)
    assert not taking.continued


def test_words_before_the_greeting_are_only_noted() -> None:
    taking = TurnTaking(InterruptionOption())
    taking.begin_turn()
    taking.greeting = taking.thinking = True
    assert taking.final("hello", 0, 300, 400) is Heard.NOTE
    taking.track_started("t", 500)
    assert taking.final("hello", 450, 900, 1000) is Heard.NOTE
    assert taking.final("stop", 2000, 2400, 2500) is Heard.INTERRUPT


def test_the_floor_is_the_callers_until_the_words_have_come() -> None:
    taking = TurnTaking(InterruptionOption())
    assert not taking.floor_taken(0)
    taking.speech_started(1000, 1200)
    assert taking.floor_taken(2000)
    taking.speech_ended(3000)
    assert taking.floor_taken(3799)
    assert taking.next_deadline(3100) == 3800
    assert not taking.floor_taken(3800)


def test_the_floor_is_free_as_soon_as_the_words_are_there() -> None:
    taking = TurnTaking(InterruptionOption())
    taking.speech_started(1000, 1200)
    taking.speech_ended(3000)
    taking.final("yes", 1000, 2400, 3100)
    assert not taking.floor_taken(3100)


def test_the_follow_up_counts_from_the_last_sign_of_life() -> None:
    taking = turn()
    taking.follow_up_ms = 5000
    assert taking.next_deadline(2000) is None  # the agent speaks
    taking.track_ended("t", 4000)
    assert taking.next_deadline(4000) == 9000
    taking.speech_started(6000, 6200)
    assert not taking.follow_up_due(20_000)  # the caller speaks
    taking.speech_ended(21_000)
    taking.final("yes", 6000, 20_500, 21_100)
    assert not taking.follow_up_due(26_099)
    assert taking.follow_up_due(26_100)
    assert not taking.follow_up_due(26_101)


def test_no_follow_up_while_a_reply_is_made() -> None:
    taking = turn()
    taking.follow_up_ms = 5000
    taking.track_ended("t", 4000)
    taking.thinking = True
    assert not taking.follow_up_due(20_000)


def test_words_are_compared_without_punctuation() -> None:
    assert bare_words(" Don't -- stop! ") == "dont stop"
    assert bare_words("嗯……") == "嗯"
