"""Commands: what a client or a playbook tells a call to do. One JSON object each, told apart by `command`."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from active_call.wire.model import Model, Text, WaitTimeout, also
from active_call.wire.options import ReferOption, TtsOption


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
    offset_ms: int = Field(0, ge=0)


class Interrupt(Model):
    """Stop playback: at once (faded over `fade_out_ms`), or after the current piece when `graceful`."""

    command: Literal["interrupt"] = "interrupt"
    graceful: bool = False
    fade_out_ms: int | None = Field(None, ge=0)


class Hangup(Model):
    """End the call."""

    command: Literal["hangup"] = "hangup"
    reason: str | None = None
    initiator: str | None = None
    headers: dict[str, Text] | None = None


class Refer(Model):
    """Transfer the call."""

    command: Literal["refer"] = "refer"
    caller: Text = ""
    callee: Text
    options: ReferOption | None = None


Command: TypeAlias = Tts | Play | Interrupt | Hangup | Refer

_adapter: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="command")])


def parse_command(data: str | bytes) -> Command:
    """A command from its JSON. Raises pydantic.ValidationError, which names the field."""
    return _adapter.validate_json(data)
