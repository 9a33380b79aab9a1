"""The base of all sections, and the kinds of values that keys take."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

MAX_PORT = 65_535
LONGEST_MATCHED = 256
"""Longer texts match no pattern: others choose them, and a slow pattern must not take for ever."""


class Section(BaseModel):
    """A table of the file: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Later:
    """Marks a key that is known and checked but has no effect yet; `why` says what it waits for."""

    why: str


def _ip(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        raise ValueError(f'"{text}" is not an IP address; write one like 192.0.2.10, without a port') from None
    return text


def _public_ip(text: str) -> str:
    if ip_address(_ip(text)).is_unspecified:
        raise ValueError(f'"{text}" is no address that others can reach; write the one they see')
    return text


def split_address(text: str) -> tuple[str, int]:
    """IP and port of "192.0.2.10:8080" or "[2001:db8::1]:8080". Raises ValueError."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
        if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > MAX_PORT or (address.version == 6) != bracketed:
            raise ValueError
    except ValueError:
        raise ValueError(f'"{text}" is not an address; write IP:port, like 0.0.0.0:8080') from None
    return str(address), int(port)


def _address(text: str) -> str:
    split_address(text)
    return text


def _web_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or not text.isprintable() or " " in text:
        raise ValueError("is not a URL; write one like https://host/path")
    return text


def _compile(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return re.compile(value)
    except re.error as error:
        raise ValueError(f'"{value}" is not a regular expression: {error}') from None


Ip = Annotated[str, AfterValidator(_ip)]
"""An IPv4 or IPv6 address."""

PublicIp = Annotated[str, AfterValidator(_public_ip)]
"""An IP address that peers can send to."""

Address = Annotated[str, AfterValidator(_address)]
"""IP:port."""

WebUrl = Annotated[str, AfterValidator(_web_url)]
"""A URL with http:// or https://. Errors don't show it: it may hold a key."""

Port = Annotated[int, Field(ge=0, le=MAX_PORT)]
"""A UDP or TCP port; 0 = any free one."""

Regex = Annotated[re.Pattern[str], BeforeValidator(_compile)]
"""A regular expression, compiled when the file is read."""
