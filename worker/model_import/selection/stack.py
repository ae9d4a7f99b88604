"""The result of the selection: an embedding and the recurrent layers on top of it."""

from dataclasses import dataclass, field

from worker.model_import.found import Layer, Table


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
