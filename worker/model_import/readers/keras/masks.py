"""The masks that a Keras model gives to its recurrent layers: those of id 0 and of Masking can be imported.

Keras 3 writes the mask of an embedding as an operation of its own, ids != 0, and that of Masking as any(x != value).
"""

from collections.abc import Mapping
from dataclasses import replace

from worker.model_import.found import Found, Node
from worker.model_import.readers.keras.graph import Call


def hide_masked(found: Found, call: Call, calls: Mapping[str, Call]) -> None:
    """Note on a recurrent layer's node which tokens its mask hides, or on the layer why it can't be imported.

    Args:
        found: the model.
        call: a call of a recurrent layer with a mask.
        calls: all calls, by name.
    """
    graph = found.graph or {}
    node = graph[call.name]
    for name in call.masks:
        mask = calls.get(name)
        if mask is not None and mask.kind == "NotEqual" and mask.numbers == (0.0,) and _is_input(graph, mask.inputs):
            graph[call.name] = node = replace(node, masked=True)
        elif mask is not None and mask.kind == "Any" and (value := _masking_of(mask, calls)) is not None:
            graph[call.name] = node = replace(node, masks=value)
        elif node.target is not None:
            layer = found.layers[node.target]
            layer.problem = layer.problem or (
                f"the model computes its mask ({name}); only the mask of an embedding (mask_zero=True) or of Masking "
                "can be imported: build the model with one of these, and load the weights"
            )


def _masking_of(mask: Call, calls: Mapping[str, Call]) -> float | None:
    """The value of the Masking layer whose mask is computed; None if it is another."""
    compared = calls.get(mask.inputs[0]) if mask.inputs else None
    if compared is None or compared.kind != "NotEqual" or len(compared.numbers) != 1:
        return None
    values = [
        float(one.config.get("mask_value") or 0)
        for one in calls.values()
        if one.kind == "Masking" and one.inputs == compared.inputs
    ]
    return compared.numbers[0] if compared.numbers[0] in values else None


def _is_input(graph: Mapping[str, Node], inputs: tuple[str, ...]) -> bool:
    """Whether the first of the inputs is an input of the model, or passes one on."""
    name = inputs[0] if inputs else ""
    for _ in graph:
        node = graph.get(name)
        if node is None or node.role != "through" or not node.inputs:
            return node is not None and node.role == "input"
        name = node.inputs[0]
    return False
