"""What all providers that speak OpenAI's HTTP API share: where to, with which key, and what an error means."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from pydantic import SecretStr

from active_call.core.errors import ProviderError

if TYPE_CHECKING:  # importing the SDK takes most of a second: only calls that use it pay
    from openai import AsyncOpenAI

_CONNECT_AND_READ = 30.0
"""Seconds without a byte before a request fails."""

MAX_CLIENTS = 64
"""Calls may bring keys of their own: beyond this the oldest client goes when its last call has ended."""

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str], "AsyncOpenAI"]] = (
    WeakKeyDictionary()
)


def openai_client(endpoint: str | None, key: SecretStr | None) -> "AsyncOpenAI":
    """The client for `endpoint` or OPENAI_BASE_URL; its connections are reused.

    OPENAI_API_KEY is for OPENAI_BASE_URL alone: who names another server gives its key. Servers other than
    OpenAI's need none. Raises ProviderError if there is none for OpenAI's.
    """
    from openai import AsyncOpenAI

    ours = os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    base = endpoint or ours
    ours_key = os.environ.get("OPENAI_API_KEY", "") if base == ours else ""
    secret = key.get_secret_value() if key else ours_key
    if not secret and "api.openai.com" in base:
        raise ProviderError("openai", "no API key: set apiKey or the variable OPENAI_API_KEY")
    clients = _clients.setdefault(asyncio.get_running_loop(), {})
    client = clients.get((base, secret))
    if client is None:
        if len(clients) >= MAX_CLIENTS:
            del clients[next(iter(clients))]
        client = AsyncOpenAI(base_url=base, api_key=secret or "none", max_retries=0, timeout=_CONNECT_AND_READ)
        clients[base, secret] = client
    return client


@contextmanager
def openai_errors(what: str) -> Iterator[None]:
    """Turn the SDK's errors while doing `what` into ProviderError, which never holds the key."""
    from openai import APIConnectionError, APIError, APIStatusError

    try:
        yield
    except APIStatusError as error:
        retryable = error.status_code in (408, 409, 429) or error.status_code >= 500
        key = error.request.headers.get("authorization", "").removeprefix("Bearer ")
        text = f"{what} failed with status {error.status_code}: {_message(error, key)}"
        raise ProviderError("openai", text, retryable=retryable) from None
    except APIConnectionError as error:
        raise _broken(what, error.__cause__ or error) from None
    except APIError as error:
        raise ProviderError("openai", f"{what} failed: {error.message}", retryable=True) from None
    except Exception as error:
        # What breaks off in mid-stream the SDK lets through, from whichever HTTP client it was built on.
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2"):
            raise
        raise _broken(what, error) from None


def _broken(what: str, error: BaseException) -> ProviderError:
    return ProviderError("openai", f"{what} failed: {str(error) or type(error).__name__}", retryable=True)


def _message(error: "Exception", key: str) -> str:
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    text = str(message or error)
    if key:
        text = text.replace(key, "***")  # some servers repeat it
    return " ".join(text.split())[:300]
