"""The user's request for a selection, and its result: an embedding and the recurrent layers on top of it."""

from dataclasses import dataclass, field

from worker.model_import.found import Layer, Node, Table, TokenMap

#: What to do if the first layer reads vectors that no embedding makes.
ONE_HOT = (
    "If they are ids as one-hot vectors: --one-hot. Models that read other vectors (audio, sensors, vectors of another "
    "program) can't be imported"
)


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
        one_hot: whether vectors that no embedding makes are ids as one-hot vectors.
        unpadded: whether rows get the vectors that they have without padding, though the source computes padding.
        cell_clip: the largest magnitude of cell states, if the file has only weights.
        projection_clip: and of projected states.
    """

    embedding: str | None = None
    layers: tuple[str, ...] = ()
    residual: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    one_hot: bool = False
    unpadded: bool = False
    cell_clip: float | None = None
    projection_clip: float | None = None


@dataclass(slots=True)
class Stack:
    """The layers to import.

    Attributes:
        table: the embedding, or None if ids enter as one-hot vectors.
        layers: the recurrent layers, first to last.
        residual: for each layer, whether its input is added to its output.
        last: name of the last layer's node in the graph, or "".
        end: name of the node whose output is the stack's: the last layer's, or the sum with its input.
        hidden: numbers; the source skips tokens whose vectors consist of one of them.
        computes_padding: whether the source computes padding like a token.
        maps: the nodes between the embedding and the first layer that change each token's vector alone, in their order.
        clips: the largest magnitudes of cell states and of projected states, as the user says; None for any.
        doubts: what the file alone doesn't prove: only a comparison with its own computation can.
    """

    table: Table | None
    layers: list[Layer] = field(default_factory=list)
    residual: list[bool] = field(default_factory=list)
    last: str = ""
    end: str = ""
    hidden: tuple[float, ...] = ()
    computes_padding: bool = False
    clips: tuple[float | None, float | None] = (None, None)
    doubts: tuple[str, ...] = ()
    maps: tuple[Node, ...] = ()

    @property
    def functions(self) -> list[TokenMap]:
        """The functions of `maps`."""
        return [node.map for node in self.maps if node.map is not None]
