"""One log line per request, except for paths that the operator does not want to see."""

import logging
from collections.abc import Callable, Mapping

from active_call.core.urls import mask_urls

_log = logging.getLogger("http.access")

_FORWARDED = ("x-client-ip", "x-forwarded-for", "x-real-ip", "cf-connecting-ip")


class AccessLog:
    """Writes `client | method | status | length | ms | target`, for the paths that `wanted` accepts."""

    def __init__(self, wanted: Callable[[str], bool] = lambda path: True) -> None:
        self._wanted = wanted

    def log(
        self,
        peer: str,
        headers: Mapping[str, str],
        method: str,
        target: str,
        status: int,
        *,
        length: str = "-",
        ms: float = 0.0,
    ) -> None:
        """Write down an answered request. `target` is path and query as they came."""
        if not _log.isEnabledFor(logging.INFO) or not self._wanted(target.partition("?")[0]):
            return
        client = client_address(headers.get, peer)
        _log.info(
            "%s | %s | %d | %s | %.3f ms | %s",
            client,
            method,
            status,
            length,
            ms,
            mask_urls(f"://{target}")[3:],
        )


def client_address(header: Callable[[str], str | None], peer: str) -> str:
    """Who sent the request, for the log only: what a proxy says, else the peer of the connection."""
    for name in _FORWARDED:
        first = (header(name) or "").partition(",")[0].strip()
        if first and first.isprintable():
            return first[:64]
    return peer or "-"
