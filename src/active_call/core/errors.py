"""The error tree.

ActiveCallError
├── ConfigError             a file, flag or key the operator gave
├── ProtocolError
│   ├── LocalProtocolError  we asked our own stack for something it may not do now
│   └── RemoteProtocolError the peer sent something wrong; `status` is what to answer
├── MediaError              sockets, lanes, the media plane
├── ProviderError           a recogniser, voice or model; `retryable` says whether to try again
└── PlaybookError           a playbook's text; `line` points into the file

Errors are raised inside and become `error` events or responses only at the edges.
"""


class ActiveCallError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigError(ActiveCallError):
    """Something the operator gave is wrong; the text names file, line and key."""


class ProtocolError(ActiveCallError):
    """A protocol rule was broken."""


class LocalProtocolError(ProtocolError):
    """Our own code asked for something that the protocol's state does not allow."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; `status` is the response that says so."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class MediaError(ActiveCallError):
    """Sockets, lanes or the media plane failed."""


class ProviderError(ActiveCallError):
    """A speech or language provider failed."""

    def __init__(self, provider: str, text: str, *, retryable: bool = False) -> None:
        super().__init__(text)
        self.provider = provider
        self.retryable = retryable


class PlaybookError(ActiveCallError):
    """A playbook can't be used; `line` counts from 1 in its file."""

    def __init__(self, text: str, *, source: str = "", line: int | None = None) -> None:
        self.source = source
        self.line = line
        where = source + (f":{line}" if line is not None else "")
        super().__init__(f"{where}: {text}" if where else text)
