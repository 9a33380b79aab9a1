"""SIP messages: bytes in, Request or Response out, and back (RFC 3261 §7).

Text that is not UTF-8 survives unchanged (surrogateescape). Header fields keep their order and spelling and are
looked up by their long name in lower case; what is inside them is parsed when somebody asks.
"""

import re
from collections.abc import Iterable
from functools import cached_property
from http import HTTPStatus

from active_call.core.errors import RemoteProtocolError
from active_call.sip.hop import Hop
from active_call.sip.messages.address import Address
from active_call.sip.messages.grammar import is_token, one_line, split_list
from active_call.sip.messages.uri import SipUri, tel_number
from active_call.sip.messages.via import Via

MAX_HEADERS = 256
MAX_CSEQ = 2**31
_METHODS = "INVITE ACK BYE CANCEL OPTIONS REGISTER PRACK SUBSCRIBE NOTIFY PUBLISH INFO REFER MESSAGE UPDATE"
METHODS = frozenset(_METHODS.split())
"""Methods that we know; that doesn't mean that we support them."""

_COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}
_REQUEST_LINE = re.compile(r"(\S+) (\S+) SIP/([0-9]+\.[0-9]+)")
_STATUS_LINE = re.compile(r"SIP/([0-9]+\.[0-9]+) ([0-9]{3})(?: (.*))?", re.IGNORECASE)
_FOLD = re.compile(r"\n[ \t]+")
_CSEQ = re.compile(r"\s*([0-9]+)\s+(\S+)\s*")
_REQUIRED = ("via", "from", "to", "call-id", "cseq")
_SINGLE = ("from", "to", "call-id", "cseq", "max-forwards", "content-type")

REASONS = {
    **{status.value: status.phrase for status in HTTPStatus if 400 <= status.value < 600},
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    413: "Request Entity Too Large",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    422: "Session Interval Too Small",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    500: "Server Internal Error",
    503: "Service Unavailable",
    505: "Version Not Supported",
    603: "Decline",
}


class Headers:
    """Header fields in order, with an index by long lower-case name."""

    __slots__ = ("_index", "fields")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self.fields: list[tuple[str, str]] = []
        # Tuples, because the garbage collector need not look at those that hold text.
        self._index: dict[str, tuple[str, ...]] = {}
        for name, value in fields:
            self.add(name, value)

    def add(self, name: str, value: str) -> None:
        """Append a field."""
        self.fields.append((name, value))
        key = name.lower()
        key = _COMPACT.get(key, key)
        self._index[key] = (*self._index.get(key, ()), value)

    def get(self, key: str) -> str | None:
        """The first value of the field `key` (long name, lower case)."""
        values = self._index.get(key)
        return values[0] if values else None

    def all(self, key: str) -> list[str]:
        """The values of all fields `key`, one per line of the message."""
        return list(self._index.get(key, ()))

    def items(self, key: str) -> list[str]:
        """The values of a comma-separated field, over all its lines. Raises RemoteProtocolError."""
        return [item for value in self.all(key) for item in split_list(value) if item]

    def replace_first(self, key: str, value: str) -> None:
        """Give the first field `key` another value. Raises KeyError if there is none."""
        self._index[key] = (value, *self._index[key][1:])
        for position, (name, _) in enumerate(self.fields):
            lower = name.lower()
            if _COMPACT.get(lower, lower) == key:
                self.fields[position] = (name, value)
                return

    def __contains__(self, key: str) -> bool:
        return key in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.fields == other.fields

    def __repr__(self) -> str:
        return f"Headers({self.fields!r})"


