"""The objects of a TensorFlow 2 checkpoint: which variable each attribute of an object is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Attributes that have a model's variables again.
_OPTIMIZER = re.compile("optimizer", re.IGNORECASE)

#: The key of the objects in a checkpoint.
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def read_object_graph(reader: Any) -> Any:
    """The objects, a TrackableObjectGraph; its first node is the saved object.

    Args:
        reader: TensorFlow's reader of a checkpoint that contains OBJECT_GRAPH.

    Raises:
        DecodeError: it is damaged.
    """
    from tensorflow.core.protobuf import trackable_object_graph_pb2  # noqa: PLC0415 - TensorFlow takes seconds to import

    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(OBJECT_GRAPH))
    return graph


def key_of(graph: Any, names: Sequence[str]) -> str | None:
    """The key of a variable in the checkpoint; None if there is no such variable.

    Args:
        graph: from `read_object_graph`.
        names: of the attributes from the saved object to the variable.
    """
    number = 0
    for name in names:
        children = graph.nodes[number].children if number < len(graph.nodes) else ()
        found = [child.node_id for child in children if child.local_name == name]
        if len(found) != 1:
            return None
        (number,) = found
    attributes = graph.nodes[number].attributes if 0 <= number < len(graph.nodes) else ()
    keys = [one.checkpoint_key for one in attributes if one.name == "VARIABLE_VALUE"]
    return keys[0] if len(keys) == 1 else None


def paths_of(graph: Any) -> dict[str, str]:
    """The shortest path of attributes to each variable, by its key in the checkpoint: lstm/cell/kernel.

    Variables that are in lists of variables alone have none: their numbers don't show what they are.

    Args:
        graph: from `read_object_graph`.
    """
    found: dict[str, str] = {}
    seen: set[int] = {0}
    level: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    while level:
        below: list[tuple[int, tuple[str, ...]]] = []
        for number, path in level:
            for child in graph.nodes[number].children if number < len(graph.nodes) else ():
                name, at = child.local_name.replace("/", ".S"), child.node_id  # as in TensorFlow's keys
                if at in seen or not 0 <= at < len(graph.nodes) or _OPTIMIZER.search(name):
                    continue
                keys = [one.checkpoint_key for one in graph.nodes[at].attributes if one.name == "VARIABLE_VALUE"]
                if keys and name.isdecimal():
                    continue
                seen.add(at)
                found.update(dict.fromkeys(keys, "/".join((*path, name))))
                below.append((at, (*path, name)))
        level = sorted(below, key=lambda each: each[1])
    return found
