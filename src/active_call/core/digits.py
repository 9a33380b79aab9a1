"""Numbers in what peers write."""


def is_number(text: str, digits: int) -> bool:
    """Whether `text` is one to so many ASCII digits. `int` takes more than that, and long for millions."""
    return len(text) <= digits and text.isascii() and text.isdigit()
