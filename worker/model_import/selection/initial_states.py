"""Layers that start from states which rows bring, as a decoder starts from an encoder's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from worker.model_import.errors import ImportRefusedError

if TYPE_CHECKING:
    from worker.model_import.found import Float32, Found, Layer
    from worker.model_import.selection.stack import Stack

#: In the place of a tensor's name: the source starts from zeros, beside a state that rows bring.
ZEROS = " zeros"
#: Why a layer can't be imported without the user's statement that rows bring its states.
STARTS_ELSEWHERE = (
    "it starts from another layer's state, or from one that the model computes or is given. If each row is to bring "
    "this state: --initial-states"
)
#: The remark on a layer whose states rows don't bring.
STARTS_FROM_INPUT = (
    "its initial state is an input of the model; here every row starts from zero. If each row is to bring this state: "
    "--initial-states"
)


def bring_states(found: Found) -> None:
    """Mark the layers whose states rows bring: those whose graph shows such states, or all layers of weights alone.

    Raises:
        ImportRefusedError: no layer starts from such a state.
    """
    alone = found.weights_alone
    chosen = [layer for layer in found.layers.values() if alone or layer.starts]
    if not chosen:
        raise ImportRefusedError(
            "--initial-states: no layer starts from a state that isn't a constant; leave it out, and rows start as "
            "they do in the file"
        )
    for layer in chosen:
        layer.given_state = True
        layer.problem = None if layer.problem == STARTS_ELSEWHERE else layer.problem
        layer.notes = [note for note in layer.notes if note != STARTS_FROM_INPUT]


def starts_of(layers: list[Layer]) -> list[tuple[str, int]]:
    """The tensors of the states that rows bring, in their order in a row.

    Their names are "" where the file doesn't show one, and ZEROS where the source's state is zero.
    """
    return [
        start
        for layer in layers
        if layer.given_state
        for start in (layer.starts or [("", 0)] * sum(2 if one.kind == "lstm" else 1 for one in layer.passes))
    ]


def states_by_tensor(stack: Stack, begun: Float32 | None) -> dict[tuple[str, int], Float32]:
    """The states that rows bring, (rows, width), by the tensors that they take the place of; empty if there are none.

    Args:
        stack: the layers.
        begun: all states of each row, (rows, numbers); None if rows bring none.
    """
    if begun is None:
        return {}
    widths = [
        width
        for layer in stack.layers
        if layer.given_state
        for one in layer.passes
        for width in (one.projection or one.units, one.units)[: 2 if one.kind == "lstm" else 1]
    ]
    parts = np.split(begun, np.cumsum(widths)[:-1], axis=1)
    pairs = zip(starts_of(stack.layers), parts, strict=True)
    return {start: part for start, part in pairs if start[0] != ZEROS}
