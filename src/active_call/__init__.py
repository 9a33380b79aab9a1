"""active-call: a voice-agent gateway that connects AI agents to telephones and browsers."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("active-call")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
