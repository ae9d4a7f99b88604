"""The masks that a Keras model gives to its recurrent layers: those of id 0 and of Masking can be imported.

Keras 3 writes the mask of an embedding as an operation of its own, ids != 0, and that of Masking as any(x != value).
`Add` joins the masks of its inputs with "or": a layer's output and its input have one mask, so the result is that mask.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from worker.model_import.found import Found, Node
from worker.model_import.readers.keras.graph import MASK, Call
from worker.model_import.readers.keras.recurrent import is_recurrent

_JOINS = {"LogicalOr", "LogicalAnd"}


class Mask(NamedTuple):
    """A mask that hides tokens.

    Attributes:
        source: name of the call whose ids or vectors are compared.
        value: the vectors that are hidden have only this number; None for a mask that hides id 0.
    """

    source: str
    value: float | None


def find_masks(graph: Mapping[str, Node], calls: Iterable[Call]) -> dict[str, Mask]:
    """The masks that can be imported, by the names of the calls that compute them.

    Args:
        graph: the model's nodes.
        calls: all calls, each after those that it reads.
    """
    by_name = {call.name: call for call in calls}
    maskings = {
        (one.inputs[:1], float(one.config.get("mask_value") or 0)) for one in by_name.values() if one.kind == "Masking"
    }
    masks: dict[str, Mask] = {}
    for name, call in by_name.items():
        if call.kind == "NotEqual" and call.numbers == (0.0,):
            source = input_of(graph, call.inputs)
            if source is not None:
                masks[name] = Mask(source, None)
        elif call.kind == "Any" and call.inputs:
            compared = by_name.get(call.inputs[0])
            if compared is None or compared.kind != "NotEqual" or len(compared.numbers) != 1:
                continue
            hides = (compared.inputs[:1], compared.numbers[0]) in maskings
            if hides and not _reads_states(graph, compared.inputs[0]):
                masks[name] = Mask(compared.inputs[0], compared.numbers[0])
        elif call.kind in _JOINS and call.inputs:
            joined = {masks.get(source) for source in call.inputs}
            mask = joined.pop()
            if not joined and mask is not None:
                masks[name] = mask
    return masks


def calls_of_masks(calls: Iterable[Call], masks: Mapping[str, Mask]) -> set[str]:
    """The names of the calls that compute the masks of recurrent layers and of what passes a mask on.

    Args:
        calls: all calls, each after those that it reads.
        masks: from `find_masks`.
    """
    found: set[str] = set()
    for call in reversed([*calls]):
        if call.kind == MASK or is_recurrent(call.kind):
            found.update(name for name in call.masks if name in masks)
        elif call.name in found and call.kind in {*_JOINS, "Any"}:
            found.update(call.inputs)
    return found


def hide_masked(found: Found, call: Call, masks: Mapping[str, Mask]) -> None:
    """Note on the node of a call with a mask which tokens it hides, or on layers why they can't be imported.

    Args:
        found: the model.
        call: a call of a recurrent layer, or of the kind MASK, with a mask.
        masks: from `find_masks`.
    """
    graph = found.graph or {}
    node = graph[call.name]
    for name in call.masks:
        mask = masks.get(name)
        if mask is not None and call.kind == MASK and mask.value is not None:
            continue  # that of Masking, whose own node shows it
        if mask is not None:
            graph[call.name] = node = replace(node, masked=node.masked or mask.value is None, masks=mask.value)
            continue
        for target in [node.target] if node.target is not None else _layers_above(graph, call.name):
            layer = found.layers[target]
            layer.problem = layer.problem or (
                f"the model computes its mask ({name}), as Keras does where layers are combined, such as by "
                "Concatenate; only the mask of an embedding (mask_zero=True) or of Masking of its vectors can be "
                "imported: if nothing is combined below this layer, build the model with one of these, and load the "
                "weights"
            )


def _layers_above(graph: Mapping[str, Node], name: str) -> list[str]:
    """The names of the recurrent layers that read a node, directly or not, without other layers between."""
    reached, found = {name}, list[str]()
    for node in graph.values():  # each follows what it reads
        if not reached.isdisjoint(node.inputs):
            if node.role == "layer" and node.target is not None:
                found.append(node.target)
            else:
                reached.add(node.name)
    return found


def _reads_states(graph: Mapping[str, Node], name: str) -> bool:
    """Whether a node is a recurrent layer, or reads one."""
    reached, waiting = {name}, [name]
    while waiting:
        node = graph.get(waiting.pop())
        if node is not None and node.role == "layer":
            return True
        new = set(node.inputs if node else ()) - reached
        reached |= new
        waiting += new
    return False


def input_of(graph: Mapping[str, Node], inputs: tuple[str, ...]) -> str | None:
    """The input of the model that the first of these names is, or passes on; None if it is something else."""
    name = inputs[0] if inputs else ""
    for _ in graph:
        node = graph.get(name)
        if node is None or node.role != "through" or not node.inputs:
            return name if node is not None and node.role == "input" else None
        name = node.inputs[0]
    return None
