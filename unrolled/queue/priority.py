"""A job's priority: its share of the workers, against those of other jobs of its offer."""

#: The priority of a job whose producer gives none, and the highest; the lowest is 1.
NORMAL_PRIORITY, HIGHEST_PRIORITY = 10, 1000


def priority_of(raw: bytes | None) -> int:
    """The priority that a ledger holds; the normal one if it has none, or one that no producer gives."""
    text = (raw or b"").decode("utf-8", "replace")
    given = int(text) if text.isdecimal() and len(text) <= len(str(HIGHEST_PRIORITY)) else 0
    return given if 1 <= given <= HIGHEST_PRIORITY else NORMAL_PRIORITY
