"""Every key of the configuration, its default and its check."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from active_call import __version__
from active_call.config.fields import (
    Address,
    Ip,
    Later,
    Port,
    PublicIp,
    Section,
    WebUrl,
    split_address,
)
from active_call.config.handler import PlaybookHandler, WebhookHandler
from active_call.config.trunks import RegisteredUser, Rewrite, TrunkRule
from active_call.lanes.codecs import available_codecs
from active_call.outbound.guard import OutboundPolicy, check_host_pattern
from active_call.wire.model import Duration
from active_call.wire.options import AmbianceOption

LogLevel = Literal["trace", "debug", "info", "warn", "error"]
Codec = Literal["pcmu", "pcma", "g722", "g729", "opus", "pcm", "telephone_event"]

_CODEC_ALIASES = {"dtmf": "telephone_event", "2833": "telephone_event", "telephone-event": "telephone_event"}
_CODECS = ("pcmu", "pcma", "g722", "g729", "telephone_event", "opus")
_INSTALL = {
    "opus": "install the library libopus (Debian: libopus0), or the Python package av",
    "g729": "install the library libbcg729 (Debian: libbcg729-0)",
}

_WEBRTC = Later("browser calls come later")
_PUBLIC_STUN = "stun:stun.l.google.com:19302"
_FOREIGN = Later("it is a RustPBX key and not served here")

UA_KEYS = frozenset(
    (
        "addr",
        "udp_port",
        "useragent",
        "callid_suffix",
        "register_users",
        "handler",
        "accept_timeout",
        "graceful_shutdown",
        "graceful_shutdown_timeout",
        "codecs",
        "external_ip",
        "auto_learn_public_address",
        "rtp_start_port",
        "rtp_end_port",
        "rtp_bind_ip",
        "enable_rtp_latching",
        "rtp_jitter_ms",
        "enable_ice_lite",
        "enable_options_response",
        "tls_port",
        "tls_cert_file",
        "tls_key_file",
        "tls_verify",
        "tls_ca_file",
        "tcp",
        "enable_srtp",
        "rewrites",
        "trunk_rules",
    )
)
"""Top-level keys that may stand in a table `[ua]` instead, as RustPBX writes them."""


class Recording(Section):
    """When calls are recorded, and where to."""

    enabled: bool = False
    auto_start: bool = False
    path: str = "./config/recorders"
    filename_pattern: str | None = Field(None, min_length=1)
    samplerate: int = Field(16_000, ge=8_000, le=48_000, multiple_of=25)
    ptime: int = Field(200, ge=0)
    format: Literal["wav", "pcm", "pcmu", "pcma", "g722"] = "wav"

    @property
    def every_call(self) -> bool:
        """Record calls that nobody asked to record."""
        return self.enabled and self.auto_start


class LocalRecords(Section):
    """Call records as JSON files below `root`."""

    type: Literal["local"]
    root: str = "./config/cdr"


class S3Records(Section):
    """Call records, and recordings if wanted, in S3-compatible storage."""

    later: ClassVar[str] = "call records in S3 come later"

    type: Literal["s3"]
    vendor: Literal["aws", "a_w_s", "gcp", "g_c_p", "aliyun", "tencent", "minio", "azure", "digital_ocean"]
    bucket: str
    region: str
    access_key: SecretStr
    secret_key: SecretStr
    endpoint: str
    root: str
    with_media: bool = False
    keep_media_copy: bool = False


class HttpRecords(Section):
    """Call records posted to a service."""

    later: ClassVar[str] = "call records over HTTP come later"

    type: Literal["http"]
    url: str = Field(pattern="^https?://")
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    with_media: bool = False
    keep_media_copy: bool = False


def _ice_url(text: str) -> str:
    if not re.match("(stuns?|turns?):.", text):
        raise ValueError(f'"{text}" is no STUN or TURN server; write one like stun:stun.example.com:3478')
    return text


class IceServer(Section):
    """A STUN or TURN server for browser calls."""

    urls: list[Annotated[str, AfterValidator(_ice_url)]] = Field(min_length=1)
    username: str | None = None
    credential: SecretStr | None = None
    credential_type: str | None = None

    def to_browser(self) -> dict[str, Any]:
        """What `/iceservers` gives to clients, who need the credential."""
        credential = self.credential.get_secret_value() if self.credential else None
        return {"urls": self.urls, "username": self.username, "credential": credential}


class Ambiance(AmbianceOption):
    """Background sound of all calls; keys in camelCase or snake_case."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Outbound(Section):
    """Limits on URLs that clients and calls name; the operator's own are free."""

    allow_private: bool = True
    allow_hosts: list[Annotated[str, AfterValidator(check_host_pattern)]] = Field(default_factory=list)
    deny_hosts: list[Annotated[str, AfterValidator(check_host_pattern)]] = Field(default_factory=list)
    max_bytes: int = Field(100_000_000, ge=1)
    timeout: Duration = Field(10.0, gt=0)

    @property
    def policy(self) -> OutboundPolicy:
        """As the guard takes it."""
        return OutboundPolicy(
            self.allow_private,
            tuple(self.allow_hosts),
            tuple(self.deny_hosts),
            max_bytes=self.max_bytes,
            timeout=self.timeout,
        )


