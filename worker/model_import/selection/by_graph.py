"""The stack of a file with a graph: followed from its last layer back to the ids."""

# Over 150 lines: the walk from a layer to the ids, with a reason for each place where it can end.

from dataclasses import dataclass, replace
from itertools import pairwise

from worker.model_import import token_maps
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Found, Layer, Node
from worker.model_import.selection.stack import ONE_HOT, Asked, Stack


def choose_by_graph(found: Found, asked: Asked) -> Stack:
    """Choose the only stack of the graph, or the one that consists of the named layers.

    Arguments and errors are those of `choose`.
    """
    named = list(asked.layers)
    paths = _Paths(found, asked)
    ways: dict[tuple[str, ...], Stack | str] = {}
    for node in paths.ends(named):
        names, stack = paths.back_from(node, named)
        ways.setdefault(names, stack)
    stacks = [way for way in ways.values() if isinstance(way, Stack)]
    if asked.embedding is not None:
        stacks = [stack for stack in stacks if stack.table is not None and stack.table.name == asked.embedding]
    # A decoder that starts from an encoder's state can't be imported, so the encoder must be meant.
    good = _longest([stack for stack in stacks if not any(layer.problem for layer in stack.layers)] or stacks)
    if not good:
        reasons = [way for way in ways.values() if isinstance(way, str)]
        raise ImportRefusedError(reasons[0] if reasons else f"no layer reads the embedding {asked.embedding}")
    if len(good) > 1:
        choices = "; ".join(_options(stack) for stack in good[:5])
        raise ImportRefusedError(f"it has {len(good)} stacks of recurrent layers; say which one: {choices}")
    if not named:
        paths.check_top(good[0])
    if not any(layer.problem for layer in good[0].layers):
        paths.complete(good[0])
    return good[0]


def _options(stack: Stack) -> str:
    return " ".join(f"--layer {layer.name}" for layer in stack.layers)


def _longest(stacks: list[Stack]) -> list[Stack]:
    """The stacks that aren't the beginning of another."""
    names = [tuple(layer.name for layer in stack.layers) for stack in stacks]
    # In sorted order, a beginning comes directly before one that it begins.
    beginnings = {one for one, after in pairwise(sorted(names)) if after[: len(one)] == one}
    return [stack for stack, own in zip(stacks, names, strict=True) if own not in beginnings]


@dataclass(frozen=True, slots=True)
class _Origin:
    """The node that a layer's input comes from: a "table", "onehot", a "layer", the "input", or something "other".

    Between a table and the layer may be nodes that change each token's vector alone, `maps`, in their order.
    """

    role: str
    name: str
    residual: bool = False
    maps: tuple[Node, ...] = ()


