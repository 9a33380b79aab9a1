"""What counts as a number."""

import pytest

from active_call.core.digits import is_number


@pytest.mark.parametrize("text", ["0", "7", "007", "12345"])
def test_numbers(text: str) -> None:
    assert is_number(text, 5)


@pytest.mark.parametrize("text", ["", "123456", "-1", "+1", " 1", "1.0", "1_0", "\u0663", "\u00b2"])
def test_no_numbers(text: str) -> None:
    assert not is_number(text, 5)