def usable_codecs() -> frozenset[str]:
    """The audio codecs that this machine has, as the file calls them."""
    return frozenset("pcm" if name == "l16" else name for name in available_codecs()) & set(get_args(Codec))


def _codec(text: str) -> str:
    name = text.lower()
    name = _CODEC_ALIASES.get(name, name)
    known = get_args(Codec)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise ValueError(f'"{text}" is not a codec; {hint}')
    return name


def _codecs(names: list[str]) -> list[str]:
    if not set(names) & usable_codecs():
        raise ValueError("none of these can carry a call here; name pcmu or pcma")
    return list(dict.fromkeys(names))


def _srtp(value: object) -> object:
    if value is not True and value is not False and value != "require":
        raise ValueError('write true (offer it), false or "require"')
    return value


Handler = Annotated[PlaybookHandler | WebhookHandler, Field(discriminator="type")]
Records = Annotated[LocalRecords | S3Records | HttpRecords, Field(discriminator="type")]


class Config(Section):
    """All settings. Built by `load_config`; `Config()` is the defaults."""

    addr: Ip = "0.0.0.0"
    udp_port: Port = 25_060
    http_addr: Address = "0.0.0.0:8080"
    http_gzip: bool = False
    http_access_skip_paths: list[str] = Field(default_factory=list)
    log_level: LogLevel = "info"
    log_file: str | None = Field(None, min_length=1)
    media_cache_path: str = "./config/mediacache"

    external_ip: PublicIp | None = None
    auto_learn_public_address: bool = False
    rtp_start_port: int = Field(12_000, ge=1, le=65_535)
    rtp_end_port: int = Field(42_000, ge=1, le=65_535, validate_default=True)
    rtp_bind_ip: Ip | None = None
    enable_rtp_latching: bool = True
    rtp_jitter_ms: int = Field(40, ge=20, le=100)
    enable_ice_lite: Annotated[bool, _WEBRTC] = False
    ice_servers: list[IceServer] = Field(default_factory=list)

    useragent: str = Field(f"active-call/{__version__}", min_length=1, pattern=r"^[\x20-\x7e]+$")
    callid_suffix: str | None = Field(None, pattern=r"^[A-Za-z0-9.\-_~]+$")
    codecs: Annotated[list[Annotated[str, AfterValidator(_codec)]], AfterValidator(_codecs)] = Field(
        default_factory=lambda: list(_CODECS)
    )
    accept_timeout: Duration = 50.0
    inactivity_timeout: Duration = 50.0
    graceful_shutdown: bool = True
    graceful_shutdown_timeout: Duration = 30.0
    enable_options_response: bool = True
    tcp: bool = True
    tls_cert_file: str | None = Field(None, min_length=1)
    tls_key_file: str | None = Field(None, min_length=1)
    tls_port: Port | None = None
    tls_verify: bool = True
    tls_ca_file: str | None = Field(None, min_length=1)
    enable_srtp: Annotated[bool | Literal["require"], BeforeValidator(_srtp)] = False
    register_users: list[RegisteredUser] = Field(default_factory=list)
    rewrites: list[Rewrite] = Field(default_factory=list)
    trunk_rules: list[TrunkRule] = Field(default_factory=list)

    handler: Handler | None = None
    recording: Recording = Recording()
    callrecord: Records | None = None
    ambiance: Ambiance | None = None
    outbound: Outbound = Outbound()

    llmproxy: WebUrl | None = None
    peers: Annotated[list[str] | None, _FOREIGN] = None
    restsend_token: Annotated[SecretStr | None, _FOREIGN] = None
    ami: Annotated[dict[str, Any] | None, _FOREIGN] = None
    proxy: Annotated[dict[str, Any] | None, _FOREIGN] = None
    console: Annotated[dict[str, Any] | None, _FOREIGN] = None
    https_addr: Annotated[str | None, _FOREIGN] = None
    ssl_certificate: Annotated[str | None, _FOREIGN] = None
    ssl_private_key: Annotated[str | None, _FOREIGN] = None

    @field_validator("rtp_end_port")
    @classmethod
    def _holds_a_pair(cls, end: int, info: ValidationInfo) -> int:
        """RTP takes an even port and RTCP the odd one after it (RFC 3550 §11)."""
        start: int | None = info.data.get("rtp_start_port")
        if start is None:
            return end  # the start is wrong itself, and said to be
        if start + start % 2 >= end:
            raise ValueError(f"no even port with the next one free for RTCP lies between {start} and {end}")
        return end

    @field_validator("tls_port")
    @classmethod
    def _has_certificate(cls, port: int | None, info: ValidationInfo) -> int | None:
        if port is None:
            return None
        if "tls_cert_file" in info.data and info.data["tls_cert_file"] is None:
            raise ValueError('needs a certificate: write tls_cert_file = "cert.pem"')
        if port and info.data.get("tcp") and port == info.data.get("udp_port"):
            raise ValueError(f"{port} is the port of SIP over UDP and TCP already; write another, like 5061")
        return port

    @field_validator("register_users")
    @classmethod
    def _accounts_differ(cls, users: list[RegisteredUser]) -> list[RegisteredUser]:
        seen: set[tuple[str, str]] = set()
        for user in users:
            if not user.disabled and (key := (str(user.registrar).lower(), user.username)) in seen:
                raise ValueError(f"{user.username} at {user.server} is there twice")
            elif not user.disabled:
                seen.add(key)
        return users

    @property
    def http_address(self) -> tuple[str, int]:
        """IP and port of the HTTP service."""
        return split_address(self.http_addr)

    def logs_access(self, path: str) -> bool:
        """Whether requests for a URL's `path` are logged: `http_access_skip_paths` has paths and `/prefix*`."""
        return not any(
            path.startswith(skip[:-1]) if skip.endswith("*") else path == skip
            for skip in self.http_access_skip_paths
        )

    @property
    def browser_ice_servers(self) -> list[dict[str, Any]]:
        """What `/iceservers` answers: the configured servers, else a public one."""
        return [server.to_browser() for server in self.ice_servers or [IceServer(urls=[_PUBLIC_STUN])]]

    @property
    def audio_codecs(self) -> tuple[str, ...]:
        """The configured audio codecs that work on this machine, preferred first; never empty."""
        return tuple(name for name in self.codecs if name in usable_codecs())

    @property
    def telephone_event(self) -> bool:
        """Key presses as RFC 4733 events may be negotiated."""
        return "telephone_event" in self.codecs

    @property
    def records_root(self) -> Path | None:
        """Where call records go as files; None writes none."""
        return Path(self.callrecord.root) if isinstance(self.callrecord, LocalRecords) else None

    def not_effective(self) -> list[str]:
        """One sentence for each key that was set to something that has no effect, here or yet."""
        lines = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if value == field.get_default(call_default_factory=True):
                continue
            marks = [mark.why for mark in field.metadata if isinstance(mark, Later)]
            why = marks[0] if marks else getattr(value, "later", None)
            if why:
                lines.append(f"key {name} is not effective yet: {why}")
        if "codecs" in self.model_fields_set:
            missing = set(self.codecs) - usable_codecs() - {"telephone_event"}
            lines += [
                f"codec {name} is left out: {_INSTALL.get(name, 'it can not be used on this machine')}"
                for name in self.codecs
                if name in missing
            ]
        if self.tls_port is None:
            lines += [
                f"key {name} is not effective: there is no tls_port"
                for name in ("tls_cert_file", "tls_key_file")
                if getattr(self, name) is not None
            ]
        if self.recording.format != "wav":
            lines.append("key recording.format is not effective yet: recordings are 16-bit WAV files")
        return lines
