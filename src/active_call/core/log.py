"""Logging set-up: five levels as in the configuration, and an adapter that names the call.

Ids and texts of strangers stand in many lines; none of them can begin another line or be taken for a format.
"""

import logging
import sys
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

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            text = str(msg) if args else str(msg).replace("%", "%%")
            self.logger.log(level, "%s" + text, self._prefix, *args, **kwargs)


class _OneLine(logging.Formatter):
    """Shows control characters of a message as escapes; a traceback follows as it is."""

    _ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127)}

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).translate(self._ESCAPES)


def setup(level: str = "info", file: str | None = None) -> None:
    """Send log lines at `level` (a key of LEVELS) to `file`, or to standard error."""
    logging.addLevelName(TRACE, "TRACE")
    logging.addLevelName(logging.WARNING, "WARN")
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(_FORMAT))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))
