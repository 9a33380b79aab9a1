"""What the end-to-end tests share: real components, which CI must have and others may lack."""

import shutil

import pytest

from tests.e2e import baresip, chromium
from tests.needs import need


@pytest.fixture
def needs_sipp() -> None:
    """Debian's sip-tester."""
    need(shutil.which("sipp") is not None, "SIPp (sip-tester)")


@pytest.fixture
def needs_baresip() -> None:
    """Debian's baresip-core."""
    need(baresip.installed(), "baresip (baresip-core)")


@pytest.fixture
def needs_chromium() -> None:
    """Debian's chromium."""
    need(chromium.installed(), "Chromium (chromium)")


@pytest.fixture
def needs_local_speech() -> None:
    """The extra that brings a voice and a recogniser."""
    try:
        import espeakng_loader  # noqa: F401
        import pocketsphinx  # noqa: F401
    except ImportError:
        need(False, "the `local` extra")
