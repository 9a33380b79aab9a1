"""What the front matter of a playbook may say."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, SecretStr

from active_call.speech.providers import LlmOption
from active_call.speech.turn import InterruptionOption
from active_call.wire.model import Duration, Model, Text, also, parse_duration
from active_call.wire.options import (
    AmbianceOption,
    AsrOption,
    EouOption,
    RecorderOption,
    ReferOption,
    SipOption,
    TtsOption,
    VadOption,
)


def _milliseconds(value: Any) -> Any:
    if isinstance(value, str) and not value.strip().isdigit():
        return round(parse_duration(value) * 1000)
    return value


Milliseconds = Annotated[int, BeforeValidator(_milliseconds), Field(ge=0)]
"""Whole milliseconds, or text with a unit: "10s"."""


class FollowUpOption(Model):
    """Speak again after `timeout` ms in which nobody spoke; after `max_count` times hang up."""

    timeout: Milliseconds
    max_count: int = also("maxCount", "max_count", "max", default=3, ge=0)


class Goto(Model):
    """A key leads to another scene."""

    action: Literal["goto"]
    scene: Text


class Transfer(Model):
    """A key transfers the call."""

    action: Literal["transfer"]
    target: Text


class HangUp(Model):
    """A key ends the call."""

    action: Literal["hangup"]


DtmfAction: TypeAlias = Annotated[Goto | Transfer | HangUp, Field(discriminator="action")]


class PosthookOption(Model):
    """Tell a service about the finished call."""

    url: str
    summary: str | None = None
    method: str = "POST"
    headers: dict[str, Text] | None = None
    include_history: bool = True


class Validation(Model):
    """What collected digits must look like."""

    pattern: str
    error_message: str | None = None


class CollectorOption(Model):
    """Collect several digits."""

    description: str | None = None
    digits: int | None = None
    min_digits: int | None = None
    max_digits: int | None = None
    finish_key: Text | None = None
    timeout: Duration = 15.0
    inter_digit_timeout: Duration = 5.0
    validation: Validation | None = None
    retry_times: int = 3
    interruptible: bool = False


class RealtimeOption(Model):
    """A speech-to-speech model."""

    provider: str | None = None
    model: str | None = None
    secret_key: SecretStr | None = also("secretKey", "secret_key", "apiKey", "api_key")
    secret_id: Text | None = None
    endpoint: str | None = None
    turn_detection: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    extra: dict[str, Text] | None = None


class FrontMatter(Model):
    """All keys at the top of a playbook."""

    asr: AsrOption | None = None
    tts: TtsOption | None = None
    llm: LlmOption | None = None
    vad: VadOption | None = None
    denoise: bool | None = None
    ambiance: AmbianceOption | None = None
    recorder: RecorderOption | None = None
    extra: dict[str, Any] | None = None
    eou: EouOption | None = None
    sip: SipOption | None = None
    inactivity_timeout: Duration | None = None
    handshake_timeout: Duration | None = None
    greeting: str | None = None
    fallback: str | None = None
    """Said when the language model fails."""
    interruption: InterruptionOption = InterruptionOption()
    follow_up: FollowUpOption | None = also("followUp", "followup", "follow_up")
    dtmf: dict[Text, DtmfAction] = Field(default_factory=dict)
    dtmf_collectors: dict[str, CollectorOption] | None = None
    transfer: ReferOption | None = None
    """How the agent transfers callers: music on hold, mode, time."""
    realtime: RealtimeOption | None = None
    posthook: PosthookOption | None = None
    expect: list[Text] = Field(default_factory=list)
    """What callers may say in every scene."""
    rules: list[dict[str, Any]] = Field(default_factory=list)
    """Short for `llm: {provider: scripted, rules: …}`."""
