"""Session descriptions: text in, SessionDescription out, and back (RFC 4566).

Only what an audio call needs is read; other lines are skipped. Line ends may be LF alone, as some peers send,
and fields may be missing in `o=`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from active_call.core.digits import is_number
from active_call.core.errors import RemoteProtocolError

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")


@dataclass(frozen=True, slots=True)
class Attribute:
    """`a=name:value`; flags have no value."""

    name: str
    value: str | None = None

    def __str__(self) -> str:
        return f"a={self.name}" if self.value is None else f"a={self.name}:{self.value}"


@dataclass(frozen=True, slots=True)
class Origin:
    """`o=`: who made this description, and which version of it this is."""

    user: str
    session_id: str
    version: str
    address: str

    def __str__(self) -> str:
        return f"o={self.user} {self.session_id} {self.version} {_network(self.address)}"


@dataclass(frozen=True, slots=True)
class Media:
    """One `m=` and what belongs to it."""

    kind: str
    """audio, video, image, …"""
    port: int
    """0 means refused."""
    profile: str
    """RTP/AVP and the like."""
    formats: tuple[str, ...]
    """Payload types, in the order of preference."""
    address: str | None = None
    """From its own `c=`."""
    attributes: tuple[Attribute, ...] = ()

    def attribute(self, name: str) -> str | None:
        """The value of the first attribute `name`."""
        return next(self.values(name), None)

    def values(self, name: str) -> Iterator[str]:
        """The values of all attributes `name`."""
        return (one.value for one in self.attributes if one.name == name and one.value is not None)

    def has(self, name: str) -> bool:
        """Whether there is an attribute `name`, with or without a value."""
        return any(one.name == name for one in self.attributes)

    @property
    def direction(self) -> str | None:
        """Its own direction, None if it has none."""
        return _direction(self.attributes)

    def __str__(self) -> str:
        lines = [f"m={self.kind} {self.port} {self.profile} {' '.join(self.formats)}"]
        if self.address is not None:
            lines.append(f"c={_network(self.address)}")
        return "".join(f"{line}\r\n" for line in [*lines, *map(str, self.attributes)])


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description."""

    origin: Origin
    media: tuple[Media, ...]
    address: str | None = None
    """From the `c=` of the session."""
    attributes: tuple[Attribute, ...] = ()
    name: str = "-"
    timing: str = "0 0"
    """From the first `t=`."""

    @classmethod
    def parse(cls, data: bytes) -> "SessionDescription":
        """Raises RemoteProtocolError (400) naming the line."""
        return _Parser().parse(data.decode("utf-8", "replace"))

    def address_of(self, media: Media) -> str | None:
        """Where `media` wants its packets."""
        return media.address if media.address is not None else self.address

    def has(self, media: Media, name: str) -> bool:
        """Whether `media`, or the session for all of its media, has an attribute `name`."""
        return media.has(name) or any(one.name == name for one in self.attributes)

    def direction_of(self, media: Media) -> str:
        """Who sends, as the describing side sees it (RFC 3264 §5.1)."""
        return media.direction or _direction(self.attributes) or "sendrecv"

    def __str__(self) -> str:
        lines = ["v=0", str(self.origin), f"s={self.name}"]
        if self.address is not None:
            lines.append(f"c={_network(self.address)}")
        lines += [f"t={self.timing}", *map(str, self.attributes)]
        return "".join(f"{line}\r\n" for line in lines) + "".join(map(str, self.media))

    def __bytes__(self) -> bytes:
        return str(self).encode()


class _Parser:
    """Reads line by line; lines after an `m=` belong to it."""

    def __init__(self) -> None:
        self.origin: Origin | None = None
        self.name = "-"
        self.timing = ""
        self.address: str | None = None
        self.attributes: list[Attribute] = []
        self.media: list[Media] = []

    def parse(self, text: str) -> SessionDescription:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
        if lines[0].rstrip() != "v=0":
            raise RemoteProtocolError(f'SDP does not begin with v=0 but with "{lines[0][:40]}"')
        finished: list[Media] = []
        current: Media | None = None
        attributes = self.attributes
        for number, raw in enumerate(lines[1:], 2):
            line = raw.rstrip()
            if not line:
                continue
            try:
                if line[1:2] != "=":
                    raise ValueError("no type=value")
                kind, value = line[0], line[2:]
                if kind == "m":
                    if current is not None:
                        finished.append(_closed(current, attributes))
                    current, attributes = _media(value), []
                elif kind == "a":
                    name, colon, rest = value.partition(":")
                    attributes.append(Attribute(name.strip(), rest.strip() if colon else None))
                elif kind == "c":
                    address = _address(value)
                    if current is None:
                        self.address = address
                    elif current.address is None:
                        current = _with_address(current, address)
                elif kind == "o" and current is None:
                    self.origin = _origin(value)
                elif kind == "s" and current is None:
                    self.name = value.strip() or "-"
                elif kind == "t" and current is None:
                    self.timing = self.timing or _timing(value)
            except ValueError as error:
                raise RemoteProtocolError(f'SDP line {number} "{line[:60]}": {error}') from None
        if current is not None:
            finished.append(_closed(current, attributes))
        if self.origin is None:
            raise RemoteProtocolError("SDP has no o= line")
        return SessionDescription(
            self.origin,
            tuple(finished),
            self.address,
            tuple(self.attributes),
            self.name,
            self.timing or "0 0",
        )


def _closed(media: Media, attributes: list[Attribute]) -> Media:
    return Media(media.kind, media.port, media.profile, media.formats, media.address, tuple(attributes))


def _with_address(media: Media, address: str) -> Media:
    return Media(media.kind, media.port, media.profile, media.formats, address)


def _media(value: str) -> Media:
    fields = value.split()
    port = fields[1].partition("/")[0] if len(fields) > 1 else ""
    if len(fields) < (3 if port == "0" else 4):  # of what is refused, some leave out the formats
        raise ValueError("an m= line needs kind, port, profile and formats")
    if not (is_number(port, 5) and int(port) < 65536):
        raise ValueError("the port is no number below 65536")
    return Media(fields[0].lower(), int(port), fields[2], tuple(fields[3:]))


def _address(value: str) -> str:
    fields = value.split()
    if len(fields) != 3 or fields[0].upper() != "IN" or fields[1].upper() not in ("IP4", "IP6"):
        raise ValueError("not IN IP4 or IN IP6 and an address")
    return fields[2].partition("/")[0]  # multicast: /ttl


def _timing(value: str) -> str:
    """Start and stop, as they came; nonsense is as good as no limits."""
    fields = value.split()
    return " ".join(fields) if len(fields) == 2 and all(is_number(one, 20) for one in fields) else "0 0"


def _origin(value: str) -> Origin:
    """Nothing depends on what a peer writes here, and some leave fields out: those are filled in."""
    fields = value.split()
    user, session_id, version, *network = fields + ["-", "0", "0"][len(fields) :]
    return Origin(user, session_id, version, network[2] if len(network) > 2 else "0.0.0.0")


def _direction(attributes: tuple[Attribute, ...]) -> str | None:
    return next((one.name for one in attributes if one.name in DIRECTIONS), None)


def _network(address: str) -> str:
    return f"IN {'IP6' if ':' in address else 'IP4'} {address}"