class Message:
    """What requests and responses have in common."""

    def __init__(self, headers: Headers, body: bytes = b"") -> None:
        self.headers = headers
        self.body = body

    @property
    def start_line(self) -> str:
        """The first line."""
        raise NotImplementedError

    @cached_property
    def via(self) -> Via:
        """The topmost Via. Raises RemoteProtocolError."""
        return Via.parse(_top(self.headers.all("via"), lenient=False)[0])

    @cached_property
    def from_(self) -> Address:
        """Who asks. Raises RemoteProtocolError."""
        return self._address("from")

    @cached_property
    def to(self) -> Address:
        """Who is asked. Raises RemoteProtocolError."""
        return self._address("to")

    @cached_property
    def cseq(self) -> tuple[int, str]:
        """Number and method. Raises RemoteProtocolError."""
        match = _CSEQ.fullmatch(self.headers.get("cseq") or "")
        if match is None:
            raise RemoteProtocolError("malformed CSeq")
        # Python refuses to convert numbers of thousands of digits, so look at the length first.
        digits = match.group(1).lstrip("0") or "0"
        if len(digits) > 10 or int(digits) >= MAX_CSEQ:
            raise RemoteProtocolError("the CSeq number is too large")
        return int(digits), match.group(2)

    @cached_property
    def call_id(self) -> str:
        """The call's identifier, empty if it is missing."""
        return self.headers.get("call-id") or ""

    def contact(self) -> SipUri:
        """The URI of the first Contact. Raises RemoteProtocolError."""
        contacts = self.headers.items("contact")
        if not contacts:
            raise RemoteProtocolError("Contact is missing")
        try:
            return SipUri.parse(Address.parse(contacts[0]).uri)
        except RemoteProtocolError as error:
            raise RemoteProtocolError(f"Contact: {error}") from None

    def _address(self, key: str) -> Address:
        try:
            return Address.parse(self.headers.get(key) or "")
        except RemoteProtocolError as error:
            raise RemoteProtocolError(f"{key.capitalize()}: {error}") from None

    def __bytes__(self) -> bytes:
        lines = [self.start_line]
        lines += [f"{name}: {value}" for name, value in self.headers.fields if name.lower() not in _LENGTH]
        lines.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + self.body

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and bytes(self) == bytes(other)

    def __repr__(self) -> str:
        return f"<{self.start_line}>"


def _top(values: list[str], *, lenient: bool) -> list[str]:
    """The items of the first line of a list."""
    if not values:
        raise RemoteProtocolError("Via is missing")
    if "," not in values[0]:
        return [values[0]]
    return [values[0].partition(",")[0]] if lenient else split_list(values[0])


_LENGTH = ("content-length", "l")


