"""The tensors that a call in a Keras configuration reads, as Keras 1 to 3 write them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.model_import.readers.keras.configuration import config_of

_DEPTH = 16
#: A larger whole number isn't a float.
_LARGEST = 1e300
#: How Keras 3 writes constant arrays.
_ARRAYS = ("__numpy__", "__tensor__")
#: Keywords whose tensors a layer doesn't compute with.
_ASIDE = ("mask", "initial_state", "training", "attention_mask", "query_mask", "value_mask", "key_mask")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that a call reads.

    Attributes:
        layer: name of the layer that computes it.
        call: number of that layer's call.
        output: number of that call's output.
        keywords: the keyword arguments that Keras 2 writes beside it.
    """

    layer: str
    call: int
    output: int
    keywords: Mapping[str, Any]


def tensors_read(node: Any) -> Iterator[Tensor]:
    """The inputs of a call. Keras 3 separates arguments and keywords; Keras 2's operators have a tensor in "y"."""
    if isinstance(node, dict):
        keywords = {name: value for name, value in keywords_of(node).items() if name not in _ASIDE}
        node = [node.get("args"), list(keywords.values())]
    return tensors_in(node)


def numbers_in(node: Any) -> Iterator[float]:
    """The numbers among the arguments of a call, as Keras 3 writes them."""
    given = node.get("args") if isinstance(node, dict) else None
    for value in given if isinstance(given, list) else ():
        if type(value) in (int, float) and abs(value) < _LARGEST:
            yield float(value)


def operands_in(node: Any) -> Iterator[NDArray[np.float64] | None]:
    """The arguments of an operation of Keras 3, None for a tensor; nothing if one of them is neither that nor numbers.

    An array of NumPy is written as nested lists.
    """
    given = node.get("args") if isinstance(node, dict) else None
    found: list[NDArray[np.float64] | None] = []
    for value in given if isinstance(given, list) else ():
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            found.append(None)
            continue
        is_array = isinstance(value, dict) and value.get("class_name") in _ARRAYS
        numbers = config_of(value).get("value") if is_array else value
        try:
            array = np.asarray(numbers, np.float64)
        except (TypeError, ValueError, OverflowError):
            return
        if not np.isfinite(array).all():  # nothing becomes NaN
            return
        found.append(array)
    yield from found


def keywords_of(node: Any) -> Mapping[str, Any]:
    """The keyword arguments of a call."""
    if isinstance(node, dict):
        keywords = node.get("kwargs")
        return keywords if isinstance(keywords, dict) else {}
    return next((tensor.keywords for tensor in tensors_in(node) if tensor.keywords), {})


def tensors_in(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """All tensors in a nested value."""
    if depth > _DEPTH:
        return
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            value = config_of(value).get("keras_history")
        else:
            value = list(value.values())
    if not isinstance(value, list):
        return
    if len(value) in (3, 4) and isinstance(value[0], str) and type(value[1]) is int and type(value[2]) is int:
        keywords = value[3] if len(value) == 4 and isinstance(value[3], dict) else {}
        yield Tensor(value[0], value[1], value[2], keywords)
        yield from tensors_in([part for name, part in keywords.items() if name not in _ASIDE], depth + 1)
        return
    for part in value:
        yield from tensors_in(part, depth + 1)
