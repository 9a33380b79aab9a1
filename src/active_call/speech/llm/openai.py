"""Chat completions of OpenAI and of every server that speaks the same protocol."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from importlib import import_module
from typing import Any

from active_call.core.errors import ProviderError
from active_call.speech.openai_client import openai_client
from active_call.speech.providers import ChatMessage, LlmOption

DEFAULT_MODEL = "gpt-4-turbo"

_RETRYABLE = frozenset({408, 409, 425, 429})
_PATH = "/chat/completions"
_MAX_DETAIL = 200


class OpenAiLlm:
    """Streams chat completions. Connections are shared by all calls."""

    async def stream(self, messages: Sequence[ChatMessage], option: LlmOption) -> AsyncIterator[str]:
        """The reply, piece by piece; closing the iterator closes the connection.

        `option.timeout` bounds the wait for the first piece and for each next one. Raises ProviderError;
        retryable are lost connections, timeouts, 408, 409, 425, 429 and 5xx.
        """
        request: dict[str, Any] = {
            "model": option.model or DEFAULT_MODEL,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
        }
        if option.temperature is not None:
            request["temperature"] = option.temperature
        if option.max_tokens is not None:
            request["max_tokens"] = option.max_tokens
        # Loading the SDK takes a second: not every process needs it, and the loop must not wait for it.
        await asyncio.to_thread(import_module, "openai")
        base_url = option.base_url.rstrip("/").removesuffix(_PATH) if option.base_url else None
        client = openai_client(base_url, option.api_key)
        try:
            async with asyncio.timeout(option.timeout):
                response = await client.chat.completions.create(**request, stream=True, timeout=option.timeout)
            async with response:
                chunks = aiter(response)
                finished, spoke = "", False
                while True:
                    async with asyncio.timeout(option.timeout):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    for choice in chunk.choices[:1]:
                        finished = finished or choice.finish_reason or ""
                        if choice.delta is not None and choice.delta.content:
                            spoke = True
                            yield choice.delta.content
                if not spoke and finished != "stop":
                    reason = f"the answer is empty: {finished}" if finished else "the stream closed unanswered"
                    raise ProviderError("openai", reason, retryable=True)
        except Exception as error:
            failure = _failure(error, client.api_key, option.timeout)
            if failure is None:
                raise
            raise failure from None  # the cause may show the request, and with it the key


def _failure(error: Exception, key: str, timeout: float) -> ProviderError | None:
    """What went wrong in our words; None: not the provider's fault."""
    import openai

    text, retryable = "", False
    match error:
        case ProviderError():
            return error
        case openai.APIStatusError(status_code=status):
            text = f"HTTP {status}: {_detail(error)}"
            retryable = status in _RETRYABLE or status >= 500
        case TimeoutError() | openai.APITimeoutError():
            text, retryable = f"no answer within {timeout:g} s", True
        case openai.APIConnectionError():
            text, retryable = f"the connection failed: {error.__cause__ or error}", True
        case openai.APIError():
            text, retryable = f"the server reports: {error.message}", True
        case json.JSONDecodeError() | UnicodeDecodeError():
            text, retryable = "the server sent something that is not JSON", True
        case openai.OpenAIError():
            text = str(error)
        case _ if type(error).__module__.startswith("http"):  # of the SDK's transport
            text, retryable = f"the connection failed: {error or type(error).__name__}", True
        case _:
            return None
    if key:
        text = text.replace(key, "***")
    return ProviderError("openai", text[:_MAX_DETAIL], retryable=retryable)


def _detail(error: Any) -> str:
    body = error.body
    if isinstance(body, dict):
        return str(body.get("message") or body)
    return str(body or error.response.reason_phrase)
