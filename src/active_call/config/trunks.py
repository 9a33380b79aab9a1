"""Accounts at SIP servers, and what the operator changes about outbound calls."""

import re
from functools import lru_cache
from typing import Annotated, Self
from urllib.parse import unquote

from pydantic import AfterValidator, Field, SecretStr, model_validator

from active_call.config.fields import LONGEST_MATCHED, Regex, Section
from active_call.core.errors import RemoteProtocolError
from active_call.sip.messages.auth import Credentials
from active_call.sip.messages.uri import SipUri

_TRANSPORTS = ("udp", "tcp", "tls")
_GROUP = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


@lru_cache(maxsize=4096)
def server_uri(text: str) -> SipUri:
    """The URI of a server written as `host`, `host:port` or a SIP URI. Raises ValueError."""
    try:
        uri = SipUri.parse(text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}")
        if uri.user is None and not uri.headers and (uri.params.get("transport") or "udp") in _TRANSPORTS:
            return uri
    except RemoteProtocolError:
        pass
    raise ValueError(
        f'"{text}" is not a SIP server; write one like pbx.example.com, pbx.example.com:5060 '
        f"or sip:pbx.example.com;transport=tcp"
    )


def _server(text: str) -> str:
    server_uri(text)
    return text


def _user(text: str) -> str:
    if not text or "@" in text or not text.isprintable() or " " in text:
        raise ValueError(f'"{text}" is not the user of a SIP address; write what stands before the @')
    return text


def _host(text: str) -> str:
    if "@" in text or ";" in text or server_uri(text).scheme != "sip" or text.lower().startswith("sip:"):
        raise ValueError(f'"{text}" is not a host; write one like sip.example.com or sip.example.com:5060')
    return text


class Credential(Section):
    """How an account proves itself."""

    username: str
    password: SecretStr
    realm: str | None = None
    auth_username: str | None = None
    """Who answers challenges, where that is not who registers: the authentication id of some PBXs."""


class RegisteredUser(Section):
    """An account to register with a SIP server; its password stands in `credential`, or beside the username."""

    server: Annotated[str, AfterValidator(_server)]
    username: Annotated[str, AfterValidator(_user)]
    display_name: str | None = None
    disabled: bool = False
    expires: int = Field(3_600, ge=30, le=86_400)
    """Seconds that we ask for; the server decides."""
    credential: Credential | None = None
    name: str | None = None
    """For the operator."""
    password: SecretStr | None = None
    realm: str | None = None

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.credential is not None and (self.password is not None or self.realm is not None):
            raise ValueError("has a credential, so password and realm belong there")
        return self

    @property
    def registrar(self) -> SipUri:
        """The server's URI."""
        return server_uri(self.server)

    @property
    def credentials(self) -> Credentials | None:
        """What challenges are answered with."""
        if self.credential is not None:
            own = self.credential
            name = own.auth_username or own.username
            return Credentials(name, own.password.get_secret_value(), own.realm)
        if self.password is not None:
            return Credentials(self.username, self.password.get_secret_value(), self.realm)
        return None

    @property
    def user(self) -> str:
        """Who registers: the credential's user, which is what servers know, else `username`."""
        return self.credential.username if self.credential is not None else self.username


class Rewrite(Section):
    """Replaces what `match` finds in an outbound call's destination; `$1` is what its first group found."""

    match: Regex
    rewrite: str

    @model_validator(mode="after")
    def _groups_exist(self) -> Self:
        for escape, braced, plain in _GROUP.findall(self.rewrite):
            name = braced or plain
            if escape:
                continue
            if name.isdigit() and int(name) <= self.match.groups:
                continue
            if name not in self.match.groupindex:
                hint = (
                    f"; write ${{{number[0]}}}"
                    if not name.isdigit() and (number := re.match(r"\d+", name))
                    else ""
                )
                raise ValueError(f'rewrite "{self.rewrite}": match has no group {name}{hint}')
        return self

    def apply(self, uri: str) -> str:
        """`uri` with all that is found replaced; an overlong one stays as it is."""
        if len(uri) > LONGEST_MATCHED:
            return uri
        return self.match.sub(self._replacement, uri)

    def _replacement(self, found: re.Match[str]) -> str:
        def group(reference: re.Match[str]) -> str:
            escape, braced, plain = reference.groups()
            if escape:
                return "$"
            name = braced or plain
            return found[int(name) if name.isdigit() else name] or ""

        return _GROUP.sub(group, self.rewrite)


class PartyPattern(Section):
    """Patterns for one party's URI, searched in its user and in its host; an absent one matches anything."""

    user: Regex | None = None
    host: Regex | None = None

    def fits(self, user: str, host: str) -> bool:
        """Whether both are found; nothing is found in overlong ones."""
        return _found(self.user, unquote(user)) and _found(self.host, host)


class PartyRewrite(Section):
    """New parts for one party's URI; a host without a port leaves the port as it is."""

    user: Annotated[str, AfterValidator(_user)] | None = None
    host: Annotated[str, AfterValidator(_host)] | None = None


class TrunkMatch(Section):
    """Which outbound calls a trunk rule is for; nothing given = all."""

    from_: PartyPattern | None = Field(None, alias="from")
    to: PartyPattern | None = None


class TrunkRewrite(Section):
    """What a trunk rule changes."""

    from_: PartyRewrite | None = Field(None, alias="from")
    to: PartyRewrite | None = None
    contact: PartyRewrite | None = None


class TrunkRule(Section):
    """The first rule that matches an outbound call rewrites its addresses."""

    name: str | None = None
    match: TrunkMatch | None = None
    rewrite: TrunkRewrite | None = None


def _found(pattern: re.Pattern[str] | None, text: str) -> bool:
    return pattern is None or (len(text) <= LONGEST_MATCHED and pattern.search(text) is not None)