class Request(Message):
    """A method to be applied to a URI."""

    def __init__(self, method: str, uri: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri

    def stamp(self, source: Hop, *, lenient: bool = False) -> None:
        """Note in the topmost Via where the request came from. Raises RemoteProtocolError if Via is useless."""
        first, *others = _top(self.headers.all("via"), lenient=lenient)
        via = Via.parse(first, lenient=lenient)
        stamped = via.stamped(source)
        self.via = stamped
        if lenient or stamped is not via:
            self.headers.replace_first("via", ", ".join((str(stamped), *others)))

    @property
    def start_line(self) -> str:
        return f"{self.method} {self.uri} SIP/2.0"


class Response(Message):
    """A status that answers a request."""

    def __init__(self, status: int, reason: str, headers: Headers, body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = reason
        self.source: Hop | None = None
        """Where it came from."""

    @property
    def start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"


class BadMessage(RemoteProtocolError):
    """Bytes that are no proper SIP message; `request` is what could be read, if it was a request."""

    def __init__(self, text: str, status: int = 400, request: Request | None = None) -> None:
        super().__init__(text, status)
        self.request = request


def parse_message(data: bytes) -> Request | Response:
    """Read one datagram. Raises BadMessage. Header fields are only split here: see `check_request`."""
    head, _, body = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    text = head.decode("utf-8", "surrogateescape").replace("\r\n", "\n").rstrip("\n")
    fault = ""
    if "\r" in text:
        fault = "a carriage return stands alone"
        text = text.replace("\r", " ")  # what is echoed must not carry it on
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    start, *lines = text.split("\n")
    headers = Headers()
    if len(lines) > MAX_HEADERS:
        fault, lines = f"more than {MAX_HEADERS} header fields", lines[:MAX_HEADERS]
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.rstrip()
        if colon and is_token(name):
            headers.add(name, value.strip())
        else:
            fault = fault or f'malformed header field "{line[:40]}"'

    lengths = headers.all("content-length")
    if lengths:
        length = _content_length(lengths, len(body))
        if isinstance(length, str):
            fault = fault or length
        else:
            body = body[:length]

    if start[:4].upper() == "SIP/":
        return _response(start, headers, body, fault)
    return _request(start, headers, body, fault)


def _content_length(values: list[str], available: int) -> int | str:
    """The body's length, or what is wrong with it."""
    if len(values) > 1:
        return "more than one Content-Length"
    value = values[0]
    if not (value.isascii() and value.isdigit()):
        return f'Content-Length "{value[:20]}" is no number'
    if len(value) > 9 or int(value) > available:
        return f"Content-Length is {value[:20]}, but only {available} octets follow"
    return int(value)


def _response(start: str, headers: Headers, body: bytes, fault: str) -> Response:
    match = _STATUS_LINE.fullmatch(start)
    if match is None or match.group(1) != "2.0" or not 100 <= int(match.group(2)) < 700:
        raise BadMessage(f'malformed status line "{start[:80]}"')
    if fault:
        raise BadMessage(fault)
    return Response(int(match.group(2)), match.group(3) or "", headers, body)


def _request(start: str, headers: Headers, body: bytes, fault: str) -> Request:
    match = _REQUEST_LINE.fullmatch(start)
    if match is None or not is_token(match.group(1)):
        method = start.split(" ", 1)[0]
        request = Request(method, "", headers, body)
        raise BadMessage(f'malformed request line "{one_line(start[:80])}"', 400, request)
    method, uri, version = match.groups()
    request = Request(method, uri, headers, body)
    if version != "2.0":
        raise BadMessage(f"SIP version {version[:10]} is not supported", 505, request)
    if fault:
        raise BadMessage(fault, 400, request)
    return request


def check_request(request: Request) -> None:
    """Check what every server relies on (RFC 3261 §8.1.1). Raises RemoteProtocolError."""
    headers = request.headers
    for key in _REQUIRED:
        if key not in headers:
            raise RemoteProtocolError(f"{_title(key)} is missing")
    for key in _SINGLE:
        if len(headers.all(key)) > 1:
            raise RemoteProtocolError(f"more than one {_title(key)}")
    _ = request.via, request.from_, request.to
    if not request.call_id:
        raise RemoteProtocolError("Call-ID is empty")
    method = request.cseq[1]
    if method != request.method:
        # A future method may have rules of its own: 501 says more than 400 (RFC 4475 §3.1.2.18).
        status = 400 if request.method in METHODS else 501
        raise RemoteProtocolError(f"CSeq says {method[:20]}, the request line {request.method[:20]}", status)
    hops = headers.get("max-forwards")
    if (
        hops is not None
        and re.fullmatch("0*[0-9]{1,3}", hops, re.ASCII) is None
        or int((hops or "0")[-3:]) > 255
    ):
        raise RemoteProtocolError("Max-Forwards is not a number from 0 to 255")
    if tel_number(request.uri) is None and SipUri.parse(request.uri).headers:
        raise RemoteProtocolError("the Request-URI must not carry header fields")


def check_response(response: Response) -> None:
    """Check what a client must rely on. Raises RemoteProtocolError: such a response is dropped."""
    for key in _REQUIRED:
        if key not in response.headers:
            raise RemoteProtocolError(f"{_title(key)} is missing")
    if len(response.headers.all("via")) > 1 or len(split_list(response.headers.all("via")[0])) > 1:
        # It was meant for a client behind us (RFC 3261 §8.1.3.3).
        raise RemoteProtocolError("more than one Via")
    _ = response.via, response.from_, response.to, response.cseq


def _title(key: str) -> str:
    return {"call-id": "Call-ID", "cseq": "CSeq"}.get(key) or key.title()


def _has_tag(request: Request) -> bool:
    try:
        return bool(request.to.tag)
    except RemoteProtocolError:
        return True  # unreadable: leave it as it came


def make_response(
    request: Request,
    status: int,
    reason: str = "",
    *,
    tag: str = "",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """A response to `request` (RFC 3261 §8.2.6), as complete as a broken request allows.

    `tag` is added to To unless it has one. Its topmost Via should have been stamped by the receiver.
    """
    fields: list[tuple[str, str]] = [("Via", value) for value in request.headers.all("via")]
    for name, key in (("From", "from"), ("To", "to"), ("Call-ID", "call-id"), ("CSeq", "cseq")):
        value = request.headers.get(key)
        if value is not None:
            if key == "to" and tag and not _has_tag(request):
                value = f"{value};tag={tag}"
            fields.append((name, value))
    if status == 100 and "timestamp" in request.headers:
        fields.append(("Timestamp", request.headers.get("timestamp") or ""))  # §8.2.6.1: who asks measures
    fields += headers
    reason = one_line(reason) or REASONS.get(status, "Failure")
    return Response(status, reason, Headers(fields), body)
