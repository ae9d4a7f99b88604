"""What the readers of all formats give: tables, recurrent layers and, where the file has one, the graph between them.

Arrays stay in the file until a layer is taken: a head may be larger than all that is wanted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
#: How one pass's arrays lie; see `worker.model_import.layouts`.
Layout = Literal["keras", "keras1", "cudnn", "torch", "onnx", "tf1"]


@dataclass(frozen=True, slots=True)
class Array:
    """An array that is still in its file.

    Attributes:
        name: where it is there.
        shape: as the file says; checked against what is stored.
        read: gives it, float32.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Float32]


@dataclass(frozen=True, slots=True)
class Pass:
    """One direction of one recurrent layer, in its source's layout.

    Attributes:
        layout: which one.
        kind: "lstm" or "gru".
        inputs: width of what it reads (D).
        units: of its state (U).
        parts: the layout's names to arrays.
        projection: width of the projected state, or None.
        reset: "after" or "before" for a GRU, else None.
        gates: what its gates are, as `LayerConfig.gates`.
        forget_bias: what the source's program adds to the forget gate at run time.
        problem: why it can't be taken; raised only where it would be.
    """

    layout: Layout
    kind: str
    inputs: int
    units: int
    parts: dict[str, Array]
    projection: int | None = None
    reset: str | None = None
    gates: str = "sigmoid"
    forget_bias: float = 0.0
    problem: str | None = None


@dataclass(slots=True)
class Layer:
    """A recurrent layer.

    Attributes:
        name: what `--layer` calls it.
        forward: the pass that reads from the first token to the last, if it has one.
        backward: the one that reads from the last to the first.
        reversed: the layer hands its outputs on in the order in which it read them, last token first.
        problem: why it can't be taken; raised only where it would be.
        notes: what people should know of it.
    """

    name: str
    forward: Pass | None
    backward: Pass | None = None
    reversed: bool = False
    problem: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def any_pass(self) -> Pass:
        """One of its passes; sizes are the same in both."""
        found = self.forward or self.backward
        if found is None:
            raise AssertionError(self.name)
        return found

    @property
    def inputs(self) -> int:
        """Width of what it reads."""
        return self.any_pass.inputs

    @property
    def outputs(self) -> int:
        """Width of what it gives."""
        one = self.any_pass
        return (one.projection or one.units) * (2 if self.forward and self.backward else 1)


@dataclass(frozen=True, slots=True)
class Table:
    """An embedding.

    Attributes:
        name: what `--embedding` calls it.
        array: (rows, width).
        mask_zero: whether the source masks id 0; None where the file doesn't say.
        problem: why it can't be taken; raised only where it would be.
    """

    name: str
    array: Array
    mask_zero: bool | None = None
    problem: str | None = None


Role = Literal["input", "table", "layer", "through", "add", "other"]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the file's graph.

    Attributes:
        name: unique in the graph.
        role: "through" gives what it gets, as dropout does when nothing is trained.
        what: its class, for people.
        inputs: names of the nodes that it reads.
        target: which table or layer it is; one that is called twice is two nodes.
    """

    name: str
    role: Role
    what: str
    inputs: tuple[str, ...] = ()
    target: str | None = None


@dataclass(slots=True)
class Found:
    """All that a reader saw.

    Attributes:
        format: for people: "Keras 3 file".
        tables: by name.
        layers: by name, in the file's order.
        graph: nodes by name, or None where the file has weights alone.
        left: what was neither, one text each.
        length: tokens a row has in the source, where it is fixed.
        zero_is_padding: whether this world's row 0 is padding unless told otherwise.
        notes: assumptions that had to be made.
    """

    format: str
    tables: dict[str, Table] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    graph: dict[str, Node] | None = None
    left: list[str] = field(default_factory=list)
    length: int | None = None
    zero_is_padding: bool = False
    notes: list[str] = field(default_factory=list)
