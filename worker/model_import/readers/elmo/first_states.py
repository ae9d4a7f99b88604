"""The states with which the rows of an ELMo begin.

From states of zero, an ELMo reads <S> before the words of a sentence and, backward, </S>, and drops what it computes
there. That is the same in every row, so it becomes the first state of each layer. Rows then need neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from worker.model_import.readers.elmo.options import cell_name
from worker.model_import.token_maps import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from worker.model_import.found import Array, Float32
    from worker.model_import.readers.elmo.options import ElmoOptions


def first_states(
    options: ElmoOptions, arrays: Mapping[str, Array], direction: int, vector: Float32
) -> list[tuple[Float32, Float32]]:
    """The state (S,) and the cell's state (U,) of each layer after one word.

    Args:
        options: the sizes.
        arrays: the arrays of the file.
        direction: 0 for forward, 1 for backward.
        vector: the word's vector, (D,).
    """
    made = []
    given = vector.astype(np.float64)
    for layer in range(options.layers):
        name = cell_name(direction, layer)
        kernel, bias = (_exact(arrays, f"{name}/{part}") for part in ("W_0", "B"))
        # The state is zero, so it adds nothing, and there is nothing to forget.
        entrance, candidate, _, exit_ = np.split(given @ kernel[: len(given)] + bias, 4)
        cell = _clipped(_sigmoid(entrance) * np.tanh(candidate), options.cell_clip)
        state = _sigmoid(exit_) * np.tanh(cell)
        if options.is_projected:
            state = _clipped(state @ _exact(arrays, f"{name}/W_P_0"), options.projection_clip)
        made.append((state.astype(np.float32), cell.astype(np.float32)))
        given = state + given if layer and options.residual else state
    return made


def _exact(arrays: Mapping[str, Array], name: str) -> NDArray[np.float64]:
    return arrays[name].read().astype(np.float64)


_sigmoid = ACTIVATIONS["sigmoid"]


def _clipped(state: NDArray[np.float64], bound: float | None) -> NDArray[np.float64]:
    return state if bound is None else np.asarray(np.clip(state, -bound, bound))
