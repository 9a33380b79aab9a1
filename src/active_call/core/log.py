"""Logging set-up: five levels as in the configuration, and an adapter that names the call."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

TRACE = 5
"""Below DEBUG: single SIP messages."""

LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}

_FORMAT = "%(asctime)s %(levelname)-5s %(name)s %(message)s"
_NOISY = ("httpx", "httpcore", "openai", "asyncio", "uvicorn.error", "uvicorn.access")


class CallLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the call's id before each message."""

    def __init__(self, logger: logging.Logger, call_id: str) -> None:
        super().__init__(logger, {"call_id": call_id})
        self._prefix = f"[{call_id}] "

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return self._prefix + str(msg), kwargs


def setup(level: str = "info", file: str | None = None) -> None:
    """Send log lines at `level` (a key of LEVELS) to `file`, or to standard error."""
    logging.addLevelName(TRACE, "TRACE")
    logging.addLevelName(logging.WARNING, "WARN")
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))
