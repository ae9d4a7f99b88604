"""Functions of TensorFlow that Keras 2 writes as layers (TFOpLambda), as the operations of Keras 3 that they are."""

from collections.abc import Mapping
from typing import Any

from worker.model_import.readers.keras.configuration import MODELS, config_of
from worker.model_import.readers.keras.tensors import CONSTANT

_KIND = "TFOpLambda"
_DEPTH = 16
#: The operations, with the names of further arguments.
_ARGUMENTS = {
    "math.tanh": ("Tanh",), "math.sigmoid": ("Sigmoid",), "nn.relu": ("Relu",), "nn.softplus": ("Softplus",),
    "__operators__.add": ("Add", "y"), "math.add": ("Add", "y"), "math.subtract": ("Subtract", "y"),
    "math.multiply": ("Multiply", "y"), "math.truediv": ("TrueDivide", "y"), "math.divide": ("Divide", "y"),
    "math.not_equal": ("NotEqual", "y"), "linalg.matmul": ("Matmul", "b"),
}  # fmt: skip
#: Operations that are in another module of Keras than the others.
_MODULES = {"Cast": "core", "OneHot": "nn", "Sigmoid": "nn", "Relu": "nn", "Softplus": "nn"}
#: Arguments of "one_hot" that change nothing if they have these values.
_PLAIN_ONE_HOT = {"on_value": (None, 1), "off_value": (None, 0), "axis": (None, -1), "dtype": (None, "float32")}


def with_operations(model: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    """A model's configuration, in which functions are operations of Keras 3 where it has them."""
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(layers, list) or depth > _DEPTH:
        return model
    made = []
    for layer in layers:
        nodes = layer.get("inbound_nodes") if isinstance(layer, dict) else None
        if not isinstance(layer, dict):
            made.append(layer)
        elif layer.get("class_name") in MODELS:
            made.append(with_operations(layer, depth + 1))
        elif layer.get("class_name") == _KIND and isinstance(nodes, list) and len(nodes) == 1:
            made.append(_as_operation(layer, nodes[0]))
        else:
            made.append(layer)
    return {**model, "config": {**config, "layers": made} if isinstance(config, dict) else made}


def _as_operation(layer: Mapping[str, Any], node: Any) -> Mapping[str, Any]:
    """The operation of a function, or the function itself.

    Args:
        layer: its configuration.
        node: its call, as Keras 2 writes it: [name, 0, 0, keywords].
    """
    if not isinstance(node, list) or len(node) not in (3, 4) or not isinstance(node[0], str):
        return layer
    function, keywords = str(config_of(layer).get("function")), node[3] if len(node) == 4 else {}
    keywords = {name: value for name, value in keywords.items() if name != "name"} if isinstance(keywords, dict) else {}
    value = node[2] if node[0] == CONSTANT else _tensor(node[:3])
    kind, config = "", dict[str, Any]()
    others = [_operand(keywords[one]) for one in ("y", "b") if one in keywords]
    if function == "cast" and keywords.keys() == {"dtype"}:
        kind, config = "Cast", {"dtype": keywords["dtype"]}
    elif function == "one_hot" and _is_plain(keywords):
        kind, config = "OneHot", {"num_classes": keywords["depth"], "axis": -1, "dtype": "float32", "sparse": False}
    elif keywords.keys() == {*_ARGUMENTS.get(function, ("", "", ""))[1:]}:
        kind = _ARGUMENTS[function][0]
    if not kind:
        return layer
    made: dict[str, Any] = {
        "module": f"keras.src.ops.{_MODULES.get(kind, 'numpy')}",
        "class_name": kind,
        "registered_name": kind,
    }
    made |= {"config": {"name": config_of(layer).get("name"), **config}}
    made |= {"inbound_nodes": [{"args": [value, *others], "kwargs": {}}]}
    return {name: value for name, value in layer.items() if name == "name"} | made


def _is_plain(keywords: Mapping[str, Any]) -> bool:
    """Whether arguments of "one_hot" make zeros and a one along a new last axis."""
    others = {name: value for name, value in keywords.items() if name != "depth"}
    known = type(keywords.get("depth")) is int and others.keys() <= _PLAIN_ONE_HOT.keys()
    return known and all(value in _PLAIN_ONE_HOT[name] for name, value in others.items())


def _operand(value: Any) -> Any:
    is_tensor = isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)
    return _tensor(value) if is_tensor else value


def _tensor(history: list[Any]) -> dict[str, Any]:
    config = {"shape": [None, None], "dtype": "float32", "keras_history": history}  # Keras reads the history alone
    return {"class_name": "__keras_tensor__", "config": config}
