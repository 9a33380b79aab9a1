"""The Replaces header field: a call that takes over another one's place (RFC 3891)."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

from active_call.core.errors import RemoteProtocolError
from active_call.sip.dialogs.dialog import DialogId
from active_call.sip.messages.grammar import one_line, parse_params
from active_call.sip.messages.message import Headers


@dataclass(frozen=True, slots=True)
class Replaces:
    """A dialog as somebody else names it: the tags are those of the one who gets the header."""

    call_id: str
    to_tag: str
    """The tag of the one who gets the header."""
    from_tag: str
    """The tag of the other end of the dialog to be replaced."""
    early_only: bool = False
    """Only if the dialog is not answered yet."""

    @classmethod
    def parse(cls, text: str) -> "Replaces":
        """Raises RemoteProtocolError."""
        call_id, semicolon, rest = text.partition(";")
        params = parse_params(semicolon + rest)
        to_tag, from_tag = params.get("to-tag"), params.get("from-tag")
        if not call_id.strip() or not to_tag or not from_tag:
            raise RemoteProtocolError("Replaces needs a Call-ID, to-tag and from-tag")
        return cls(call_id.strip(), to_tag, from_tag, "early-only" in params)

    @classmethod
    def of(cls, headers: Headers) -> "Replaces | None":
        """What an INVITE wants to replace, None if nothing. Raises RemoteProtocolError."""
        values = headers.all("replaces")
        if len(values) > 1:
            raise RemoteProtocolError("more than one Replaces")
        return cls.parse(values[0]) if values else None

    @property
    def dialog_id(self) -> DialogId:
        """The dialog as we keep it, if we are the one who gets the header."""
        return (self.call_id, self.to_tag, self.from_tag)

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


def with_replaces(uri: str, replaces: str) -> str:
    """The Refer-To URI that makes its reader call `uri` and replace a dialog there (RFC 3515, RFC 3891)."""
    return f"{uri}{'&' if '?' in uri else '?'}Replaces={quote(replaces, safe='')}"


def without_replaces(uri: str) -> tuple[str, str | None]:
    """A Refer-To URI without its header fields, and the Replaces among them."""
    plain, _, fields = uri.partition("?")
    for item in fields.split("&"):
        name, equals, value = item.partition("=")
        if equals and name.lower() == "replaces":
            return plain, one_line(unquote(value))
    return plain, None
