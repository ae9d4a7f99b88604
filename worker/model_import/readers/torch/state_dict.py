"""PyTorch's state dicts: `.pt` and other pickles, and `.safetensors`."""

# Over 150 lines: two formats of one kind of file, and what a checkpoint has beside the model.

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Found, as_float32
from worker.model_import.limits import check_array, check_count
from worker.model_import.readers.torch.archive import load
from worker.model_import.readers.torch.character_models import read_character_model
from worker.model_import.readers.torch.laser import read_laser
from worker.model_import.readers.torch.modules import find_modules, is_recurrent
from worker.model_import.readers.torch.unpickling import Inert, OtherTensor, PickledArray, Tensor

if TYPE_CHECKING:
    from pathlib import Path

    from worker.model_import.found import Float32


def read_torch(path: Path) -> Found:
    """Read a file of `torch.save` or a pickle: a state dict or arrays, also within the dictionaries of a checkpoint.

    Character language models of Flair and Stanza, and LASER's encoders, are recognized. PyTorch isn't needed, and
    nothing in the file is run.

    Raises:
        ImportRefusedError: it can't be read, or contains a whole module.
    """
    loaded = load(path)
    if not isinstance(loaded.content, dict):
        name = _class_of(loaded.content)
        if isinstance(loaded.content, list | tuple):
            raise ImportRefusedError(
                f"it contains a {name}, not a dictionary of arrays; save the state dict in it alone"
            )
        raise ImportRefusedError(f"it contains a {name:.200}, not a dictionary of arrays. {_WHOLE_MODULE}")
    tensors, beside = tensors_of(loaded.content, (Tensor, OtherTensor, PickledArray))
    arrays = [loaded.array(name, tensor) for name, tensor in tensors.items()]
    found = (
        read_character_model(loaded.content, arrays)
        or read_laser(loaded.content, arrays)
        or find_modules(arrays, "PyTorch state dict")
    )
    found.left += beside
    module = "" if found.layers else _module_in(loaded.content)
    if module:
        found.why_empty = f"its arrays contain no LSTM and no GRU, and {module}. {_WHOLE_MODULE}"
    return found


def _module_in(loaded: Any) -> str:
    """The first whole module in the nested dictionaries and lists of a checkpoint, or in an object there; or ""."""
    waiting, seen = deque([("", loaded, 0)]), {id(loaded)}
    while waiting:
        path, value, depth = waiting.popleft()
        if isinstance(value, Inert) and _is_module(value.attributes):
            return f"{path:.200} is a {_class_of(value):.200}"
        held = value.attributes if isinstance(value, Inert) else value
        parts = held if isinstance(held, dict) else dict(enumerate(held))
        for name, part in parts.items():
            if isinstance(part, dict | list | tuple | Inert) and depth < _DEPTH and id(part) not in seen:
                seen.add(id(part))
                waiting.append((f"{path}.{name}".strip("."), part, depth + 1))
    return ""


def _is_module(attributes: dict[str, Any]) -> bool:
    """Whether these are a module's, and it has arrays; a loss function is one without."""
    return attributes.keys() >= _MODULE and any(attributes[name] for name in _MODULE)


def _class_of(value: Any) -> str:
    what = type(value)
    return f"{what.__module__}.{what.__qualname__}" if isinstance(value, Inert) else what.__name__


def tensors_of(loaded: Any, kind: type | tuple[type, ...]) -> tuple[dict[str, Any], list[str]]:
    """The tensors in the nested dictionaries and lists of a checkpoint, by name, and what was left beside the model.

    The dictionary with the recurrent modules is the state dict, and its tensors have their own names. All others, and
    all tensors if there are several such dictionaries (a model and its average), have the dictionary's name before
    their own. Left are the states of optimizers; and, outside of the state dict, numbers that a training has measured,
    such as losses.

    Args:
        loaded: what the file contains.
        kind: the class of tensors.
    """
    places: list[tuple[str, dict[str, Any]]] = []
    beside = []
    waiting, seen = deque([("", loaded, 0)]), {id(loaded)}
    while waiting:
        path, value, depth = waiting.popleft()
        if isinstance(value, dict) and "param_groups" in value and "state" in value:
            beside.append(f"{path or 'state'} (optimizer)")
            continue
        parts = value if isinstance(value, dict) else {at: part for at, part in enumerate(value) if not _is_fact(part)}
        tensors = {str(name): part for name, part in parts.items() if isinstance(part, kind)}
        if tensors:
            places.append((path, tensors))
            check_count("checkpoint", len(places))
        for name, part in parts.items():
            if isinstance(part, dict | list | tuple) and depth < _DEPTH and id(part) not in seen:
                seen.add(id(part))
                waiting.append((f"{path}.{name}".strip("."), part, depth + 1))
    models = [path for path, tensors in places if any(is_recurrent(name) for name in tensors)]
    found = {}
    for path, tensors in places:
        for name, tensor in tensors.items():
            full = f"{path}.{name}".strip(".")
            if models and path not in models and _is_measured(path, name, tensor, models):
                beside.append(f"{full} (beside the state dict)")
            else:
                found[name if [path] == models else full] = tensor
    return found, beside


