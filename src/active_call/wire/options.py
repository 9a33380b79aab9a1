"""The option blocks of calls, shared by the JSON API, playbooks and the configuration file."""

from typing import Any, Literal, TypeVar

from pydantic import Field, SecretStr

from active_call.wire.model import Duration, Model, Text, also


class AsrOption(Model):
    """Speech recognition (the seeds' TranscriptionOption)."""

    provider: str | None = None
    language: str | None = None
    app_id: Text | None = None
    secret_id: Text | None = None
    secret_key: SecretStr | None = also("secretKey", "secret_key", "apiKey", "api_key")
    model_type: str | None = also("modelType", "model_type", "model")
    buffer_size: int | None = None
    samplerate: int | None = also("samplerate", "sampleRate", "sample_rate")
    endpoint: str | None = also("endpoint", "baseUrl", "base_url")
    extra: dict[str, Text] | None = None
    start_when_answer: bool = False
    phrases: list[str] | None = None
    """What the caller may say: builds the grammar of recognisers that want one."""


class TtsOption(Model):
    """Speech synthesis (the seeds' SynthesisOption)."""

    provider: str | None = None
    speaker: Text | None = also("speaker", "voice")
    speed: float | None = Field(None, gt=0, le=4)
    volume: int | None = Field(None, ge=0, le=10)
    samplerate: int | None = also("samplerate", "sampleRate", "sample_rate", ge=8_000, le=96_000)
    app_id: Text | None = None
    secret_id: Text | None = None
    secret_key: SecretStr | None = also("secretKey", "secret_key", "apiKey", "api_key")
    codec: str | None = None
    subtitle: bool | None = None
    model: str | None = None
    language: str | None = None
    emotion: str | None = None
    endpoint: str | None = also("endpoint", "baseUrl", "base_url")
    extra: dict[str, Text] | None = None
    max_concurrent_tasks: int | None = Field(None, ge=1)


class VadOption(Model):
    """Voice activity detection."""

    type: str | None = also("type", "provider")
    samplerate: int | None = also("samplerate", "sampleRate", "sample_rate")
    speech_padding: int = Field(250, ge=0, le=60_000)
    silence_padding: int = Field(100, ge=0, le=60_000)
    ratio: float = Field(0.5, ge=0, le=1)
    voice_threshold: float = Field(0.5, ge=0, le=1)
    max_buffer_duration_secs: float = Field(50, gt=0, le=86_400)
    silence_timeout: int | None = Field(None, ge=0, le=86_400_000)
    endpoint: str | None = None
    secret_key: SecretStr | None = None
    secret_id: Text | None = None


class RecorderOption(Model):
    """Recording of one call. An empty file name means `<root>/<session id>.wav`."""

    recorder_file: str = also("recorderFile", "recorder_file", default="")
    samplerate: int = also(
        "samplerate", "sampleRate", "sample_rate", default=16_000, ge=8_000, le=48_000, multiple_of=25
    )
    ptime: int = Field(200, ge=0, le=60_000)
    format: str = "wav"


class SipOption(Model):
    """What one SIP call needs besides its addresses."""

    username: str | None = None
    password: SecretStr | None = None
    realm: str | None = None
    contact: str | None = None
    headers: dict[str, Text] | None = None
    hangup_headers: dict[str, Text] | None = None
    extract_headers: list[str] | None = None
    enable_srtp: bool | Literal["require"] | None = None
    """Offer encrypted audio; "require": without it there is no call."""
    identity: str | None = None
    """Who calls, for the carrier alone: P-Asserted-Identity (RFC 3325)."""
    privacy: str | None = None
    """Privacy (RFC 3323), for example "id"; with it the From header says anonymous."""
    ring_timeout: Duration | None = None
    """How long the callee may ring."""


class EouOption(Model):
    """End-of-utterance detection by a service."""

    type: str | None = None
    endpoint: str | None = None
    secret_key: SecretStr | None = also("secretKey", "secret_key", "apiKey", "api_key")
    secret_id: Text | None = None
    timeout: int | None = Field(None, ge=0, le=86_400_000)
    extra: dict[str, Text] | None = None


class AmbianceOption(Model):
    """Background sound under the agent's voice."""

    path: str | None = None
    duck_level: float | None = Field(None, ge=0, le=10)
    normal_level: float | None = Field(None, ge=0, le=10)
    transition_speed: float | None = Field(None, ge=0, le=10)
    enabled: bool | None = None


