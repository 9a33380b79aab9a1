"""Real components, which CI must have and others may lack."""

import os

import pytest


def need(present: bool, what: str) -> None:
    """Skip the test without a component; in CI fail it."""
    if not present and os.environ.get("CI"):
        pytest.fail(f"{what} is missing; `make system` installs it")
    if not present:
        pytest.skip(f"{what} is not installed; `make system` installs it")
