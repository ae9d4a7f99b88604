"""A model's recurrent layers in the frameworks they come from: what an import is held against.

Nothing of the file's code or graph runs: each layer is made here, by the framework's own class, and given the arrays as
they lie in the file. So gate orders, transposes and biases are the framework's, not this program's.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from worker.model_import.chain.chain import Chain
    from worker.model_import.found import Float32, Layer

    #: (time, inputs) to (time, outputs), in the framework's own order of time.
    Run = Callable[[Layer, Float32], Float32]

#: Layouts, what computes them, and the package that is needed.
_FRAMEWORKS = {"keras": ("Keras", "keras"), "torch": ("PyTorch", "torch"), "onnx": ("ONNX Runtime", "onnxruntime")}


def find_original(chain: Chain) -> tuple[str, Run | None, str]:
    """The framework's name and what runs one of its layers; None and the reason where nothing can."""
    layouts = {one.layout for layer in chain.layers for one in (layer.forward, layer.backward) if one is not None}
    layout = layouts.pop()
    if layouts or layout not in _FRAMEWORKS:
        return layout, None, "no framework that runs today reads this layout"
    name, package = _FRAMEWORKS[layout]
    if find_spec(package) is None:
        return name, None, f"{package} isn't installed"
    if layout == "keras":
        from worker.model_import.parity.originals.keras_layers import run  # noqa: PLC0415 - only the framework that is used is loaded
    elif layout == "torch":
        from worker.model_import.parity.originals.torch_modules import run  # noqa: PLC0415 - as above
    else:
        from worker.model_import.parity.originals.onnx_nodes import run  # noqa: PLC0415 - as above
    return name, run, ""


def run_chain(chain: Chain, run: Run, rows: Sequence[NDArray[np.int32]], ids_from: int) -> list[Float32]:
    """The last layer's outputs of each row, float32 (time, outputs), in the order of the row's tokens.

    Args:
        chain: what was taken.
        run: from `find_original`.
        rows: our ids, each in 1..vocab_size.
        ids_from: what turns them into the source's.
    """
    table = None if chain.table is None else chain.table.array.read()
    width = chain.layers[0].inputs
    outputs = []
    for row in rows:
        ids = row.astype(np.int64) - (1 - ids_from)
        state = np.eye(width, dtype=np.float32)[ids] if table is None else table[ids]
        turned = False
        for layer, residual in zip(chain.layers, chain.residual, strict=True):
            made = run(layer, state)
            state = made + state if residual else made
            turned ^= layer.reversed
        outputs.append(state[::-1] if turned else state)
    return outputs
