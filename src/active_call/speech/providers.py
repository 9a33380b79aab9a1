"""What the gateway needs of speech recognisers, voices and language models, and where they are found.

A provider is one file and one entry point in the group `active_call.asr`, `.tts` or `.llm`; it is imported only
when a call names it. All audio is 16 kHz mono PCM.
"""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol

from pydantic import Field, SecretStr

from active_call.core.audio import Pcm
from active_call.core.errors import ProviderError
from active_call.wire.model import Model, also
from active_call.wire.options import AsrOption, TtsOption


@dataclass(frozen=True, slots=True)
class AsrResult:
    """What was heard between lane positions `start` and `end`; `final` text will not change."""

    text: str
    final: bool
    start: int
    end: int
    confidence: float | None = None


class AsrStream(Protocol):
    """One caller being listened to. `send` and the speech notices return fast; iteration yields results."""

    async def send(self, pcm: Pcm, position: int) -> None:
        """Audio whose first sample is lane position `position`."""
        ...

    async def speech_started(self, position: int) -> None:
        """The VAD heard speech since `position`; audio from a little before it was or will be sent."""
        ...

    async def speech_ended(self, position: int) -> None:
        """The utterance ended at `position`; recognisers without endpointing of their own decode now."""
        ...

    async def expect(self, phrases: Sequence[str]) -> None:
        """What the caller may say from now on; recognisers without grammars ignore it."""
        ...

    async def finish(self) -> None:
        """No more audio: the iterator ends after the last result."""
        ...

    def __aiter__(self) -> AsyncIterator[AsrResult]: ...


class Asr(Protocol):
    """A recogniser. Constructed without arguments; holds what calls can share."""

    def open(self, option: AsrOption) -> AbstractAsyncContextManager[AsrStream]:
        """Listen to one caller. Entering raises ProviderError if the recogniser can't be used."""
        ...


@dataclass(frozen=True, slots=True)
class TtsChunk:
    """A stretch of speech. `text` is what is spoken in it, where the provider tells.

    All chunks of one stretch of text carry the same text. `words`, where the provider tells, are the samples
    from the first of these chunks at which the words of this one begin.
    """

    pcm: Pcm
    text: str | None = None
    words: tuple[int, ...] = ()


class Tts(Protocol):
    """A voice. Constructed without arguments.

    A voice that can't do `volume` says so with a class attribute `lacks_volume = True`: then it is done here.
    """

    def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
        """Speak pieces of text as they come; closing the iterator stops. Raises ProviderError."""
        ...


class LlmOption(Model):
    """Language model of a playbook. Defaults come from OPENAI_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY."""

    provider: str = "openai"
    model: str | None = also("model", "modelType")
    base_url: str | None = also("baseUrl", "base_url", "endpoint")
    api_key: SecretStr | None = also("apiKey", "api_key", "secretKey")
    prompt: str | None = None
    greeting: str | None = None
    language: str | None = None
    features: list[str] = Field(default_factory=list)
    temperature: float | None = None
    max_tokens: int | None = None
    tool_instructions: str | None = None
    repair_window_ms: int = 3000
    summary_limit: int = 20
    timeout: float = 30.0
    """Seconds to the first token."""
    rules: list[dict[str, Any]] = Field(default_factory=list)
    """For `scripted`: see speech.llm.scripted."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Llm(Protocol):
    """A language model. Constructed without arguments."""

    def stream(self, messages: Sequence[ChatMessage], option: LlmOption) -> AsyncIterator[str]:
        """The reply, piece by piece; closing the iterator aborts the request. Raises ProviderError."""
        ...


Kind = Literal["asr", "tts", "llm"]
_EXTRA = {"espeak": "local", "pocketsphinx": "local"}


@cache
def _load(kind: Kind, name: str) -> Any:
    found = {entry.name: entry for entry in entry_points(group=f"active_call.{kind}")}
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise ProviderError(name, f'there is no {kind} provider "{name}"; installed: {known}')
    try:
        return found[name].load()()
    except ImportError as error:
        extra = _EXTRA.get(name)
        hint = f"; install it with: pip install 'active-call[{extra}]'" if extra else ""
        raise ProviderError(name, f'{kind} provider "{name}" needs {error.name}{hint}') from error


def load_asr(name: str) -> Asr:
    """The recogniser `name`, one instance per process. Raises ProviderError that names the extra to install."""
    provider: Asr = _load("asr", name)
    return provider


def load_tts(name: str) -> Tts:
    """The voice `name`, one instance per process. Raises ProviderError that names the extra to install."""
    provider: Tts = _load("tts", name)
    return provider


def load_llm(name: str) -> Llm:
    """The model `name`, one instance per process. Raises ProviderError."""
    provider: Llm = _load("llm", name)
    return provider
