"""PyTorch's own nn.LSTM and nn.GRU with the arrays of a file."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from worker.model_import.found import Float32, Layer

_NAMES = {
    "w_ih": "weight_ih_l0",
    "w_hh": "weight_hh_l0",
    "b_ih": "bias_ih_l0",
    "b_hh": "bias_hh_l0",
    "w_hr": "weight_hr_l0",
}


def run(layer: Layer, inputs: Float32) -> Float32:
    """Run a layer, from (time, D) to (time, outputs), in the row's order."""
    one = layer.any_pass
    both = len(layer.passes) > 1
    alone_backward = layer.forward is None
    settings = {"batch_first": True, "bidirectional": both, "bias": "b_ih" in one.parts}
    if one.kind == "lstm":
        module = torch.nn.LSTM(one.inputs, one.units, proj_size=one.projection or 0, **settings)
    else:
        module = torch.nn.GRU(one.inputs, one.units, **settings)
    state = {_NAMES[part]: array for part, array in one.parts.items()}
    for back in layer.passes[1:]:
        state |= {f"{_NAMES[part]}_reverse": array for part, array in back.parts.items()}
    module.load_state_dict({name: torch.from_numpy(array.read().copy()) for name, array in state.items()})
    given = torch.from_numpy(np.ascontiguousarray(inputs[::-1] if alone_backward else inputs))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about projections, which don't run on oneDNN
        made = module(given[None], _first_states(layer))[0][0].numpy()
    return np.asarray(made[::-1] if alone_backward else made, np.float32)


def _first_states(layer: Layer) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor] | None:
    """The states that PyTorch is given: (passes, rows, units); None for zeros."""
    if not layer.any_pass.first:
        return None
    parts = zip(*(one.first for one in layer.passes), strict=True)
    given = [torch.from_numpy(np.stack([array.read() for array in part])[:, None].copy()) for part in parts]
    return (given[0], given[1]) if len(given) > 1 else given[0]
