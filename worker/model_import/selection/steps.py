"""The layers of an imported model in the order in which the source computes them, and their maps as layers."""

# Over 150 lines: the steps of the source, and the layers that are made of them.

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.model_import.errors import ImportRefusedError
from worker.model_import.token_maps import Dense, Map, MapLayer, merged, split

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.model_import.found import Layer, Node

#: The source of a sum with the first layer's input.
FIRST_INPUT = -1


@dataclass(frozen=True, slots=True)
class Step:
    """A recurrent layer, or a function of each token's vector; it is above one, or reads vectors that rows contain.

    Attributes:
        layer: the recurrent layer, or None.
        node: the node of a function, or None.
        source: the number of the step whose output is added to the result, or FIRST_INPUT; None if nothing is added.
    """

    layer: Layer | None = None
    node: Node | None = None
    source: int | None = None

    @property
    def name(self) -> str:
        """Its name in the source, for people."""
        return self.layer.name if self.layer is not None else str(self.node)


@dataclass(frozen=True, slots=True)
class Part:
    """A layer of the new model.

    Attributes:
        layer: the recurrent layer of the source, or None.
        map: the map, or None.
        nodes: the functions of the source that the map computes.
        span: how many layers the sum spans; 0 if nothing is added.
    """

    layer: Layer | None
    map: MapLayer | None
    nodes: tuple[Node, ...] = ()
    span: int = 0

    @property
    def name(self) -> str:
        """Its name in the source, for people."""
        if self.layer is not None:
            return self.layer.name
        name = ", ".join(map(str, self.nodes))
        return f"{name}: {self.map.what}" if self.map is not None and self.map.what else name


def parts_of(steps: Sequence[Step]) -> list[Part]:
    """The layers of the new model. Functions that follow each other become one map where one computes them as exactly.

    Raises:
        ImportRefusedError: the widths of functions don't fit together.
        OSError, ValueError, IndexError, EOFError: an array can't be read.
    """
    sources = {step.source for step in steps}
    parts: list[Part] = []
    numbers = {FIRST_INPUT: -1}  # from a step to the number of its layer
    width = input_dim_of(steps)
    widths = {FIRST_INPUT: width}  # of what the steps give
    for number, step in enumerate(steps):
        if step.layer is not None:
            if step.layer.inputs != width:
                raise ImportRefusedError(
                    f"{step.name} reads vectors {step.layer.inputs} wide, but those below it are {width} wide; get a "
                    "fresh copy of the file"
                )
            width = step.layer.outputs
            parts.append(Part(step.layer, None))
        elif step.node is not None:
            # A map whose result is added somewhere must stay.
            width = _add_maps(parts, step.node, width, stays=number - 1 in sources)
        numbers[number], widths[number] = len(parts) - 1, width
        if step.source is not None:
            _check_sum(step, width, widths[step.source])
            parts[-1] = replace(parts[-1], span=len(parts) - 1 - numbers[step.source])
    return parts


def _check_sum(step: Step, width: int, other: int) -> None:
    if width != other:
        raise ImportRefusedError(
            f"{step.name} makes vectors {width} wide, which are added to others {other} wide; only those of one width "
            "can be"
        )


def _add_maps(parts: list[Part], node: Node, width: int, *, stays: bool) -> int:
    """Add the maps of a function.

    Args:
        parts: the layers of the new model so far.
        node: the function.
        width: of the vectors that it reads.
        stays: whether the last layer so far must stay as it is.

    Returns:
        Width of the vectors that it gives.
    """
    for one in _maps_of(node, width):
        below = parts[-1] if parts else None
        nodes: tuple[Node, ...] = (node,)
        whole = one
        if below is not None and below.map is not None and not (below.span or stays):
            joined = merged(below.map, one)
            if joined is not None:
                nodes = below.nodes if below.nodes[-1] is node else (*below.nodes, node)
                whole = joined
                parts.pop()
        first, *rest = split(whole)
        parts.append(Part(None, first, nodes))
        parts += [Part(None, each, (node,)) for each in rest]
        width, stays = one.config.units, False
    return width


def chain_of(
    layers: Iterable[Layer], residual: Iterable[bool], above: Iterable[Node] = (), below: Sequence[Node] = ()
) -> tuple[Step, ...]:
    """Recurrent layers that read each other directly, each with its input added or not, with functions around them."""
    steps = [
        Step(layer, None, number - 1 if adds else None)
        for number, (layer, adds) in enumerate(zip(layers, residual, strict=True), len(below))
    ]
    return (*(Step(None, node) for node in below), *steps, *(Step(None, node) for node in above))


def input_dim_of(steps: Sequence[Step]) -> int:
    """Width of the vectors that the first step reads."""
    for step in steps:
        if step.layer is not None:
            return step.layer.inputs
        if step.node is not None and isinstance(step.node.map, Dense):
            return step.node.map.inputs
    return 0


def _maps_of(node: Node, width: int) -> tuple[MapLayer, ...]:
    if not isinstance(node.map, Map) or not node.map.computable:
        raise ImportRefusedError(f"{node}: no layer of Unrolled computes it")
    try:
        maps = node.map.layers(width)
    except ValueError as error:  # NumPy's, of arrays that don't fit vectors of this width
        raise ImportRefusedError(f"{node}: its arrays don't fit vectors {width} wide ({error})") from error
    reads = width
    for one in maps:
        first, shape = next((name, array.shape) for name, array in one.tensors.items())
        expected = (reads, one.config.units) if first == "kernel" else (reads,)
        if shape != expected:
            raise ImportRefusedError(f"{node}: its array has the shape {shape}, but it reads vectors {reads} wide")
        reads = one.config.units
    return maps
