"""The arguments of calls in a Keras model: which of them change the result of a layer, and why that is refused."""

from collections.abc import Mapping
from typing import Any

from worker.model_import.readers.keras.graph import Call
from worker.model_import.readers.keras.tensors import tensors_in

#: Arguments of a layer's class that make its result random in training.
_RANDOM = ("dropout", "rate", "recurrent_dropout", "stddev")
_WITHOUT = "build the model without it, and load the weights"


def why_called(call: Call, known: tuple[str, ...] = ()) -> str:
    """Why a call's arguments make its layer compute something else than the layer alone; "" if they don't.

    Args:
        call: the call.
        known: names of further arguments that are read elsewhere.
    """
    for name, value in call.arguments.items():
        if name == "training":
            if value is not False and (call.kind == "BatchNormalization" or _is_random(call.config)):
                return f"it is called with training={value!r:.20}, as in training, not as in use; {_WITHOUT}"
        elif name == "mask" and any(True for _ in tensors_in([value])):
            continue  # only recurrent layers compute with masks, and `hide_masked` reads theirs
        elif name == "mask":
            return (
                "it is called with a constant mask; only the mask of an embedding (mask_zero=True) or of Masking can "
                "be imported: build the model with one of these, and load the weights"
            )
        elif name not in known:
            return f"it is called with the argument {name:.40}, which can't be imported; {_WITHOUT}"
    return ""


def _is_random(config: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether a layer, or a layer or cell within it, has noise or dropout that training turns on."""
    if depth > 8:
        return True
    inner = [one for value in config.values() for one in (value if isinstance(value, list) else [value])]
    return any(config.get(name) for name in _RANDOM) or any(
        _is_random(one, depth + 1) for one in inner if isinstance(one, dict)
    )
