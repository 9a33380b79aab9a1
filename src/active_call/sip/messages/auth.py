"""Digest authentication, the client's side (RFC 7616, RFC 2617, RFC 3261 §22, RFC 8760)."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from active_call.core.errors import RemoteProtocolError
from active_call.core.tokens import Tokens
from active_call.sip.messages.grammar import is_token, quote, split_list, unquote
from active_call.sip.messages.message import Response

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
        values = _values(rest)
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


def usable_challenges(values: Iterable[str]) -> list[Challenge]:
    """The challenges that we can answer, in their order: the server lists the best first."""
    usable = []
    for value in values:
        try:
            usable.append(Challenge.parse(value))
        except RemoteProtocolError:
            continue
    return usable


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


class Authenticator:
    """Our credentials at work in one call or registration.

    It remembers each realm's nonce and counts its uses, so that later requests need no further challenge, and
    knows when asking again is useless. Per request there is a set of what was answered already: `tried`.
    """

    def __init__(self, credentials: Credentials | None, tokens: Tokens) -> None:
        self.credentials = credentials
        self._tokens = tokens
        self._nonces: dict[tuple[bool, str], _Nonce] = {}

    def headers(self, method: str, uri: str) -> list[tuple[str, str]]:
        """Authorization and Proxy-Authorization of the next request, for the realms that have asked so far."""
        if self.credentials is None:
            return []
        fields = []
        for (proxy, _), nonce in self._nonces.items():
            nonce.count += 1
            value = authorize(
                nonce.challenge, self.credentials, method, uri, cnonce=self._tokens(16), nc=nonce.count
            )
            fields.append(("Proxy-Authorization" if proxy else "Authorization", value))
        return fields

    def refused(self, response: Response, tried: set[str], *, stranger: bool = False) -> str | None:
        """Take in a 401 or 407 (RFC 3261 §22.2): None if asking again makes sense, else why it doesn't.

        A realm is answered once per request, and once more if it only says that the nonce is `stale`. A
        `stranger` is not the server that the credentials are for: it may only repeat what that has asked.
        """
        proxy = response.status == 407
        usable = usable_challenges(response.headers.all("proxy-authenticate" if proxy else "www-authenticate"))
        if not usable:
            return f"{response.status} without a challenge that can be answered"
        if self.credentials is None:
            return f"{response.status} for realm {usable[0].realm}: no user and password are given"
        if stranger:
            usable = [one for one in usable if (proxy, one.realm) in self._nonces]
            if not usable:
                return f"{response.status} by another server than was called: it gets no password"
        preferred = self.credentials.realm
        usable.sort(key=lambda one: one.realm != preferred)
        for challenge in usable:
            key = f"{response.status} {challenge.realm}"
            if key in tried and challenge.stale:
                key += " stale"
            if key not in tried:
                tried.add(key)
                self._remember(proxy, challenge)
                return None
        user = self.credentials.username
        return f"{response.status} twice for realm {usable[0].realm}: user {user} or its password is wrong"

    def accepted(self, response: Response) -> None:
        """Take over the nonce that a 2xx names for the next request (RFC 7616 §3.5)."""
        for proxy, key in ((False, "authentication-info"), (True, "proxy-authentication-info")):
            for value in response.headers.all(key):
                upcoming = _lenient(value).get("nextnonce")
                ours = [nonce for (of_proxy, _), nonce in self._nonces.items() if of_proxy is proxy]
                if upcoming and len(ours) == 1:  # the header names no realm
                    ours[0].challenge, ours[0].count = replace(ours[0].challenge, nonce=upcoming), 0

    def _remember(self, proxy: bool, challenge: Challenge) -> None:
        if len(self._nonces) >= _MAX_REALMS:
            self._nonces.pop(next(iter(self._nonces)))
        self._nonces[proxy, challenge.realm] = _Nonce(challenge)


@dataclass(slots=True)
class _Nonce:
    challenge: Challenge
    count: int = 0


_MAX_REALMS = 8
"""How many realms of one call are remembered."""


def _values(text: str) -> dict[str, str]:
    """The parameters of a challenge or of Authentication-Info. Raises RemoteProtocolError."""
    values: dict[str, str] = {}
    for item in split_list(text):
        name, equals, value = item.partition("=")
        if equals and is_token(name.strip()):
            values.setdefault(name.strip().lower(), unquote(value.strip()))
    return values


def _lenient(text: str) -> dict[str, str]:
    try:
        return _values(text)
    except RemoteProtocolError:
        return {}


def _hash_of(algorithm: str) -> Callable[[str], str] | None:
    name = algorithm.upper().removesuffix("-SESS")
    make = _HASHES.get(name)
    if make is None:
        return None
    return lambda text: make(text.encode("utf-8", "surrogateescape")).hexdigest()
