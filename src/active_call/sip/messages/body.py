"""The session description within a message (RFC 3261 §7.4, RFC 5621)."""

import re

from active_call.core.errors import RemoteProtocolError
from active_call.sip.messages.grammar import parse_params, split_list, unquote
from active_call.sip.messages.message import Headers, Message

SDP = "application/sdp"

_OPTIONAL = re.compile(r";\s*handling\s*=\s*\"?optional\b", re.IGNORECASE)


def sdp_of(message: Message) -> bytes | None:
    """The message's SDP, None if it has no body, or one that we may ignore (handling=optional).

    Raises RemoteProtocolError 415 if the body is something else or is encoded.
    """
    if not message.body.strip():
        return None
    encoding = message.headers.get("content-encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise RemoteProtocolError(f'content encoding "{encoding[:40]}" is not supported', 415)
    return _find(message.headers, message.body)


def _find(headers: Headers, body: bytes) -> bytes | None:
    text = headers.get("content-type") or ""
    kind, _, rest = text.partition(";")
    kind = kind.strip().lower()
    if kind == SDP:
        return body
    if kind.startswith("multipart/"):
        boundary = unquote(parse_params(f";{rest}" if rest.strip() else "").get("boundary") or "")
        for part in _parts(body, boundary) if boundary else ():
            if part[0].lower().startswith(SDP):
                return part[1]
    if _OPTIONAL.search(headers.get("content-disposition") or "") is not None:
        return None
    raise RemoteProtocolError(f'body type "{text[:40]}" is not supported', 415)


def _parts(body: bytes, boundary: str) -> list[tuple[str, bytes]]:
    """Content type and bytes of each part of a multipart body."""
    parts = []
    for chunk in (b"\r\n" + body).split(b"\r\n--" + boundary.encode("utf-8", "surrogateescape"))[1:]:
        head, blank, content = chunk.partition(b"\r\n\r\n")
        found = re.search(rb"(?:^|\n)content-type[ \t]*:[ \t]*([^\r\n]*)", head, re.IGNORECASE)
        if blank and found is not None:
            parts.append((found.group(1).decode("latin-1"), content))
    return parts


def accepts_sdp(headers: Headers) -> bool:
    """Whether the sender's Accept allows an answer in SDP (RFC 3261 §20.1)."""
    if "accept" not in headers:
        return True
    ranges = {split_list(item, ";")[0].lower() for item in headers.items("accept")}
    return not ranges.isdisjoint((SDP, "application/*", "*/*"))
