"""Events: what a call tells its client, its playbook and its record.

One JSON object each, told apart by `event`. Timestamps are integer milliseconds since the Unix epoch; the four
times of `hangup` are RFC 3339 text. `track_id` is the session id for the peer's leg and the server-side track's
id for playback and for the party that the call was transferred to, whose events have `refer` true.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from active_call.wire.model import Model


class _OnTrack(Model):
    track_id: str
    timestamp: int


class Incoming(_OnTrack):
    event: Literal["incoming"] = "incoming"
    caller: str
    callee: str
    sdp: str
    headers: dict[str, str] | None = None


class Answer(_OnTrack):
    event: Literal["answer"] = "answer"
    sdp: str
    refer: bool | None = None


class Reject(_OnTrack):
    event: Literal["reject"] = "reject"
    reason: str
    code: int | None = None
    refer: bool | None = None


class Ringing(_OnTrack):
    event: Literal["ringing"] = "ringing"
    early_media: bool = False
    refer: bool | None = None


class Attendee(Model):
    """One party: user part, host, and the whole address as it was given."""

    username: str = ""
    realm: str = ""
    source: str = ""


class Hangup(_OnTrack):
    """Always the last event of a call; with `refer`, of the party that it was transferred to."""

    event: Literal["hangup"] = "hangup"
    reason: str | None = None
    initiator: str | None = None
    detail: str | None = None
    """Why, in one sentence for people."""
    start_time: str
    hangup_time: str
    answer_time: str | None = None
    ringing_time: str | None = None
    from_: Attendee | None = Field(None, alias="from")
    to: Attendee | None = None
    extra: dict[str, Any] | None = None
    refer: bool | None = None


class MediaReady(_OnTrack):
    event: Literal["mediaReady"] = "mediaReady"


class Speaking(_OnTrack):
    """The caller began to speak at `start_time`."""

    event: Literal["speaking"] = "speaking"
    start_time: int
    is_filler: bool | None = None
    confidence: float | None = None
    refer: bool | None = None


class Silence(_OnTrack):
    """The caller has been silent for `duration` ms since `start_time`."""

    event: Literal["silence"] = "silence"
    start_time: int
    duration: int
    refer: bool | None = None


class Eou(_OnTrack):
    """The caller finished a turn."""

    event: Literal["eou"] = "eou"
    completed: bool
    complete: bool
    interrupt_point: int | None = None
    text: str | None = None
    refer: bool | None = None


class Inactivity(_OnTrack):
    event: Literal["inactivity"] = "inactivity"


class Dtmf(_OnTrack):
    event: Literal["dtmf"] = "dtmf"
    digit: str
    refer: bool | None = None


class TrackStart(_OnTrack):
    """A track is heard from `timestamp` on: for playback, the tick that sent its first packet."""

    event: Literal["trackStart"] = "trackStart"
    play_id: str | None = None
    refer: bool | None = None


class TrackEnd(_OnTrack):
    event: Literal["trackEnd"] = "trackEnd"
    duration: int
    ssrc: int
    play_id: str | None = None
    refer: bool | None = None


class Interruption(_OnTrack):
    """Playback was cut: `current` of `total_duration` ms were heard, `position` words of `subtitle`."""

    event: Literal["interruption"] = "interruption"
    play_id: str | None = None
    subtitle: str | None = None
    position: int | None = None
    total_duration: int
    current: int


class AsrFinal(_OnTrack):
    event: Literal["asrFinal"] = "asrFinal"
    index: int
    start_time: int
    end_time: int
    text: str
    is_filler: bool | None = None
    confidence: float | None = None
    task_id: str | None = None
    refer: bool | None = None


class AsrDelta(_OnTrack):
    event: Literal["asrDelta"] = "asrDelta"
    index: int
    start_time: int
    end_time: int
    text: str
    is_filler: bool | None = None
    confidence: float | None = None
    task_id: str | None = None
    refer: bool | None = None


class Metrics(Model):
    """A measured `duration` in ms, for example `ttfb.llm.openai`."""

    event: Literal["metrics"] = "metrics"
    timestamp: int
    key: str
    duration: int
    data: dict[str, Any] = Field(default_factory=dict)


class Error(_OnTrack):
    """Something failed; the call goes on unless a `hangup` follows."""

    event: Literal["error"] = "error"
    sender: str
    error: str
    code: int | None = None


class AnswerMachineDetection(_OnTrack):
    """A machine answered: `text` says what gave it away, between `start_time` and `end_time`."""

    event: Literal["answerMachineDetection"] = "answerMachineDetection"
    start_time: int
    end_time: int
    text: str


class FunctionCall(_OnTrack):
    """A model asks for a function; `arguments` is JSON as text."""

    event: Literal["functionCall"] = "functionCall"
    call_id: str
    name: str
    arguments: str


class Hold(_OnTrack):
    """The peer put the call on hold, or took it back."""

    event: Literal["hold"] = "hold"
    on_hold: bool
    refer: bool | None = None


class TransferRequest(_OnTrack):
    """The peer asks to be transferred (RFC 3515)."""

    event: Literal["transferRequest"] = "transferRequest"
    refer_to: str
    referred_by: str | None = None
    refer: bool | None = None


class Message(_OnTrack):
    """The peer sent a text within the call (RFC 3428)."""

    event: Literal["message"] = "message"
    body: str
    content_type: str | None = None
    refer: bool | None = None


class Binary(_OnTrack):
    """Audio as JSON, for clients that asked for it; else audio is the binary frame itself."""

    event: Literal["binary"] = "binary"
    data: list[int] | str


class Ping(Model):
    """The connection is alive."""

    event: Literal["ping"] = "ping"
    timestamp: int
    payload: str | None = None


class Other(_OnTrack):
    """From a plug-in."""

    event: Literal["other"] = "other"
    sender: str
    extra: dict[str, str] | None = None


class Custom(_OnTrack):
    """What a `custom` command carried."""

    event: Literal["custom"] = "custom"
    sender: str | None = None
    data: Any = None


class Transcript(_OnTrack):
    """A copy of `asrFinal` for clients that know it by this name."""

    event: Literal["transcript"] = "transcript"
    index: int
    start_time: int
    end_time: int
    text: str


class End(_OnTrack):
    """Comes right before `hangup`, for clients that know it by this name."""

    event: Literal["end"] = "end"
    reason: str | None = None


class AddHistory(Model):
    event: Literal["addHistory"] = "addHistory"
    timestamp: int
    sender: str | None = None
    speaker: str
    text: str


Event: TypeAlias = (
    Incoming
    | Answer
    | Reject
    | Ringing
    | Hangup
    | MediaReady
    | Speaking
    | Silence
    | Eou
    | Inactivity
    | Dtmf
    | TrackStart
    | TrackEnd
    | Interruption
    | AsrFinal
    | AsrDelta
    | Metrics
    | Error
    | AddHistory
    | AnswerMachineDetection
    | FunctionCall
    | Hold
    | TransferRequest
    | Message
    | Binary
    | Ping
    | Other
    | Custom
    | Transcript
    | End
)

_adapter: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def parse_event(data: str | bytes) -> Event:
    """An event from its JSON. Raises pydantic.ValidationError, which names the field."""
    return _adapter.validate_json(data)
