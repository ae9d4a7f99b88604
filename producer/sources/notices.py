"""Lines for people about inputs that are most likely not what was meant."""

from collections.abc import Sequence

from unrolled.errors import counted

#: Inputs that are named; the others are counted.
_NAMED = 3


def notices_of_empty(labels: Sequence[str]) -> list[str]:
    """A line about inputs without a row; none where each has rows.

    Args:
        labels: of those inputs.
    """
    if not labels:
        return []
    return [f"{counted(len(labels), 'input has', 'inputs have')} no rows: {named(labels)}"]


def notices_of_json(labels: Sequence[str]) -> list[str]:
    """A line about inputs whose lines are JSON objects, but are read as text; none where there is no such input.

    Args:
        labels: of those inputs.
    """
    if not labels:
        return []
    which, names = counted(len(labels), "input looks", "inputs look"), named(labels)
    return [f"{which} like JSON lines, but each whole line is read as text: {names}; --format jsonl reads the fields"]


def named(labels: Sequence[str]) -> str:
    """The first few of several inputs, and how many more there are."""
    more = f" and {len(labels) - _NAMED:,} more" if len(labels) > _NAMED else ""
    return f"{', '.join(labels[:_NAMED])}{more}"
