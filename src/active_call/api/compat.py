"""Events under the further names that some clients know them by, and audio as JSON."""

import base64
from collections.abc import Iterator

from active_call.api.query import BinaryAs
from active_call.wire.events import AsrFinal, Binary, End, Event, Hangup, Transcript


def with_older_names(event: Event) -> Iterator[Event]:
    """`event`, a `transcript` after each `asrFinal`, and `end` before `hangup`, which stays last.

    Those of a transferred party have no older names.
    """
    if isinstance(event, Hangup) and not event.refer:
        yield End(track_id=event.track_id, timestamp=event.timestamp, reason=event.reason)
    yield event
    if isinstance(event, AsrFinal) and not event.refer:
        yield Transcript(
            track_id=event.track_id,
            timestamp=event.timestamp,
            index=event.index,
            start_time=event.start_time,
            end_time=event.end_time,
            text=event.text,
        )


def audio_event(data: bytes, track_id: str, timestamp: int, form: BinaryAs) -> Binary:
    """A frame of audio as an event: a list of bytes (`json`) or one text (`base64`)."""
    plain = list(data) if form == "json" else base64.b64encode(data).decode("ascii")
    return Binary(track_id=track_id, timestamp=timestamp, data=plain)
