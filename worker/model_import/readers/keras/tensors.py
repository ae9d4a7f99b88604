"""The tensors that a call in a Keras configuration reads, as Keras 1 to 3 write them."""

# Over 150 lines: what a call reads, in the words of three versions.

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.model_import.readers.keras.configuration import config_of

_DEPTH = 16
#: How Keras 2 writes that the first argument of a call is a constant: [CONSTANT, -1, value, keywords].
CONSTANT = "_CONSTANT_VALUE"
#: A larger whole number isn't a float.
_LARGEST = 1e300
#: How Keras 3 writes constant arrays.
_ARRAYS = ("__numpy__", "__tensor__")
#: The arguments of recurrent layers after the first, as Keras 3 orders them; Keras 1 and 2 write them by name.
_IN_ORDER = ("initial_state", "mask", "training")
#: The names of a layer's first argument.
_FIRST = ("inputs", "sequences")
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
        array = constant(value)
        if array is None:
            return
        found.append(array)
    yield from found


def constant(value: Any) -> NDArray[np.float64] | None:
    """A constant array or number that float32 can hold, with the digits that Keras computes with; else None.

    Beside vectors of float32, an array of float64 makes Keras compute in float64, and a number of Python doesn't.
    """
    is_array = isinstance(value, dict) and value.get("class_name") in _ARRAYS
    try:
        array = np.asarray(config_of(value).get("value") if is_array else value)
        if array.dtype == object and all(type(one) in (bool, int, float) for one in array.flat):
            array = array.astype(np.float64)  # integers of more than 64 bits
    except (TypeError, ValueError, OverflowError):
        return None
    is_sound = array.dtype.kind in "fiub" and (np.abs(array.astype(np.float64)) <= np.finfo(np.float32).max).all()
    if not is_sound:
        return None  # nothing becomes infinite or NaN
    exact = array.astype(np.float64)
    return exact if is_array and config_of(value).get("dtype") == "float64" else exact.astype(np.float32).astype(float)


def arguments_of(node: Any) -> dict[str, Any]:
    """The arguments of a layer's call by name, without those that are None and without the tensors that it reads first.

    Keras 3 writes some by their place; those of recurrent layers have names.
    """
    given = node.get("args") if isinstance(node, dict) else None
    first, *more = given if isinstance(given, list) and given else [None]
    found = {} if first is None or any(True for _ in tensors_in([first])) else {_FIRST[0]: first}
    names = (*_IN_ORDER, *(f"argument {number}" for number in range(len(_IN_ORDER) + 2, len(more) + 2)))
    found |= dict(zip(names, more, strict=False))
    for name, value in keywords_of(node).items():
        if name not in _FIRST or not any(True for _ in tensors_in([value])):
            found[name] = value
    return {name: value for name, value in found.items() if not _is_none(value)}


def _is_none(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(one is None for one in value))


def constants_in(value: Any, depth: int = 0) -> list[NDArray[np.float64]] | None:
    """The constant matrices in a nested value, in their order; None if anything else is in it.

    Keras 2 writes them as nested lists.
    """
    array = constant(value)
    if array is not None and array.ndim in (2, 3):
        return [array] if array.ndim == 2 else list(array)
    if array is not None or not isinstance(value, list) or depth > _DEPTH:
        return None
    parts = [constants_in(part, depth + 1) for part in value]
    known = [part for part in parts if part is not None]
    return [one for part in known for one in part] if len(known) == len(parts) else None


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
        if value[0] != CONSTANT:
            yield Tensor(value[0], value[1], value[2], keywords)
        yield from tensors_in([part for name, part in keywords.items() if name not in _ASIDE], depth + 1)
        return
    for part in value:
        yield from tensors_in(part, depth + 1)
