"""What a job stores of every row: which layers, each token's vector or pooled ones, and how precisely.

A column of vectors is named after its pooling: `outputs` (a vector for each real token), `mean`, `max`, `last`,
`first` (one for each row). Where layers are named, their number follows: `outputs_0`, `mean_1`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, Self

from unrolled.errors import OptionError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What becomes of a row's vectors, in the order of a file's columns; "none" keeps each token's.
POOLINGS = ("none", "mean", "max", "last", "first")
#: Of what is stored. The engines give float32, and the writer rounds it.
PRECISIONS = ("float32", "float16")
#: More layers than any model has.
_MOST_LAYERS = 64
_LAYERS = re.compile(r"(0|[1-9][0-9]?)(,(0|[1-9][0-9]?))*")


class Layered(Protocol):
    """A model's configuration, as far as it matters here.

    Attributes:
        layer_dims: width of each layer's output.
    """

    @property
    def layer_dims(self) -> tuple[int, ...]: ...  # noqa: D102 - above


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """One column of vectors.

    Attributes:
        name: "outputs", "mean", "max", "last" or "first"; where layers are named, with "_" and the layer's number.
        layer: whose outputs, from 0.
        pooling: of `POOLINGS`.
        width: of one vector, at least 1.
    """

    name: str
    layer: int
    pooling: str
    width: int

    @property
    def per_token(self) -> bool:
        """Whether it holds a vector for each real token; else one for each row."""
        return self.pooling == "none"

    def vectors(self, rows: int, tokens: int) -> int:
        """How many vectors it holds of so many rows and real tokens."""
        return tokens if self.per_token else rows


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """What a job stores; the same for every row.

    Attributes:
        layers: 0-based, ascending, distinct; None for the last one.
        pooling: of `POOLINGS`, distinct, in its order: one column each for each layer.
        precision: of the stored vectors: "float32" or "float16".
        with_tokens: whether the token ids are stored too.

    Raises:
        RequestError: a value is none of those.
    """

    layers: tuple[int, ...] | None = None
    pooling: tuple[str, ...] = ("none",)
    precision: str = "float32"
    with_tokens: bool = False

    def __post_init__(self) -> None:
        layers, pooling = self.layers, self.pooling
        # Types are checked too: a job's manifest may hold anything. `type`, for True is an int.
        if layers is not None and not (
            type(layers) is tuple
            and 0 < len(layers) <= _MOST_LAYERS
            and all(type(layer) is int and 0 <= layer < _MOST_LAYERS for layer in layers)
            and all(a < b for a, b in pairwise(layers))
        ):
            raise RequestError(f"layers are {layers!r:.80}; allowed: None (the last), or numbers from 0 up, ascending")
        if type(pooling) is not tuple or not pooling or pooling != tuple(name for name in POOLINGS if name in pooling):
            raise RequestError(
                f"pooling is {pooling!r:.80}; allowed: one or more of {', '.join(POOLINGS)}, in this order"
            )
        if self.precision not in PRECISIONS:
            raise RequestError(f"stored precision is {self.precision!r:.80}; allowed: {' or '.join(PRECISIONS)}")
        if type(self.with_tokens) is not bool:
            raise RequestError(f"with_tokens is {self.with_tokens!r:.80}; allowed: true or false")

    def columns(self, config: Layered) -> tuple[OutputColumn, ...]:
        """The columns of vectors, in file order: by layer, then by pooling as in `POOLINGS`.

        Raises:
            RequestError: the model has no such layer.
        """
        dims = config.layer_dims
        layers = (len(dims) - 1,) if self.layers is None else self.layers
        if layers[-1] >= len(dims):
            raise RequestError(
                f"layer {layers[-1]} is asked for, the model has {len(dims)}: give numbers from 0 to {len(dims) - 1},"
                " last or all"
            )
        return tuple(
            OutputColumn(column_name(pooling, None if self.layers is None else layer), layer, pooling, dims[layer])
            for layer in layers
            for pooling in self.pooling
        )

    def names(self) -> tuple[str, ...]:
        """Of the columns, where the model isn't at hand; in the order of `columns`."""
        layers = self.layers or (None,)
        return tuple(column_name(pooling, layer) for layer in layers for pooling in self.pooling)

    def to_options(self) -> dict[str, Any]:
        """As options of a job: what JSON can hold."""
        return {
            "layers": None if self.layers is None else list(self.layers),
            "pooling": list(self.pooling),
            "precision": self.precision,
            "with_tokens": self.with_tokens,
        }

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Read a job's options, which anybody may have written; others than these four are left alone.

        Raises:
            RequestError: one is missing or not allowed.
        """
        if missing := [name for name in ("layers", "pooling", "precision", "with_tokens") if name not in options]:
            raise RequestError(f"the job's options lack {', '.join(missing)}; run `unrolled enqueue` of this version")
        layers, pooling = options["layers"], options["pooling"]
        return cls(
            tuple(layers) if isinstance(layers, list) else layers,
            tuple(pooling) if isinstance(pooling, list) else pooling,
            options["precision"],
            options["with_tokens"],
        )


def vector_bytes(columns: Iterable[OutputColumn], rows: int, tokens: int) -> int:
    """Bytes of the float32 vectors of so many rows and real tokens."""
    return sum(4 * column.width * column.vectors(rows, tokens) for column in columns)


def column_name(pooling: str, layer: int | None = None) -> str:
    """The name of a column: "outputs" or the pooling, with the layer's number where one is named."""
    name = "outputs" if pooling == "none" else pooling
    return name if layer is None else f"{name}_{layer}"


def parse_layers(text: str, config: Layered) -> tuple[int, ...] | None:
    """The layers that a user names: "last", "all", or numbers such as "0,2" in any order.

    Raises:
        OptionError: the text is none of those, or the model has no such layer.
    """
    count = len(config.layer_dims)
    if text == "last":
        return None
    if text == "all":
        return tuple(range(count))
    if not _LAYERS.fullmatch(text):
        raise OptionError(
            f"layers {text!r:.80}: give last, all, or numbers from 0 to {count - 1} such as 0,{count - 1}"
        )
    layers = tuple(sorted({int(number) for number in text.split(",")}))
    if layers[-1] >= count:
        raise OptionError(f"layer {layers[-1]}: the model has {count}; give numbers from 0 to {count - 1}, last or all")
    return layers


def parse_pooling(texts: Iterable[str]) -> tuple[str, ...]:
    """The poolings that a user names, each text one or several with commas between; order doesn't matter.

    Raises:
        OptionError: one is unknown, or there is none.
    """
    names = [name for text in texts for name in text.split(",")]
    if unknown := [name for name in names if name not in POOLINGS]:
        raise OptionError(f"pooling {unknown[0]!r:.80}: give one or more of {', '.join(POOLINGS)}, with commas between")
    return OutputSpec(pooling=tuple(name for name in POOLINGS if name in names)).pooling
