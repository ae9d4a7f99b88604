"""The numbers of the calls of models within a model, which TensorFlow's Keras 2 counts from 1.

There, call 0 of such a model is the one with its own input, which isn't in the file. Other versions count from 0.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from worker.model_import.readers.keras.configuration import MODELS, config_of, layer_configs, name_of
from worker.model_import.readers.keras.tensors import tensors_in, tensors_read

_DEPTH = 16


def number_calls(model: Mapping[str, Any], depth: int = 0) -> Mapping[str, Any]:
    """A model's configuration, in which the calls of all models within it are counted from 0.

    Args:
        model: {"class_name": …, "config": …}.
        depth: how many models are around it.
    """
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(layers, list) or depth > _DEPTH:
        return model
    made = [
        number_calls(one, depth + 1) if isinstance(one, dict) and one.get("class_name") in MODELS else one
        for one in layers
    ]
    if not isinstance(config, dict):
        return {**model, "config": made}
    later = _counted_from_1(model)
    if later:
        made = [
            {**one, "inbound_nodes": _lowered(one.get("inbound_nodes"), later)} if isinstance(one, dict) else one
            for one in made
        ]
        config = {**config, "output_layers": _lowered(config.get("output_layers"), later)}
    return {**model, "config": {**config, "layers": made}}


def _counted_from_1(model: Mapping[str, Any]) -> set[str]:
    """The models within a model whose calls are counted from 1: every call is read, so the numbers show it."""
    inner = {
        name_of(one): len(nodes)
        for one in layer_configs(model)
        if one.get("class_name") in MODELS and isinstance(nodes := one.get("inbound_nodes"), list) and nodes
    }
    if not inner:
        return set()
    given = [one.get("inbound_nodes") for one in layer_configs(model)]
    nodes = [node for each in given if isinstance(each, list) for node in each]
    read = {(one.layer, one.call) for node in nodes for one in tensors_read(node)}
    read |= {(one.layer, one.call) for one in tensors_in(config_of(model).get("output_layers"))}
    return {name for name, count in inner.items() if (name, count) in read and (name, 0) not in read}


def _lowered(value: Any, names: AbstractSet[str], depth: int = 0) -> Any:
    """A nested value whose tensors of these models have numbers of calls that are lower by one."""
    if depth > _DEPTH:
        return value
    if isinstance(value, dict):
        return {name: _lowered(part, names, depth + 1) for name, part in value.items()}
    if not isinstance(value, list):
        return value
    is_tensor = len(value) in (3, 4) and isinstance(value[0], str) and type(value[1]) is int
    if is_tensor and value[0] in names:
        return [value[0], value[1] - 1, *(_lowered(part, names, depth + 1) for part in value[2:])]
    return [_lowered(part, names, depth + 1) for part in value]
