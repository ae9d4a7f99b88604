"""The order of names with numbers in them."""

import re


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key that compares runs of digits as numbers: lstm_2 sorts before lstm_10."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part)