class MediaPassOption(Model):
    """A WebSocket service that takes over the audio: gets what the caller says, returns what they hear."""

    url: str
    input_sample_rate: int = Field(16_000, ge=8_000, le=48_000)
    """Of the audio that comes from the service."""
    output_sample_rate: int = Field(16_000, ge=8_000, le=48_000)
    """Of the audio that is sent to it."""
    packet_size: int = Field(2_560, ge=2, le=65_536)
    """Bytes of each message to the service."""
    ptime: int = Field(0, ge=0, le=1_000)


class AmdOption(Model):
    """Answering machine detection on an outbound call."""

    enabled: bool = True
    timeout: Duration = 5.0
    """Give up and take it for a person after so many seconds."""


class RealtimeOption(Model):
    """A speech-to-speech model in place of recogniser, language model and voice."""

    provider: str
    model: str | None = None
    secret_key: SecretStr | None = also("secretKey", "secret_key", "apiKey", "api_key")
    secret_id: Text | None = None
    endpoint: str | None = None
    turn_detection: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    extra: dict[str, Text] | None = None


class ReferOption(Model):
    """Transfer of a call."""

    mode: Literal["bridge", "blind", "attended"] = "bridge"
    denoise: bool = False
    timeout: Duration = 30.0
    moh: str | None = None
    asr: AsrOption | None = None
    vad: VadOption | None = None
    auto_hangup: bool = False
    """End the call when the transferred leg hangs up."""
    sip: SipOption | None = None
    call_id: str | None = None
    pause_parent_asr: bool = False
    forward_dtmf: bool = True
    """Keys that one party presses are sent to the other."""


class CallOption(Model):
    """Everything a call can be told at its start."""

    denoise: bool | Literal["webrtc", "rnnoise"] | None = None
    """Noise reduction of what the caller says; true means webrtc."""
    offer: str | None = also("offer", "sdp")
    callee: Text | None = None
    caller: Text | None = None
    codec: str | None = None
    sample_rate: int | None = also("sampleRate", "sample_rate", "samplerate")
    playbook: str | None = None
    recorder: RecorderOption | None = None
    vad: VadOption | None = None
    asr: AsrOption | None = None
    tts: TtsOption | None = None
    eou: EouOption | None = None
    ambiance: AmbianceOption | None = also("ambiance", "ambience")
    media_pass: MediaPassOption | None = None
    realtime: RealtimeOption | None = None
    amd: AmdOption | bool | None = also("answerMachineDetection", "answer_machine_detection", "amd")
    subscribe: bool = False
    """Send both directions of a telephone call to the client as binary frames."""
    volume: float | None = Field(None, ge=0, le=2)
    """Gain of all that the peer hears; 1 leaves it as it is."""
    handshake_timeout: Duration | None = None
    inactivity_timeout: Duration | None = None
    enable_ipv6: bool = False
    enable_ice_lite: bool | None = None
    sip: SipOption | None = None
    mask_dtmf: bool = False
    """Keys of the caller reach neither recogniser, recording nor dump; `dtmf` events still tell them."""
    extra: dict[str, Any] | None = None


M = TypeVar("M", bound=Model)


def merge(base: M | None, over: M | None) -> M | None:
    """`over` laid over `base`, field by field: what `over` was not given is taken from `base`.

    Credentials are for one service: they are not taken over to another provider or endpoint.
    """
    if base is None or over is None:
        return over if base is None else base
    base = _without_credentials(base) if _goes_elsewhere(base, over) else base
    fields: dict[str, Any] = {}
    for name in over.model_fields_set:
        value = getattr(over, name)
        below = getattr(base, name)
        if isinstance(value, Model) and isinstance(below, type(value)):
            value = merge(below, value)
        if value is not None:
            fields[name] = value
    return base.model_copy(update=fields)


_CREDENTIALS = ("app_id", "secret_id", "secret_key")


def _goes_elsewhere(base: Model, over: Model) -> bool:
    """Whether `over` names another provider than `base` did, or another endpoint, the default one included."""
    for name in ("provider", "type", "endpoint"):
        before, now = getattr(base, name, None), getattr(over, name, None)
        if now not in (None, before) and (before is not None or name == "endpoint"):
            return True
    return False


def _without_credentials(option: M) -> M:
    return option.model_copy(update={name: None for name in _CREDENTIALS if name in option.model_fields_set})
