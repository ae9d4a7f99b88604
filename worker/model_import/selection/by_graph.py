"""The stack of a file with a graph: followed from its last layer back to the ids."""

from dataclasses import dataclass, replace
from itertools import pairwise

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Found, Layer, Node
from worker.model_import.selection.stack import Asked, Stack


def choose_by_graph(found: Found, asked: Asked) -> Stack:
    """Choose the only stack of the graph, or the one that consists of the named layers.

    Arguments and errors are those of `choose`.
    """
    embedding, named = asked.embedding, list(asked.layers)
    paths = _Paths(found)
    ways: dict[tuple[str, ...], Stack | str] = {}
    for node in paths.ends(named):
        names, stack = paths.back_from(node, named)
        ways.setdefault(names, stack)
    stacks = [way for way in ways.values() if isinstance(way, Stack)]
    if embedding is not None:
        stacks = [stack for stack in stacks if stack.table is not None and stack.table.name == embedding]
    # A decoder that starts from an encoder's state can't be imported, so the encoder must be meant.
    good = _longest([stack for stack in stacks if not any(layer.problem for layer in stack.layers)] or stacks)
    if not good:
        reasons = [way for way in ways.values() if isinstance(way, str)]
        raise ImportRefusedError(reasons[0] if reasons else f"no layer reads the embedding {embedding}")
    if len(good) > 1:
        choices = "; ".join(" ".join(f"--layer {layer.name}" for layer in stack.layers) for stack in good[:5])
        raise ImportRefusedError(f"it has {len(good)} stacks of recurrent layers; say which one: {choices}")
    return good[0]


def _longest(stacks: list[Stack]) -> list[Stack]:
    """The stacks that aren't the beginning of another."""
    names = [tuple(layer.name for layer in stack.layers) for stack in stacks]
    # In sorted order, a beginning comes directly before one that it begins.
    beginnings = {one for one, after in pairwise(sorted(names)) if after[: len(one)] == one}
    return [stack for stack, own in zip(stacks, names, strict=True) if own not in beginnings]


@dataclass(frozen=True, slots=True)
class _Origin:
    """The node that a layer's input comes from: a "table", a "layer", the "input", or something "other"."""

    role: str
    name: str
    residual: bool = False


class _Paths:
    """The ways through a file's graph, without the nodes that pass their input on unchanged."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._graph = _without_through(found.graph or {})
        self._layers = [node for node in self._graph.values() if node.role == "layer"]
        # Keras's Sequential models may begin without an InputLayer.
        self._origins = {
            node.name: self._origin(node.inputs[0]) if node.inputs else _Origin("input", "") for node in self._layers
        }
        self._readers: dict[str, list[Node]] = {}
        for node in self._graph.values():
            for name in set(node.inputs):
                self._readers.setdefault(name, []).append(node)

    def ends(self, named: list[str]) -> list[Node]:
        """The calls of the last named layer, or of all layers that no other layer reads."""
        read = {origin.name for origin in self._origins.values() if origin.role == "layer"}
        return [node for node in self._layers if (node.target == named[-1] if named else node.name not in read)]

    def back_from(self, last: Node, named: list[str]) -> tuple[tuple[str, ...], Stack | str]:
        """The names of the layers that end in a node, and their stack or the reason why there is none."""
        nodes, residual = [last], [self._is_added(last)]
        while (origin := self._origins[nodes[-1].name]).role == "layer" and len(nodes) != len(named):
            nodes.append(self._graph[origin.name])
            residual.append(origin.residual)
            if len(nodes) > len(self._graph):
                return (last.name,), f"{last.name}: the graph has a cycle; get a fresh copy of the file"
        layers = [self._found.layers[node.target or ""] for node in reversed(nodes)]
        names = tuple(layer.name for layer in layers)
        if named and list(names) != named:
            below = " ".join(names[:-1]) or "no recurrent layer"
            return names, f"--layer: {' '.join(named)} don't read each other; {last.target} reads {below}"
        if origin.role not in ("table", "input"):
            return names, _why_cut(layers[0], origin)
        table = self._found.tables[self._graph[origin.name].target or ""] if origin.role == "table" else None
        return names, Stack(table, layers, residual[::-1])

    def _origin(self, name: str) -> _Origin:
        node = self._graph.get(name)
        if node is None:
            return _Origin("other", name)
        if node.role == "add" and (layer := self._added(node)) is not None:
            return _Origin("layer", layer.name, residual=True)
        if node.role in ("table", "layer", "input"):
            return _Origin(node.role, node.name)
        return _Origin("other", f"{node.name} ({node.what})")

    def _added(self, node: Node) -> Node | None:
        """The layer whose input a sum adds to its output; None for any other sum."""
        for name, other in (node.inputs, node.inputs[::-1]):
            layer = self._graph.get(name)
            if layer is not None and layer.role == "layer" and layer.inputs[:1] == (other,):
                return layer
        return None

    def _is_added(self, last: Node) -> bool:
        """Whether the only reader of the last layer's output is its sum with the layer's input."""
        readers = self._readers.get(last.name, [])
        return len(readers) == 1 and readers[0].role == "add" and self._added(readers[0]) is last


def _without_through(graph: dict[str, Node]) -> dict[str, Node]:
    """The nodes that change their input; each reads the nearest of these instead of those between."""
    sources: dict[str, str] = {}

    def source(name: str) -> str:
        passed = []
        while name not in sources and (node := graph.get(name)) is not None and _passes_on(node):
            sources[name] = name  # in a cycle, the way ends here
            passed.append(name)
            name = node.inputs[0]
        end = sources.get(name, name)
        sources.update(dict.fromkeys(passed, end))
        return end

    return {
        name: replace(node, inputs=tuple(map(source, node.inputs)))
        for name, node in graph.items()
        if not _passes_on(node)
    }


def _passes_on(node: Node) -> bool:
    return node.role == "through" and bool(node.inputs)


def _why_cut(first: Layer, origin: _Origin) -> str:
    """Why a stack can't begin with a layer."""
    layer = first.name
    if first.problem:
        return f"{layer}: {first.problem}"
    if origin.role == "layer":
        return f"{layer} reads the recurrent layer {origin.name}; name that too: --layer {origin.name} --layer {layer}"
    return (
        f"{layer} reads {origin.name}; a recurrent layer can be imported if it reads an embedding, one-hot ids or "
        "another recurrent layer, with nothing but dropout and masking between"
    )
