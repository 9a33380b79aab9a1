from active_call.api.compat import audio_event, with_older_names
from active_call.wire import events
from tests.unit.api.fakes import dtmf, hangup


def test_a_final_text_is_told_twice() -> None:
    final = events.AsrFinal(track_id="t", timestamp=5, index=2, start_time=1, end_time=4, text="hello")
    told = list(with_older_names(final))
    assert told[0] is final
    assert told[1] == events.Transcript(
        track_id="t", timestamp=5, index=2, start_time=1, end_time=4, text="hello"
    )


def test_end_comes_before_hangup_which_stays_last() -> None:
    assert [event.event for event in with_older_names(hangup("t"))] == ["end", "hangup"]


def test_other_events_stay_alone() -> None:
    assert list(with_older_names(dtmf("t"))) == [dtmf("t")]


def test_a_transferred_party_has_no_older_names() -> None:
    left = hangup("t").model_copy(update={"refer": True})
    said = events.AsrFinal(track_id="t", timestamp=5, index=2, start_time=1, end_time=4, text="a", refer=True)
    assert list(with_older_names(left)) == [left]
    assert list(with_older_names(said)) == [said]


def test_audio_as_a_list_or_as_base64() -> None:
    assert audio_event(b"\x00\xff", "t", 1, "json").data == [0, 255]
    assert audio_event(b"\x00\xff", "t", 1, "base64").data == "AP8="
