"""The user's request for a selection, and its result: an embedding and the recurrent layers on top of it."""

import re
from dataclasses import dataclass, field
from typing import Literal

from worker.model_import.found import Layer, Node, Table, TokenMap
from worker.model_import.selection.steps import Step, chain_of, input_dim_of

#: What to do if the first layer reads vectors that no embedding makes.
ONE_HOT = (
    "If they are ids as one-hot vectors: --one-hot. If rows contain the vectors (audio, sensors, vectors of another "
    "program): --vectors"
)


@dataclass(frozen=True, slots=True)
class AskedPadding:
    """The user's statement about how the source's program pads rows.

    Attributes:
        length: tokens in a padded row.
        side: "after" or "before" the row's tokens.
        id: the source's id of padding; None for 0.
        zeros: whether padding is a vector of zeros, which no id has, if ids are one-hot vectors.
    """

    length: int
    side: str = "after"
    id: int | None = None
    zeros: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """The user's statements about what the file doesn't show.

    Attributes:
        embedding: name of the embedding, or None to decide.
        layers: names of the recurrent layers, first to last; empty to decide.
        residual: names of layers whose input is added to their output, if the file has only weights.
        leave: names of arrays or modules that are beside the way, if the file has only weights.
        maps: what is between the embedding and the first layer, if the file has only weights: names of Linear modules,
            each with ":" and the name of a function, if one follows.
        top: name of the last function of each token's vector above the last layer, or None for none.
        one_hot: whether vectors that no embedding makes are ids as one-hot vectors.
        unpadded: whether rows get the vectors that they have without padding, though the source computes padding.
        padding: how the source's program pads rows; None if it doesn't, or the user doesn't say.
        cell_clip: the largest magnitude of cell states, if the file has only weights.
        projection_clip: and of projected states.
        vectors: whether rows contain the vectors that the source reads, in place of ids.
    """

    embedding: str | None = None
    layers: tuple[str, ...] = ()
    residual: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    top: str | None = None
    one_hot: bool = False
    unpadded: bool = False
    padding: AskedPadding | None = None
    cell_clip: float | None = None
    projection_clip: float | None = None
    vectors: bool = False


@dataclass(slots=True)
class Stack:
    """The layers to import.

    Attributes:
        table: the embedding, or None if ids enter as one-hot vectors, or if rows contain vectors.
        layers: the recurrent layers, first to last.
        residual: for each layer, whether its own input is added to its output.
        steps: the layers and the functions above them, with all sums; empty if layers read each other directly.
        last: name of the last layer's node in the graph, or "".
        end: name of the node whose output is the stack's: the last layer's, a sum's, or that of a function above.
        hidden: numbers; the source skips tokens whose vectors consist of one of them.
        computes_padding: whether the source computes padding like a token, in all or some of its layers.
        masks_zero: whether the source counts the ids of a row that aren't 0 as its length.
        masks_partly: whether it masks padding in some of its layers only.
        quantized: what of the file is in 8 bits, see `Node`: "activations" if any of its nodes rounds these.
        precision: a type with fewer digits than float32 that one of its nodes computes in, or "".
        maps: the nodes between the embedding and the first layer that change each token's vector alone, in their order.
        clips: the largest magnitudes of cell states and of projected states, as the user says; None for any.
        sums: names of the sums in the graph that are taken.
        sum: name, for people, of the one whose output is the stack's; "" if none is.
        joined: nodes above that join the stack's states with other vectors of each token, and are left out.
        tops: names of those of them that are sums which the user can take with --top.
        doubts: what the file alone doesn't prove: only a comparison with its own computation can.
        vectors: whether rows contain the vectors that the first of `chain` reads.
        below: of a file with only weights, whose rows contain vectors: the nodes below the first layer.
        length: tokens in a row of the source, if it is fixed.
    """

    table: Table | None
    layers: list[Layer] = field(default_factory=list)
    residual: list[bool] = field(default_factory=list)
    last: str = ""
    end: str = ""
    hidden: tuple[float, ...] = ()
    computes_padding: bool = False
    masks_zero: bool = False
    masks_partly: bool = False
    clips: tuple[float | None, float | None] = (None, None)
    doubts: tuple[str, ...] = ()
    quantized: Literal["", "weights", "activations"] = ""
    precision: str = ""
    maps: tuple[Node, ...] = ()
    steps: tuple[Step, ...] = ()
    sums: frozenset[str] = frozenset()
    sum: str = ""
    joined: tuple[Node, ...] = ()
    tops: tuple[str, ...] = ()
    vectors: bool = False
    below: tuple[Node, ...] = ()
    length: int | None = None

    @property
    def chain(self) -> tuple[Step, ...]:
        """The layers and the functions above them, in the order of computation; of vectors also those below them."""
        return self.steps or chain_of(self.layers, self.residual, below=self.below)

    @property
    def input_dim(self) -> int:
        """Width of the vectors that the first of `chain` reads."""
        return input_dim_of(self.chain)

    @property
    def modules_around(self) -> set[str]:
        """The modules that contain an array that is imported, by their names; "" is the whole model."""
        names = [layer.name for layer in self.layers] + ([] if self.table is None else [self.table.name])
        return {"", *(name[: found.start()] for name in names for found in re.finditer(r"[./]", name))}

    @property
    def one_hot_dim(self) -> int:
        """Width of one-hot vectors, if ids enter as these."""
        return self.layers[0].inputs if self.table is None else self.table.array.shape[0]

    @property
    def functions(self) -> list[TokenMap]:
        """The functions of `maps`."""
        return [node.map for node in self.maps if node.map is not None]
