"""Which codecs this machine can do, and the C libraries that some of them need.

Opus is free and almost everywhere: the system's library, which others keep free of holes, or else the copy that
the package `av` carries (a newer one may be 8 % faster). G.729 is only done by the system's libbcg729, whose
licence is the GPL: it is opened where somebody installed it.
"""

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from active_call.lanes.messages import RtpCodec

_ALWAYS: Final = ("pcmu", "pcma", "g722", "l16", "telephone-event", "cn")
_OPUS: Final = "libopus.so.0"
_G729: Final = "libbcg729.so.0"


def available_codecs() -> frozenset[RtpCodec]:
    """All codecs that a lane can be configured with here, to receive and to send."""
    found = set[RtpCodec](_ALWAYS)
    if opus_library() is not None:
        found.add("opus")
    if g729_library() is not None:
        found.add("g729")
    return frozenset(found)


@cache
def opus_library() -> str | None:
    """What to open for Opus: a name that the system's loader knows, or a path; None if there is nothing."""
    if _opens(_OPUS):
        return _OPUS
    package = find_spec("av")  # found, but not imported: FFmpeg is large
    if package is None or package.origin is None:
        return None
    paths = Path(package.origin).parent.with_name("av.libs").glob("libopus-*.so*")
    return next((str(path) for path in sorted(paths) if _opens(str(path))), None)


@cache
def g729_library() -> str | None:
    """What to open for G.729; None if libbcg729 is not installed."""
    return _G729 if _opens(_G729) else None


def _opens(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
