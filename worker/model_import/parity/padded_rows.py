"""Rows with padding, for the graph of a file that masks it: their tokens must have the states of rows without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from worker.model_import.found import KerasGraph, OnnxGraph, SavedGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Found
    from worker.model_import.selection.stack import Stack

#: The lengths of rows that may be padded, the longest two that fit, and the length that they get if any is allowed.
_LENGTHS, _WHOLE = (1, 2, 3, 5, 8), 13


class PaddedRow(NamedTuple):
    """A row with padding.

    Attributes:
        number: of the row without padding.
        ids: the source's, with padding; -1 is a vector of zeros.
        real: where its tokens are.
    """

    number: int
    ids: NDArray[np.int64]
    real: NDArray[np.bool_]


def padded_rows(found: Found, stack: Stack, rows: Sequence[NDArray[Any]]) -> list[PaddedRow]:
    """Rows with padding after their tokens and, if the graph isn't one of ONNX, before them.

    Args:
        found: the content of the file.
        stack: the layers.
        rows: the source's ids, without padding.

    Returns:
        None of them if the file doesn't mask padding, or nothing here can run its graph with its masks; of a file that
        doesn't show whether it does, if it reads rows of one length.
    """
    number = _padding(found, stack)
    whole = stack.length or _WHOLE
    if number is None:
        return []
    sides = ("after",) if isinstance(found.own, OnnxGraph) else ("after", "before")
    lengths = [length for length in _LENGTHS if length < whole][-2:]
    made = []
    for place, row in enumerate(rows):
        if len(row) not in lengths or number in row:
            continue
        for side in sides:
            real = np.arange(whole) < len(row) if side == "after" else np.arange(whole) >= whole - len(row)
            ids = np.full(whole, number, np.int64)
            ids[real] = row
            made.append(PaddedRow(place, ids, real))
    return made


def _padding(found: Found, stack: Stack) -> int | None:
    """The source's id of padding that it masks, -1 for a vector of zeros; None if nothing shows it."""
    if stack.computes_padding or stack.vectors:
        return None
    if isinstance(found.own, OnnxGraph):
        return 0
    if isinstance(found.own, SavedGraph):
        return None if stack.table is None or stack.length is None else 0
    # Keras 3 gives masks to other layers than Keras 1 and 2 did.
    if not isinstance(found.own, KerasGraph) or found.own.version.startswith(("1.", "2.")):
        return None
    if stack.table is not None or any(node.role == "onehot" for node in (found.graph or {}).values()):
        return 0
    return -1 if set(stack.hidden) == {0} else None
