from active_call.records.turns import TurnRecorder
from active_call.wire import events
from active_call.wire.events import Event

PEER, AGENT = "call-1", "serverSideTrack"


def answer(at: int = 0) -> Event:
    return events.Answer(track_id=PEER, timestamp=at, sdp="")


def speaking(at: int) -> Event:
    return events.Speaking(track_id=PEER, timestamp=at + 250, start_time=at)


def silence(since: int, at: int, track: str = PEER) -> Event:
    return events.Silence(track_id=track, timestamp=at, start_time=since, duration=at - since)


def final(at: int, text: str) -> Event:
    return events.AsrFinal(track_id=PEER, timestamp=at, index=0, start_time=0, end_time=at, text=text)


def metric(key: str, at: int) -> Event:
    return events.Metrics(timestamp=at, key=key, duration=1)


def playback(at: int, play_id: str | None = "p1") -> Event:
    return events.TrackStart(track_id=AGENT, timestamp=at, play_id=play_id)


def history(text: str, speaker: str = "assistant") -> Event:
    return events.AddHistory(timestamp=0, speaker=speaker, text=text)


def recorded(*seen: Event) -> TurnRecorder:
    recorder = TurnRecorder()
    for event in seen:
        recorder.observe(event)
    return recorder


def exchange(start: int, text: str) -> list[Event]:
    return [
        speaking(start),
        silence(start + 1_000, start + 1_100),
        final(start + 1_200, text),
        metric("ttfb.llm.openai", start + 1_500),
        metric("ttfb.tts.espeak", start + 1_540),
        playback(start + 1_600),
    ]


def test_the_stages_of_a_turn_add_up() -> None:
    (turn,) = recorded(answer(), *exchange(10_000, "hello")).turns
    assert turn.stages == {"recognition": 200, "llm": 300, "tts": 40, "playback": 60}
    assert turn.latency_ms == sum(turn.stages.values()) == 600
    assert turn.user_text == "hello"


def test_a_missing_stage_goes_to_the_next_and_the_sum_holds() -> None:
    scripted = [event for event in exchange(0, "hi") if not isinstance(event, events.Metrics)]
    (turn,) = recorded(answer(), *scripted).turns
    assert turn.stages == {"recognition": 200, "playback": 400}
    assert turn.latency_ms == 600


def test_a_greeting_has_no_caller() -> None:
    (turn,) = recorded(answer(), metric("ttfb.tts.espeak", 40), playback(100), history("Welcome")).turns
    assert (turn.user_text, turn.agent_text, turn.latency_ms) == (None, "Welcome", None)
    assert turn.stages == {"playback": 60}


def test_each_answered_utterance_is_a_turn() -> None:
    recorder = recorded(answer(), playback(10), *exchange(1_000, "one"), *exchange(9_000, "two"))
    assert [turn.user_text for turn in recorder.turns] == [None, "one", "two"]


def test_speech_that_goes_on_before_the_answer_is_one_turn() -> None:
    (turn,) = recorded(
        answer(),
        *exchange(0, "I want")[:4],
        speaking(1_600),
        silence(2_000, 2_100),
        final(2_200, "a table"),
        metric("ttfb.llm.openai", 2_500),
        playback(2_600),
    ).turns
    assert turn.user_text == "I want a table"
    assert turn.stages == {"recognition": 200, "llm": 300, "playback": 100}
    assert turn.caller_end == 2_000


def test_a_recogniser_may_be_faster_than_the_silence() -> None:
    (turn,) = recorded(answer(), speaking(0), final(1_050, "hi"), silence(1_000, 1_100), playback(1_500)).turns
    assert turn.stages == {"recognition": 50, "playback": 450}


def test_keys_are_a_turn_from_the_last_one() -> None:
    keys = [events.Dtmf(track_id=PEER, timestamp=at, digit=digit) for at, digit in ((100, "4"), (300, "2"))]
    (turn,) = recorded(answer(), *keys, metric("ttfb.tts.espeak", 340), playback(400)).turns
    assert (turn.digits, turn.latency_ms) == ("42", 100)
    assert turn.stages == {"tts": 40, "playback": 60}


def test_waiting_for_input_is_not_the_callers_silence() -> None:
    (turn,) = recorded(answer(), *exchange(0, "hi")[:3], silence(500, 1_300, AGENT), playback(1_600)).turns
    assert turn.caller_end == 1_000


def test_an_interrupted_answer_says_what_was_heard() -> None:
    cut = events.Interruption(track_id=AGENT, timestamp=2_500, total_duration=5_000, current=900, position=3)
    recorder = recorded(
        answer(), *exchange(0, "one"), speaking(2_300), cut, final(3_200, "stop"), history("Well")
    )
    first, second = recorder.turns
    assert (first.interrupted, first.heard_ms, first.heard_words) == (True, 900, 3)
    assert (first.agent_text, second.agent_text) == ("Well", None)
    assert not second.interrupted


def test_the_callers_own_track_is_no_answer() -> None:
    start = events.TrackStart(track_id=PEER, timestamp=5)
    assert recorded(start, answer(5)).turns == []


def test_playback_without_a_play_id_counts() -> None:
    (turn,) = recorded(answer(), playback(100, None)).turns
    assert turn.first_packet == 100


def test_later_pieces_do_not_change_a_turn() -> None:
    before = recorded(answer(), *exchange(0, "hi")).turns
    later = (metric("ttfb.tts.espeak", 3_000), playback(3_100, "p2"), history("hi", "user"))
    assert recorded(answer(), *exchange(0, "hi"), *later).turns == before


def test_what_others_say_belongs_to_no_turn() -> None:
    heard = recorded(
        answer(),
        events.TrackStart(track_id=AGENT, timestamp=1, refer=True),
        events.TrackStart(track_id="bridge:a:to:b", timestamp=1),
        events.AsrFinal(
            track_id=AGENT, timestamp=2, index=0, start_time=0, end_time=2, text="I am sales", refer=True
        ),
        events.Dtmf(track_id=AGENT, timestamp=3, digit="1", refer=True),
    )
    assert heard.turns == []
