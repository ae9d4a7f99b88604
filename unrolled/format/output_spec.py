"""The vectors that a job stores of every row: of which layers and tokens, pooled how, how precise, with ids or not."""

# Over 150 lines: one value, with its checks and its three spellings: options, JSON, columns.

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, Protocol, Self

from unrolled.errors import OptionError, RequestError
from unrolled.format.columns import MOST_LAYERS, POOLINGS, VectorColumn, column_name
from unrolled.format.positions import Positions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: How the vectors' numbers can be stored. The engines give float32, and the writer rounds it.
PRECISIONS = ("float32", "float16")
#: What a pooled column holds for a row without a real token.
EMPTY_ROWS = ("null", "zeros")
_LAYERS = re.compile(r"(0|[1-9][0-9]?)(,(0|[1-9][0-9]?))*")


class Layered(Protocol):
    """A model's configuration, as far as columns depend on it.

    Attributes:
        layer_dims: width of each layer's output.
    """

    @property
    def layer_dims(self) -> tuple[int, ...]: ...  # noqa: D102 - documented above


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """The choice of what a job stores, the same for all of its rows.

    Attributes:
        layers: numbers from 0, ascending and distinct; None for the last layer, whose number the names leave out.
        pooling: members of `POOLINGS`, distinct and in that order; each gives one column for each layer.
        precision: how the vectors are stored, "float32" or "float16".
        with_tokens: whether the token ids are stored too.
        empty_rows: what the pooled columns hold for a row without a real token: "null", so that every reader sees that
            it has no vector, or "zeros", the state that the model begins with. "null" if there is no pooled column.
        positions: the tokens whose vectors are stored; None for all tokens. Pooled columns are then not allowed,
            because they pool all tokens.

    Raises:
        RequestError: a value is not allowed.
    """

    layers: tuple[int, ...] | None = None
    pooling: tuple[str, ...] = ("none",)
    precision: str = "float32"
    with_tokens: bool = False
    empty_rows: str = "null"
    positions: Positions | None = None

    def __post_init__(self) -> None:
        layers, pooling = self.layers, self.pooling
        # Types are checked too, because job.json may hold anything; with `type`, because True is an int.
        if layers is not None and not (
            type(layers) is tuple
            and 0 < len(layers) <= MOST_LAYERS
            and all(type(layer) is int and 0 <= layer < MOST_LAYERS for layer in layers)
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
        if self.empty_rows not in EMPTY_ROWS:
            raise RequestError(f"empty_rows is {self.empty_rows!r:.80}; allowed: {' or '.join(EMPTY_ROWS)}")
        if self.empty_rows != "null" and self.pooling == ("none",):
            raise OptionError(f"empty_rows is {self.empty_rows}, but no pooled vectors are stored; leave it out")
        if self.positions is not None and not isinstance(self.positions, Positions):
            raise RequestError(f"positions are {self.positions!r:.80}; allowed: None (all), or a rule")
        if self.positions is not None and pooling != ("none",):
            raise OptionError(
                f"positions {self.positions} with the pooling {', '.join(pooling)}, which takes all tokens; leave out "
                "one of them. Readers pool the vectors at the positions: Dataset.pooled"
            )

    def choices(self) -> tuple[tuple[str, int | None], ...]:
        """The pooling and the layer of each column of vectors, in file order: by layer, then as in `POOLINGS`."""
        return tuple((pooling, layer) for layer, pooling in product(self.layers or (None,), self.pooling))

    def names(self) -> tuple[str, ...]:
        """The names of the columns of vectors, in file order. They don't depend on the model."""
        return tuple(column_name(pooling, layer) for pooling, layer in self.choices())

    def columns(self, config: Layered) -> tuple[VectorColumn, ...]:
        """The columns of vectors that a job with this model stores, in file order.

        Raises:
            RequestError: the model doesn't have one of the layers.
        """
        dims = config.layer_dims
        if self.layers and self.layers[-1] >= len(dims):
            raise RequestError(
                f"layer {self.layers[-1]} is asked for, the model has {len(dims)}: give numbers from 0 to "
                f"{len(dims) - 1}, last or all"
            )
        return tuple(
            VectorColumn(pooling, layer, dims[-1 if layer is None else layer]) for pooling, layer in self.choices()
        )

    def to_options(self) -> dict[str, Any]:
        """The job's options that say what it stores, as JSON can hold them."""
        return {
            "layers": None if self.layers is None else list(self.layers),
            "pooling": list(self.pooling),
            "precision": self.precision,
            "with_tokens": self.with_tokens,
            "empty_rows": self.empty_rows,
            "positions": None if self.positions is None else self.positions.to_json(),
        }

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Read a job's options, which are not trusted; options other than these five are ignored.

        Raises:
            RequestError: one is missing or not allowed.
        """
        if missing := [name for name in cls.__dataclass_fields__ if name not in options]:
            raise RequestError(f"the job's options lack {', '.join(missing)}; run `unrolled enqueue` of this version")
        layers, pooling, positions = options["layers"], options["pooling"], options["positions"]
        return cls(
            tuple(layers) if isinstance(layers, list) else layers,
            tuple(pooling) if isinstance(pooling, list) else pooling,
            options["precision"],
            options["with_tokens"],
            options["empty_rows"],
            None if positions is None else Positions.from_json(positions),
        )


def parse_layers(text: str, config: Layered) -> tuple[int, ...] | None:
    """The layers that a user names: "last", "all", or numbers such as "0,2" in any order.

    Raises:
        OptionError: the text is none of these, or the model doesn't have one of the layers.
    """
    count = len(config.layer_dims)
    if text == "last":
        return None
    if text == "all":
        return tuple(range(count))
    if not _LAYERS.fullmatch(text):
        raise OptionError(
            f"layers {text!r:.80}: give last, all, or numbers of layers from 0 to {count - 1}, separated by commas"
        )
    layers = tuple(sorted({int(number) for number in text.split(",")}))
    if layers[-1] >= count:
        raise OptionError(f"layer {layers[-1]}: the model has {count}; give numbers from 0 to {count - 1}, last or all")
    return layers


def parse_pooling(texts: Iterable[str]) -> tuple[str, ...]:
    """The poolings that a user names, in any order; each text is one name, or several with commas between them.

    Raises:
        OptionError: a name is unknown, or there is none.
    """
    names = [name.strip() for text in texts for name in text.split(",")]
    if unknown := [name for name in names if name not in POOLINGS]:
        raise OptionError(f"pooling {unknown[0]!r:.80}: give one or more of {', '.join(POOLINGS)}, with commas between")
    return OutputSpec(pooling=tuple(name for name in POOLINGS if name in names)).pooling
