"""When the agent rests."""

from collections.abc import Callable

import pytest

from active_call.playbook.transfer import Rest
from active_call.wire import events
from active_call.wire.events import Event

TIME = "2026-01-01T00:00:00.000Z"


def ringing(refer: bool | None) -> Event:
    return events.Ringing(track_id="t", timestamp=1, refer=refer)


def answer(refer: bool | None) -> Event:
    return events.Answer(track_id="t", timestamp=1, sdp="", refer=refer)


def reject(refer: bool | None, code: int | None = 486) -> Event:
    return events.Reject(track_id="t", timestamp=1, reason="so", code=code, refer=refer)


def hangup(refer: bool | None) -> Event:
    return events.Hangup(track_id="t", timestamp=1, start_time=TIME, hangup_time=TIME, refer=refer)


def error(sender: str, text: str) -> Event:
    return events.Error(track_id="t", timestamp=1, sender=sender, error=text)


@pytest.mark.parametrize("made", [ringing, answer, reject, hangup])
def test_events_of_the_party_are_heeded(made: Callable[[bool | None], Event]) -> None:
    assert Rest.heeds(made(True))
    assert not Rest.heeds(made(None))


def test_a_refer_that_can_t_begin_is_heeded() -> None:
    assert Rest.heeds(error("command", "refer: nowhere"))
    assert not Rest.heeds(error("command", "tts: hoarse"))
    assert not Rest.heeds(error("tts", "refer: nowhere"))


@pytest.mark.parametrize(
    ("event", "ended", "resting"),
    [
        (ringing(True), None, True),
        (answer(True), None, True),
        (reject(True), "failed 486", False),
        (reject(True, None), "failed", False),
        (error("command", "refer: nowhere"), "failed", False),
        (hangup(True), "left", False),
    ],
)
def test_how_it_goes(event: Event, ended: str | None, resting: bool) -> None:
    rest = Rest()
    assert (rest.ended_by(event), rest.resting) == (ended, resting)
