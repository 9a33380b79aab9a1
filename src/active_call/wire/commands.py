"""Commands: what a client or a playbook tells a call to do. One JSON object each, told apart by `command`."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AliasChoices, Field, TypeAdapter

from active_call.wire.model import Model, Text, WaitTimeout, also
from active_call.wire.options import CallOption, RecorderOption, ReferOption, TtsOption


class Invite(Model):
    """Start the call: dial `option.callee`, or take up the audio of this socket."""

    command: Literal["invite"] = "invite"
    option: CallOption


class Start(Model):
    """The same as `invite`, in the words of clients whose audio travels on the socket."""

    command: Literal["start"] = "start"
    option: CallOption = CallOption()


class Accept(Model):
    """Answer the inbound call whose dialog id is this session's id."""

    command: Literal["accept"] = "accept"
    option: CallOption = CallOption()


class Reject(Model):
    """Refuse the inbound call, with 603 unless `code` says otherwise."""

    command: Literal["reject"] = "reject"
    reason: str = ""
    code: int | None = Field(None, ge=300, le=699)


class Ringing(Model):
    """Let the inbound call ring: 180, or 183 with early media if `early_media` or a `ringtone` is given."""

    command: Literal["ringing"] = "ringing"
    recorder: RecorderOption | None = None
    early_media: bool = False
    ringtone: str | None = None


class Tts(Model):
    """Speak `text`. Pieces with one `play_id` join one track; `end_of_stream` marks the last."""

    command: Literal["tts"] = "tts"
    text: str
    speaker: Text | None = also("speaker", "voice")
    play_id: str | None = None
    auto_hangup: bool = False
    streaming: bool = False
    end_of_stream: bool = False
    wait_input_timeout: WaitTimeout | None = None
    option: TtsOption | None = None
    base64: bool = False
    cache_key: str | None = None


class Play(Model):
    """Play an audio file; its `url` is the play id."""

    command: Literal["play"] = "play"
    url: str
    play_id: str | None = None
    auto_hangup: bool = False
    wait_input_timeout: WaitTimeout | None = None
    offset_ms: int = Field(0, ge=0, le=86_400_000)


class Interrupt(Model):
    """Stop playback: at once (faded over `fade_out_ms`), or after the current piece when `graceful`."""

    command: Literal["interrupt"] = "interrupt"
    graceful: bool = False
    fade_out_ms: int | None = Field(None, ge=0, le=60_000)


class Pause(Model):
    """Hold playback where it is."""

    command: Literal["pause"] = "pause"


class Resume(Model):
    """Go on with paused playback."""

    command: Literal["resume"] = "resume"


class Mute(Model):
    """Silence one track, or all tracks, those that start later too, until `unmute`."""

    command: Literal["mute"] = "mute"
    track_id: str | None = None


class Unmute(Model):
    """End `mute`, for one track or for all."""

    command: Literal["unmute"] = "unmute"
    track_id: str | None = None


class Hangup(Model):
    """End the call; with `refer` only the transferred leg."""

    command: Literal["hangup"] = "hangup"
    reason: str | None = None
    initiator: str | None = None
    headers: dict[str, Text] | None = None
    refer: bool = False


class History(Model):
    """Put a line of conversation into the record; comes back as `addHistory`."""

    command: Literal["history"] = "history"
    speaker: str
    text: str


class Custom(Model):
    """Any data for whoever else follows the call; comes back as a `custom` event."""

    command: Literal["custom"] = "custom"
    sender: str | None = None
    data: Any = None


class Message(Model):
    """Send a SIP MESSAGE within the call."""

    command: Literal["message"] = "message"
    body: str = Field(validation_alias=AliasChoices("body", "text"))
    content_type: str = "text/plain;charset=utf-8"
    headers: dict[str, Text] | None = None
    refer: bool = False


class Bridge(Model):
    """Connect the audio of this call and another."""

    command: Literal["bridge"] = "bridge"
    target_session_id: str


class Unbridge(Model):
    """End `bridge`."""

    command: Literal["unbridge"] = "unbridge"
    target_session_id: str


class SendDtmf(Model):
    """Press keys: 0-9 * # A-D, in turn."""

    command: Literal["sendDtmf"] = "sendDtmf"
    digits: str = Field(pattern=r"^[0-9*#A-Da-d]{1,64}$")
    duration: int = Field(160, ge=40, le=5000)
    """Of each key, in milliseconds."""
    gap: int = Field(60, ge=20, le=5000)
    """Between two keys, in milliseconds."""
    mode: Literal["auto", "rfc4733", "info", "inband"] = "auto"
    """auto: RFC 4733 if the peer takes it, else tones in the audio."""
    refer: bool = False
    """To the transferred leg instead."""


class AddIceCandidate(Model):
    """A candidate of the browser that came after its offer (trickle ICE)."""

    command: Literal["addIceCandidate"] = "addIceCandidate"
    candidate: str
    sdp_mid: str | None = None
    sdp_m_line_index: int | None = also("sdpMLineIndex", "sdpMlineIndex", "sdp_m_line_index", "sdp_mline_index")


class Refer(Model):
    """Transfer the call."""

    command: Literal["refer"] = "refer"
    caller: Text = ""
    callee: Text
    options: ReferOption | None = None


Command: TypeAlias = (
    Invite
    | Start
    | Accept
    | Reject
    | Ringing
    | Tts
    | Play
    | Interrupt
    | Pause
    | Resume
    | Hangup
    | Refer
    | Mute
    | Unmute
    | History
    | Custom
    | Message
    | Bridge
    | Unbridge
    | SendDtmf
    | AddIceCandidate
)

_adapter: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])


def parse_command(data: str | bytes) -> Command:
    """A command from its JSON. Raises pydantic.ValidationError, which names the field."""
    return _adapter.validate_json(data)
