"""Numbers of things for people: "1 shard", "2 shards"."""

from __future__ import annotations


def counted(number: float, one: str, more: str | None = None) -> str:
    """A number, and what it counts in the right form.

    Args:
        number: rounded to a whole one.
        one: the words after 1, such as "row" or "row is".
        more: the words after any other number; None for `one` with an s.

    Example:
        >>> counted(1, "row is", "rows are"), counted(2000, "shard")
        ('1 row is', '2,000 shards')
    """
    whole = round(number)
    return f"{whole:,} {one if whole == 1 else more or f'{one}s'}"