def _is_measured(path: str, name: str, tensor: Any, models: list[str]) -> bool:
    """Whether a tensor outside of the state dicts is a number, or a list of numbers, that a training has measured."""
    if len(tensor.shape) > 1 or isinstance(tensor, OtherTensor):
        return False
    if path.partition(".")[0] == "callbacks":  # of Lightning
        return True
    if prod(tensor.shape) == 1:
        return _MEASURED_ONCE.fullmatch(name) is not None
    # A list of numbers may be a parameter, unless it is beside the model or with its like.
    is_known = any(f"{model}.".startswith(f"{path}." if path else "") for model in models)
    return _MEASURED.fullmatch(name) is not None and (is_known or _ABOUT_TRAINING.search(path) is not None)


def _is_fact(value: Any) -> bool:
    """Whether it is a tensor with one number: a list of them is the history of a training, not weights."""
    return isinstance(value, Tensor) and value.shape == ()


#: What a training measures, as the last word of a name, and words after it.
_MEASURE = (
    r"(loss(es)?|acc(s|uracy|uracies)?|error|metrics?|scores?|perplexity|ppl|f1|auc|bleu|wer|cer|rmse|mse|mae|precision"
    r"|recall|prec|epochs?|steps?|iter(ation)?s?|lr|learning_rate|times?)@?\d*"
    r"(_(min|max|best|avg|mean|history|list|curve|train|val|valid|test))*"
)
#: Names of lists of it, and of dictionaries with such; and of a single number, before which there may be any words.
_MEASURED = re.compile(
    r"((train(ing)?|val(id(ation)?)?|test|dev|eval|best|last|current|total|running|avg|mean|min|max|epoch|global)_?)*"
    + _MEASURE,
    re.IGNORECASE,
)
_MEASURED_ONCE = re.compile(rf"({_MEASURED.pattern})|(\w+_)?{_MEASURE}", re.IGNORECASE)
_ABOUT_TRAINING = re.compile(r"(^|[._])(metrics?|history|logs?|results?|stats?|loss(es)?|state)$", re.IGNORECASE)
#: The attributes by which the pickle of a module is recognised, and what to do with one.
_MODULE = {"_modules", "_parameters"}
_WHOLE_MODULE = (
    "A whole module needs its program, which isn't run here; if you trust the file, load it, save "
    "torch.save(model.state_dict(), …) and import that"
)
#: How deep the dictionaries and lists of a checkpoint may be nested.
_DEPTH = 6


def read_safetensors(path: Path) -> Found:
    """Read a `.safetensors` file.

    Raises:
        ImportRefusedError: it isn't such a file, or a tensor is too large.
    """
    try:
        with safe_open(path, "numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - the file is not a dict
            kinds = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
            others = file.metadata() or {}
    except Exception as error:  # safetensors raises its own type, OSError or ValueError by version
        raise ImportRefusedError(f"it can't be read as safetensors ({error}); get a fresh copy") from error

    def of(name: str, kind: str, shape: tuple[int, ...]) -> Array:
        check_array(name, shape, 4)
        other = "" if kind in ("F64", "F32", "F16", "BF16") else kind.lower()
        return Array(name, shape, lambda: _safetensor(path, name, kind, shape), other)

    stored = [of(name, kind, shape) for name, (kind, shape) in kinds.items()]
    # safetensors.torch.save_model stores tensors that share memory once, and the names of the others as metadata.
    shared = {name: same for name, same in others.items() if same in kinds and name not in kinds}
    check_count("metadata", len(shared))
    stored += [replace(of(same, *kinds[same]), name=name) for name, same in shared.items()]
    return find_modules(stored, "safetensors state dict")


def _safetensor(path: Path, name: str, kind: str, shape: tuple[int, ...]) -> Float32:
    if kind != "BF16":
        with safe_open(path, "numpy") as file:
            return as_float32(name, file.get_tensor(name))
    # NumPy has no bfloat16; its bits are a float32's upper half. The header was checked when the file was opened.
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        first, last = json.loads(file.read(header_bytes))[name]["data_offsets"]
        file.seek(8 + header_bytes + first)
        high = np.frombuffer(file.read(last - first), "<u2").astype(np.uint32) << 16
    return high.view(np.float32).reshape(shape)
