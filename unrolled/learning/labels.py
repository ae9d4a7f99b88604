"""Labels by id, as numbers that models learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from unrolled.errors import counted


def numbered(given: Any, classes: tuple[str, ...]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Labels by id, with a number in place of each text.

    Args:
        given: a mapping from id to label, or a table of two columns (ids and labels); a label is a number or a text, or
            a sequence of one kind.
        classes: the texts, in the order of their numbers; empty for all that occur, sorted.

    Returns:
        labels: the mapping that was given if its labels are numbers.
        classes: empty if the labels are numbers.

    Raises:
        ValueError: a table has another number of columns, or a label isn't in `classes`.
    """
    labels = given if isinstance(given, Mapping) else _mapping(given)
    first: Any = next((label for label in labels.values() if not _is_many(label) or len(label)), None)
    if not isinstance(first[0] if _is_many(first) else first, str):
        return labels, classes
    if not classes:
        texts = {text for label in labels.values() for text in (label if _is_many(label) else [label])}
        classes = tuple(sorted(texts))
    numbers = {text: number for number, text in enumerate(classes)}
    try:
        found = {
            name: [numbers[text] for text in label] if _is_many(label) else numbers[label]
            for name, label in labels.items()
        }
    except KeyError as error:
        raise ValueError(f"label {error} is none of the {counted(len(classes), 'class', 'classes')}") from None
    return found, classes


def _is_many(label: Any) -> bool:
    """Whether there is a label for each token."""
    return isinstance(label, np.ndarray | list | tuple)


def _mapping(table: Any) -> dict[str, Any]:
    """Labels by id, from a table of two columns; a null is no label."""
    found = pa.table(table)
    if found.num_columns != 2:  # noqa: PLR2004 - ids and labels
        raise ValueError(f"labels have the columns {', '.join(found.column_names)}; give two: ids and labels")
    pairs = zip(found.column(0).to_pylist(), found.column(1).to_pylist(), strict=True)
    return {name: label for name, label in pairs if label is not None}