class _Paths:
    """The ways through a file's graph, without the nodes that pass their input on unchanged."""

    def __init__(self, found: Found, asked: Asked) -> None:
        self._found, self._asked = found, asked
        self._whole = found.graph or {}
        self._graph = _without_through(self._whole)
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
        end = self._sum_of(last)
        nodes, residual = [last], [end != last.name]
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
        problem = self._why_cut(layers[0], origin)
        if problem is not None:
            return names, problem
        table = self._found.tables[self._graph[origin.name].target or ""] if origin.role == "table" else None
        return names, Stack(table, layers, residual[::-1], last.name, end, maps=origin.maps)

    def complete(self, stack: Stack) -> None:
        """Fill in what the stack's nodes say of masks and doubts.

        Raises:
            ImportRefusedError: the source computes padding, and rows would have other vectors here.
        """
        between = self._before(stack.last)
        stack.hidden = tuple(node.masks for node in between if node.masks is not None)
        if stack.hidden and stack.maps:
            raise ImportRefusedError(
                f"it masks vectors that consist of one number, and changes vectors before {stack.layers[0].name}; "
                "import a model whose mask is the embedding's (mask_zero=True)"
            )
        stack.doubts = tuple(f"{node.name} ({node.what}): {node.doubt}" for node in between if node.doubt)
        masked = all(node.masked for node in between if node.role == "layer")
        masked = masked or (stack.table is not None and bool(stack.table.mask_zero))
        stack.computes_padding = not (masked or stack.hidden)
        length = self._found.length
        if stack.computes_padding and length is not None and not self._asked.unpadded:
            raise ImportRefusedError(
                f"the source reads rows of {length} tokens and doesn't mask padding, so it computes padding like a "
                f"token, and the vectors of shorter rows depend on it. Unrolled computes no padding: only rows of "
                f"{length} tokens get the source's vectors. If all rows have that length, or you want vectors without "
                "padding: --unpadded"
            )

    def check_top(self, stack: Stack) -> None:
        """Check that nothing above the stack reads it step by step: such a layer would be left out in silence.

        Raises:
            ImportRefusedError: something does; the error says how to take the stack alone.
        """
        inside = {layer.name for layer in stack.layers}
        reached, waiting = {stack.last}, [stack.last]
        readers: dict[str, list[Node]] = {}
        for node in self._whole.values():
            for name in node.inputs:
                readers.setdefault(name, []).append(node)
        while waiting:
            for node in readers.get(waiting.pop(), []):
                if node.name in reached:
                    continue
                reached.add(node.name)
                waiting.append(node.name)
                if (node.role == "layer" and node.target not in inside) or node.recurs:
                    raise ImportRefusedError(self._why_above(node, stack))

    def _why_above(self, node: Node, stack: Stack) -> str:
        origin = self._origins.get(node.name)
        reads = f" reads {origin.name}" if origin is not None and origin.role == "other" else " reads its states"
        return (
            f"{stack.layers[-1].name} isn't the last recurrent layer: {node.target or node.name} ({node.what}){reads}, "
            "and only dropout and masking may be between two layers that are imported. If the states of the first "
            f"layers are what you want: {_options(stack)}"
        )

    def _before(self, name: str) -> list[Node]:
        """The node and all that it reads, directly or not."""
        reached, waiting = {name}, [name]
        while waiting:
            node = self._whole.get(waiting.pop())
            new = set(node.inputs if node else ()) - reached
            reached |= new
            waiting += new
        return [node for node in self._whole.values() if node.name in reached]

    def _origin(self, name: str) -> _Origin:
        node = self._graph.get(name)
        maps: list[Node] = []
        while node is not None and node.role == "map" and len(maps) <= len(self._graph):
            maps.append(node)
            node = self._graph.get(node.inputs[0])
        if maps and (node is None or node.role != "table"):
            node = maps[0]  # only vectors that a table contains can be changed once for all
        if node is None:
            return _Origin("other", name)
        if node.role == "add" and (layer := self._added(node)) is not None:
            return _Origin("layer", layer.name, residual=True)
        if node.role in ("table", "onehot", "layer", "input"):
            return _Origin(node.role, node.name, maps=tuple(maps[::-1]))
        return _Origin("other", f"{node.name} ({node.what})")

    def _added(self, node: Node) -> Node | None:
        """The layer whose input a sum adds to its output; None for any other sum."""
        for name, other in (node.inputs, node.inputs[::-1]):
            layer = self._graph.get(name)
            if layer is not None and layer.role == "layer" and layer.inputs[:1] == (other,):
                return layer
        return None

    def _sum_of(self, last: Node) -> str:
        """The last layer's name or, if its only reader is its sum with its input, the name of the sum."""
        readers = self._readers.get(last.name, [])
        added = len(readers) == 1 and readers[0].role == "add" and self._added(readers[0]) is last
        return readers[0].name if added else last.name

    def _why_cut(self, first: Layer, origin: _Origin) -> str | None:
        """Why a stack can't begin with a layer; None if it can."""
        layer = first.name
        if origin.role in ("table", "onehot"):
            return self._why_changed(self._graph[origin.name])
        if first.problem:
            return f"{layer}: {first.problem}"
        if origin.role == "input" and self._asked.one_hot:
            return None
        if origin.role == "input":
            width = f"vectors {first.inputs} wide"
            return f"{layer} reads the model's input, {width}, and the graph doesn't say what they are. {ONE_HOT}"
        if origin.role == "layer":
            return (
                f"{layer} reads the recurrent layer {origin.name}; name that too: --layer {origin.name} --layer {layer}"
            )
        return (
            f"{layer} reads {origin.name}; a recurrent layer can be imported if it reads an embedding, ids as one-hot "
            "vectors or another recurrent layer, with nothing but dropout and masking between or, after an embedding, "
            f"what changes each token's vector alone (Dense, normalization, {', '.join(token_maps.ACTIVATIONS)})"
        )

    def _why_changed(self, node: Node) -> str | None:
        """Why ids aren't what an embedding or one-hot vectors are made of; None if they are."""
        source = self._graph.get(node.inputs[0]) if node.inputs else None
        if not node.inputs or (source is not None and source.role == "input"):
            return None
        what = node.inputs[0] if source is None else f"{source.name} ({source.what})"
        return (
            f"{node.target or node.name} reads {what}: the model computes ids from its input before it looks up their "
            "vectors. Only a model whose embedding reads the ids themselves can be imported: save the part of the "
            "model that begins with the embedding, and change the ids in your rows instead"
        )


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
