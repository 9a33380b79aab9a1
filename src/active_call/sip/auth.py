"""Digest authentication, the client's side (RFC 7616, RFC 2617, RFC 3261 §22, RFC 8760)."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from active_call.core.errors import RemoteProtocolError
from active_call.sip.grammar import is_token, quote, split_list, unquote

_HASHES: dict[str, Callable[[bytes], "hashlib._Hash"]] = {
    "MD5": hashlib.md5,
    "SHA-256": hashlib.sha256,
    "SHA-512-256": lambda data: hashlib.new("sha512_256", data),
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to a registrar or trunk. `realm` only picks among several challenges."""

    username: str
    password: str = field(repr=False)
    realm: str | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """A WWW-Authenticate or Proxy-Authenticate of scheme Digest."""

    realm: str
    nonce: str
    algorithm: str = "MD5"
    """As the server wrote it, to be sent back."""
    qop: tuple[str, ...] = ()
    opaque: str | None = None
    stale: bool = False

    @classmethod
    def parse(cls, text: str) -> "Challenge":
        """Raises RemoteProtocolError if this is no Digest challenge that we can answer."""
        scheme, _, rest = text.strip().partition(" ")
        if scheme.lower() != "digest":
            raise RemoteProtocolError(f'unknown authentication scheme "{scheme[:20]}"')
        values: dict[str, str] = {}
        for item in split_list(rest):
            name, equals, value = item.partition("=")
            if equals and is_token(name.strip()):
                values.setdefault(name.strip().lower(), unquote(value.strip()))
        if "realm" not in values or "nonce" not in values:
            raise RemoteProtocolError("a Digest challenge needs realm and nonce")
        challenge = cls(
            values["realm"],
            values["nonce"],
            values.get("algorithm", "MD5"),
            tuple(option.strip().lower() for option in values.get("qop", "").split(",") if option.strip()),
            values.get("opaque"),
            values.get("stale", "").lower() == "true",
        )
        if _hash_of(challenge.algorithm) is None:
            raise RemoteProtocolError(f'unknown digest algorithm "{challenge.algorithm[:20]}"')
        if challenge.qop and "auth" not in challenge.qop:
            raise RemoteProtocolError(f"unsupported quality of protection {challenge.qop}")
        return challenge


def choose_challenge(values: Iterable[str], realm: str | None = None) -> Challenge | None:
    """The first challenge that we can answer (the server lists the best first), preferably for `realm`."""
    usable = []
    for value in values:
        try:
            usable.append(Challenge.parse(value))
        except RemoteProtocolError:
            continue
    return next((one for one in usable if one.realm == realm), usable[0] if usable else None)


def authorize(
    challenge: Challenge, credentials: Credentials, method: str, uri: str, *, cnonce: str, nc: int = 1
) -> str:
    """The value of Authorization or Proxy-Authorization that answers `challenge`."""
    digest = _hash_of(challenge.algorithm)
    assert digest is not None
    secret = digest(f"{credentials.username}:{challenge.realm}:{credentials.password}")
    if challenge.algorithm.lower().endswith("-sess"):
        secret = digest(f"{secret}:{challenge.nonce}:{cnonce}")
    action = digest(f"{method}:{uri}")
    fields = [
        f"username={quote(credentials.username)}",
        f"realm={quote(challenge.realm)}",
        f"nonce={quote(challenge.nonce)}",
        f"uri={quote(uri)}",
    ]
    if challenge.qop:
        proof = digest(f"{secret}:{challenge.nonce}:{nc:08x}:{cnonce}:auth:{action}")
        fields += [f'response="{proof}"', "qop=auth", f"nc={nc:08x}", f"cnonce={quote(cnonce)}"]
    else:
        fields.append(f'response="{digest(f"{secret}:{challenge.nonce}:{action}")}"')
        if challenge.algorithm.lower().endswith("-sess"):
            fields.append(f"cnonce={quote(cnonce)}")
    fields.append(f"algorithm={challenge.algorithm}")
    if challenge.opaque is not None:
        fields.append(f"opaque={quote(challenge.opaque)}")
    return "Digest " + ", ".join(fields)


def _hash_of(algorithm: str) -> Callable[[str], str] | None:
    name = algorithm.upper().removesuffix("-SESS")
    make = _HASHES.get(name)
    if make is None:
        return None
    return lambda text: make(text.encode("utf-8", "surrogateescape")).hexdigest()
