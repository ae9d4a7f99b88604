"""What the user asks to take, and the result of the selection: an embedding and the recurrent layers on top of it."""

from dataclasses import dataclass, field

from worker.model_import.found import Layer, Table


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user says where the file doesn't.

    Attributes:
        embedding: name of the embedding, or None to decide.
        layers: names of the recurrent layers, first to last; empty to decide.
        residual: names of layers whose input is added to their output, if the file has only weights.
        leave: names of arrays or modules that are beside the way, if the file has only weights.
        one_hot: whether vectors that no embedding makes are ids as one-hot vectors.
    """

    embedding: str | None = None
    layers: tuple[str, ...] = ()
    residual: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    one_hot: bool = False


@dataclass(slots=True)
class Stack:
    """The layers to import.

    Attributes:
        table: the embedding, or None if ids enter as one-hot vectors.
        layers: the recurrent layers, first to last.
        residual: for each layer, whether its input is added to its output.
    """

    table: Table | None
    layers: list[Layer] = field(default_factory=list)
    residual: list[bool] = field(default_factory=list)
