"""Keras's JSON configurations of models and layers, of any version."""

import json
from collections.abc import Mapping
from typing import Any

from worker.model_import.errors import ImportRefusedError
from worker.model_import.limits import check_count

MODELS = ("Sequential", "Functional", "Model")
#: The packages in which the classes of Keras are.
_OWN = ("keras", "tf_keras", "tensorflow", "builtins")


#: The types that Keras's layers compute in with fewer digits than float32.
_LOW = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def json_object(text: str | bytes, place: str) -> dict[str, Any]:
    """Parse a JSON object. Tuples, which TensorFlow writes as objects, become lists, as other files have them.

    Raises:
        ImportRefusedError: the text is not JSON, or not an object; the error names the place.
    """
    try:
        found = json.loads(text, object_hook=_list_of_tuple)
    except (ValueError, RecursionError) as error:
        raise ImportRefusedError(f"{place} is not JSON ({error}); get a fresh copy of the file") from error
    if not isinstance(found, dict):
        raise ImportRefusedError(f"{place} contains a {type(found).__name__}; it must contain an object")
    return found


def _list_of_tuple(found: dict[str, Any]) -> Any:
    items = found.get("items")
    return items if found.get("class_name") == "__tuple__" and isinstance(items, list) else found


def config_of(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a layer's class; empty if the file has something else there."""
    config = layer.get("config")
    return config if isinstance(config, dict) else {}


def inner_of(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The configuration of a layer or cell within a layer's arguments; empty if there is none."""
    inner = config.get(name)
    return inner if isinstance(inner, dict) else {}


def precision_of(config: Mapping[str, Any]) -> str:
    """The type that a layer, or one within it, computes in, if it has fewer digits than float32; else ""."""
    given = _dtype_of(config)
    inner = (config_of(inner_of(config, name)) for name in ("layer", "cell"))
    return str(given) if given in _LOW else next((found for one in inner if one and (found := precision_of(one))), "")


def is_of_float64(config: Mapping[str, Any]) -> bool:
    """Whether a layer computes in float64."""
    return bool(_dtype_of(config) == "float64")


def _dtype_of(config: Mapping[str, Any]) -> Any:
    """The type, or the name of the policy, of a layer's arguments; None if they have none."""
    return config_of(inner_of(config, "dtype")).get("name") or config.get("dtype")


def quantization_of(config: Mapping[str, Any]) -> str:
    """The type that a layer's weights are quantized to ("int8"), or ""; `model.quantize` changes the layer's dtype."""
    mode = config_of(inner_of(config, "dtype")).get("mode")
    return "" if mode is None else str(mode)[:20]


def layer_configs(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The configurations of a model's layers, in the model's order.

    Raises:
        ImportRefusedError: there are too many.
    """
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config  # Keras 1, 2: a Sequential's is a list
    if not isinstance(layers, list):
        return []
    check_count("the model's configuration", len(layers))
    return [layer for layer in layers if isinstance(layer, dict)]


def kind_of(layer: Mapping[str, Any]) -> str:
    """The name of a layer's or model's class; after the name of its package, if that isn't Keras."""
    kind = str(layer.get("class_name"))
    package, _, registered = str(layer.get("registered_name") or "").partition(">")
    if registered:
        return f"{package}>{kind}"
    if package and layer.get("module", "") is None:  # as Keras writes a class of a script or notebook
        return f"__main__.{kind}"
    module = str(layer.get("module") or "keras")
    return kind if module.partition(".")[0] in _OWN else f"{module}.{kind}"


def is_operation(layer: Mapping[str, Any]) -> bool:
    """Whether it is an operation and not a layer; in HDF5 only operations have no configuration but a name."""
    module = str(layer.get("module") or "").split(".")
    if layer.get("class_name") == "TFOpLambda":
        return True
    if module != [""]:
        return module[0] == "keras" and "layers" not in module
    return config_of(layer).keys() == {"name"}


def name_of(layer: Mapping[str, Any]) -> str:
    """A layer's name."""
    return str(layer.get("name") or config_of(layer).get("name") or layer.get("class_name"))
