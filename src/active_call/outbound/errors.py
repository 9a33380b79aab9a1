"""Why a URL brought nothing. Texts never hold its secrets."""

from active_call.core.errors import ActiveCallError


class GuardError(ActiveCallError):
    """A URL may not be used."""


class FetchError(ActiveCallError):
    """The other side of a URL failed us; `status` is that of its response, if there was one."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status
