"""What the end-to-end tests share: real components, which CI must have and others may lack."""

import os
import shutil

import pytest

from tests.e2e import baresip, chromium


def _need(present: bool, what: str) -> None:
    if not present and os.environ.get("CI"):
        pytest.fail(f"{what} is missing; `make system` installs it")
    if not present:
        pytest.skip(f"{what} is not installed; `make system` installs it")


@pytest.fixture
def needs_sipp() -> None:
    """Debian's sip-tester."""
    _need(shutil.which("sipp") is not None, "SIPp (sip-tester)")


@pytest.fixture
def needs_baresip() -> None:
    """Debian's baresip-core."""
    _need(baresip.installed(), "baresip (baresip-core)")


@pytest.fixture
def needs_chromium() -> None:
    """Debian's chromium."""
    _need(chromium.installed(), "Chromium (chromium)")


@pytest.fixture
def needs_local_speech() -> None:
    """The extra that brings a voice and a recogniser."""
    try:
        import espeakng_loader  # noqa: F401
        import pocketsphinx  # noqa: F401
    except ImportError:
        _need(False, "the `local` extra")
