"""The stack of a file that has a graph: walked from its last layer back to the ids."""

from dataclasses import dataclass

from worker.model_import.chain.chain import Chain
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Found, Layer, Node


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a layer's input comes from: a "table", a "layer", the "input", or something "other"."""

    role: str
    name: str
    residual: bool = False


def choose_by_graph(found: Found, embedding: str | None, named: list[str]) -> Chain:
    """The stack that there is, or the named one; see `choose`."""
    graph = found.graph or {}
    nodes = [node for node in graph.values() if node.role == "layer"]
    # Keras's Sequential models may begin without an InputLayer.
    origins = {node.name: _origin(graph, node.inputs[0]) if node.inputs else _Origin("input", "") for node in nodes}
    read = {origin.name for origin in origins.values() if origin.role == "layer"}
    paths: dict[tuple[str, ...], Chain | str] = {}
    for node in nodes:
        ends_here = node.target == named[-1] if named else node.name not in read
        if ends_here:
            key, chain = _path(found, graph, origins, node, named)
            paths.setdefault(key, chain)
    chains = [chain for chain in paths.values() if isinstance(chain, Chain)]
    if embedding is not None:
        chains = [chain for chain in chains if chain.table is not None and chain.table.name == embedding]
    # A decoder that starts from an encoder's state can't be taken, so the encoder is what was meant.
    good = [chain for chain in chains if not any(layer.problem for layer in chain.layers)] or chains
    good = _longest(good)
    if not good:
        reasons = [chain for chain in paths.values() if isinstance(chain, str)]
        raise ImportRefusedError(reasons[0] if reasons else f"no layer reads the embedding {embedding}")
    if len(good) > 1:
        stacks = "; ".join(" ".join(f"--layer {layer.name}" for layer in chain.layers) for chain in good[:5])
        raise ImportRefusedError(f"it has {len(good)} stacks of recurrent layers; say which one: {stacks}")
    return good[0]


def _longest(chains: list[Chain]) -> list[Chain]:
    """Without those that are the beginning of another."""
    names = [[layer.name for layer in chain.layers] for chain in chains]
    return [
        chain
        for chain, own in zip(chains, names, strict=True)
        if not any(len(other) > len(own) and other[: len(own)] == own for other in names)
    ]


def _path(
    found: Found, graph: dict[str, Node], origins: dict[str, _Origin], last: Node, named: list[str]
) -> tuple[tuple[str, ...], Chain | str]:
    """The stack that ends in a node, or why there is none."""
    chain = Chain(None, [], [])
    node, residual = last, _is_added(graph, last)
    while True:
        layer = found.layers[node.target or ""]
        chain.layers.insert(0, layer)
        chain.residual.insert(0, residual)
        origin = origins[node.name]
        if len(chain.layers) > len(graph):
            return (last.name,), f"{last.name}: the graph runs in a circle; get a fresh copy of the file"
        done = len(named) == len(chain.layers)
        if origin.role == "layer" and not done:
            node, residual = graph[origin.name], origin.residual
            continue
        break
    key = tuple(layer.name for layer in chain.layers)
    if named and list(key) != named:
        below = " ".join(key[:-1]) or "none"
        return key, f"--layer: {' '.join(named)} don't stand on each other; {last.target} stands on {below}"
    if origin.role == "table":
        chain.table = found.tables[graph[origin.name].target or ""]
    elif origin.role != "input":
        return key, _cut(chain.layers[0], origin)
    return key, chain


def _cut(first: Layer, origin: _Origin) -> str:
    layer = first.name
    if first.problem:
        return f"{layer}: {first.problem}"
    if origin.role == "layer":
        return (
            f"{layer} stands on the recurrent layer {origin.name}; add it before: --layer {origin.name} --layer {layer}"
        )
    return (
        f"{layer} reads {origin.name}; a recurrent layer can be imported if it reads an embedding, one-hot ids "
        f"or another "
        "recurrent layer, with nothing but dropout and masking between"
    )


def _origin(graph: dict[str, Node], name: str) -> _Origin:
    """What a layer really reads."""
    residual = False
    for _ in range(len(graph) + 1):
        node = graph.get(name)
        if node is None:
            return _Origin("other", name)
        if node.role == "add":
            layer = _added(graph, node)
            if layer is None:
                return _Origin("other", f"{node.name} ({node.what})")
            return _Origin("layer", layer.name, residual=True)
        if node.role == "through" and node.inputs:
            name = node.inputs[0]
            continue
        if node.role in ("table", "layer", "input"):
            return _Origin(node.role, node.name, residual)
        return _Origin("other", f"{node.name} ({node.what})")
    return _Origin("other", name)


def _skip(graph: dict[str, Node], name: str) -> str:
    """The first node on the way back that does something."""
    for _ in range(len(graph) + 1):
        node = graph.get(name)
        if node is None or node.role != "through" or not node.inputs:
            return name
        name = node.inputs[0]
    return name


def _added(graph: dict[str, Node], node: Node) -> Node | None:
    """The layer whose input a sum adds to its output, if that is what the sum does."""
    sides = [_skip(graph, name) for name in node.inputs]
    for layer, other in (sides, sides[::-1]):
        found = graph.get(layer)
        if found is not None and found.role == "layer" and found.inputs and _skip(graph, found.inputs[0]) == other:
            return found
    return None


def _is_added(graph: dict[str, Node], last: Node) -> bool:
    """Whether the last layer's output is read by nothing but the sum with its input."""
    readers = [node for node in graph.values() if last.name in (_skip(graph, name) for name in node.inputs)]
    readers = [node for node in readers if node.role != "through"]
    return len(readers) == 1 and readers[0].role == "add" and _added(graph, readers[0]) is last
