"""A model's configuration, config.json: it determines the shapes of all weights.

All sizes are checked before memory is taken. Over 150 lines, because the checks need all fields at once.
"""

# Over 150 lines: every key of config.json with its check.

import json
import math
import struct
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from typing import Any, NamedTuple, Self

from unrolled.errors import ModelError
from unrolled.model.checks import LARGEST_WIDTH, MOST_LAYERS, check_choice, check_names, check_number
from unrolled.model.layer import KINDS, LayerConfig
from unrolled.model.padding import Padding
from unrolled.model.token_map import MAP_KINDS, MapConfig

FORMAT_VERSION = 1
# Larger numbers are typing errors, not models.
LARGEST_VOCAB_SIZE = 2**31 - 2  # ids are int32, and the embedding has one row more
LARGEST_LENGTH = 2**31 - 1
MOST_PARAMETERS = 2**32  # 16 GiB of float32
LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
#: Fields of a layer, and of a model, that config.json contains only if they don't have their defaults.
_SELDOM = {
    LayerConfig: frozenset({"first_state", "given_state", "cell_clip", "projection_clip", "norm", "epsilon", "span"}),
    MapConfig: frozenset({"activation", "epsilon", "residual", "span"}),
}
_SELDOM_OF_MODEL = frozenset({"padding", "vector_dim", "mask_value"})


class GivenPart(NamedTuple):
    """A part of the initial states that a row brings.

    Attributes:
        layer: the number of the layer that begins with it.
        backward: whether the layer's backward pass does.
        name: "h", the state, or "c", the cell state.
        width: numbers in it.
    """

    layer: int
    backward: bool
    name: str
    width: int

    def __str__(self) -> str:
        """For people: "layer 0's h (256)"."""
        return f"layer {self.layer}'s {'backward ' if self.backward else ''}{self.name} ({self.width:,})"


def default_embedding_dim(vocab_size: int) -> int:
    """Width of the embedding if none is given: the fourth root of vocab_size, rounded down."""
    return int(vocab_size**0.25)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The configuration of a model.

    Attributes:
        vocab_size: the largest token id; ids are 1..vocab_size, and 0 is padding. 0 for a model that reads vectors.
        max_length: number of tokens in a row that the model was made for. Longer rows are computed too.
        embedding_dim: width of the embedding, or None if ids enter as one-hot vectors. The first layer's kernel then
            has vocab_size rows, and id i reads row i - 1. None for a model that reads vectors, too.
        layers: first to last; the first one is recurrent, unless the model reads vectors. A vector of every layer can
            be stored, of maps, too.
        padding: how rows are padded before they are computed; None for no padding, the usual case. `max_length` is
            then the length of padded rows, and longer rows can't be computed.
        vector_dim: for a model whose rows are vectors of numbers in place of token ids, their width; else None.
        mask_value: of a model that reads vectors: a vector that has only this number is padding; None if none is.

    Raises:
        ModelError: a value is not a whole number in its range, widths don't fit, or the weights would exceed 16 GiB.
    """

    vocab_size: int
    max_length: int
    embedding_dim: int | None
    layers: tuple[LayerConfig | MapConfig, ...]
    padding: Padding | None = None
    vector_dim: int | None = None
    mask_value: float | None = None

    def __post_init__(self) -> None:
        self._check_inputs()
        check_number("model", "max_length", self.max_length, LARGEST_LENGTH)
        kinds = (LayerConfig, MapConfig)
        if not isinstance(self.layers, tuple) or not all(isinstance(layer, kinds) for layer in self.layers):
            raise ModelError(f"model: layers is {self.layers!r:.80}; give a tuple of LayerConfig and MapConfig")
        if not 1 <= len(self.layers) <= MOST_LAYERS:
            raise ModelError(f"model: it has {len(self.layers)} layers; give 1..{MOST_LAYERS}")
        self._check_maps()
        self._check_residuals()
        self._check_padding()
        if self.parameters > MOST_PARAMETERS:
            raise ModelError(
                f"model: these sizes make {self.parameters:,} parameters, but at most {MOST_PARAMETERS:,} are allowed; "
                "lower vocab_size, embedding_dim, the layers' units or their number"
            )

    @classmethod
    def stacked(
        cls,
        vocab_size: int,
        max_length: int,
        num_lstm_units: int,
        num_lstm_layers: int,
        embedding_dim: int | None = None,
    ) -> Self:
        """The configuration of the stacked LSTM language model: an embedding and forward LSTM layers of one width.

        `default_embedding_dim` gives the width of the embedding if `embedding_dim` is None.
        """
        check_number("model", "vocab_size", vocab_size, LARGEST_VOCAB_SIZE)
        check_number("model", "num_lstm_units", num_lstm_units, LARGEST_WIDTH)
        check_number("model", "num_lstm_layers", num_lstm_layers, MOST_LAYERS)
        width = default_embedding_dim(vocab_size) if embedding_dim is None else embedding_dim
        return cls(vocab_size, max_length, width, (LayerConfig(num_lstm_units),) * num_lstm_layers)

    @property
    def is_stacked(self) -> bool:
        """Whether `stacked` could have made it."""
        plain = self.embedding_dim is not None and self.padding is None
        return plain and set(self.layers) == {LayerConfig(self.layers[0].units)}

    @property
    def first_dim(self) -> int:
        """Width of the first layer's input: of the vectors that rows contain, of the embedding, or of one-hot ids."""
        return self.vector_dim or self.embedding_dim or self.vocab_size

    @property
    def recurrent_layers(self) -> tuple[LayerConfig, ...]:
        """The layers that are no maps."""
        return tuple(layer for layer in self.layers if isinstance(layer, LayerConfig))

    @property
    def layer_dims(self) -> tuple[int, ...]:
        """Width of each layer's output."""
        return tuple(layer.output_dim for layer in self.layers)

    @property
    def input_dims(self) -> tuple[int, ...]:
        """Width of each layer's input (D)."""
        return (self.first_dim, *self.layer_dims[:-1])

    @property
    def output_dim(self) -> int:
        """Width of the last layer's output."""
        return self.layers[-1].output_dim

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    @property
    def given_parts(self) -> tuple[GivenPart, ...]:
        """The initial states that each row brings, in their order in the row's list of numbers; none of most models."""
        return tuple(
            GivenPart(number, prefix.endswith("backward"), name, width)
            for number, layer in enumerate(self.layers)
            if isinstance(layer, LayerConfig) and layer.given_state
            for prefix in layer.prefixes(number)
            for name, width in zip("hc", layer.state_dims, strict=False)
        )

    @property
    def given_dim(self) -> int:
        """How many numbers the initial states of a row have; 0 if rows bring none."""
        return sum(part.width for part in self.given_parts)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each tensor, in the order in which the layers use them."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.embedding_dim is not None:
            shapes["embedding"] = (self.vocab_size + 1, self.embedding_dim)
        for number, (layer, inputs) in enumerate(zip(self.layers, self.input_dims, strict=True)):
            for prefix in layer.prefixes(number):
                shapes |= {f"{prefix}.{part}": shape for part, shape in layer.shapes(inputs).items()}
        return shapes

    def describe_layers(self) -> str:
        """The layers as text: "lstm 512, bidirectional gru 64 on an embedding of 10", "2 x lstm 512 on one-hot ids"."""
        on = "one-hot ids" if self.embedding_dim is None else f"an embedding of {self.embedding_dim}"
        if self.vector_dim is not None:
            on = f"vectors of {self.vector_dim}"
        runs = ((str(layer), len(list(run))) for layer, run in groupby(self.layers))
        layers = ", ".join(layer if count == 1 else f"{count} x {layer}" for layer, count in runs)
        return f"{layers} on {on}"

    def to_json(self) -> str:
        """The text of config.json. Fields that few models need are left out if they have their defaults."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _SELDOM_OF_MODEL}
        content = {"format_version": FORMAT_VERSION, **own, "layers": [_fields_of(layer) for layer in self.layers]}
        if self.padding is not None:
            content["padding"] = asdict(self.padding)
        content |= {name: value for name in ("vector_dim", "mask_value") if (value := getattr(self, name)) is not None}
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The configuration from the text of config.json.

        Raises:
            ModelError: the text is not JSON, has another format version, lacks a field, has an unknown field, or a
                value is not allowed.
        """
        try:
            found: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"model: config.json is not JSON ({error}); restore it from your copy") from error
        if not isinstance(found, dict):
            raise ModelError(f"model: config.json contains a {type(found).__name__}; it must contain an object")
        if "format_version" not in found:
            raise ModelError(
                "model: config.json has no format_version, so it is damaged, or of another program; restore it from "
                "your copy, or import the model: unrolled model import"
            )
        version = found.pop("format_version")
        if type(version) is not int or version != FORMAT_VERSION:
            raise ModelError(
                f"model: config.json has format_version {version!r:.80}, but this program reads {FORMAT_VERSION}; use "
                "the version of unrolled that wrote it, or make a new directory"
            )
        check_names(cls, found, "config.json", _SELDOM_OF_MODEL)
        layers = found["layers"]
        if not isinstance(layers, list) or not 1 <= len(layers) <= MOST_LAYERS:
            raise ModelError(f"model: layers is {layers!r:.80}; give a list of 1..{MOST_LAYERS} objects")
        padding = Padding.from_json(found["padding"]) if "padding" in found else None
        made = tuple(_layer_of(number, layer) for number, layer in enumerate(layers))
        return cls(**{**found, "layers": made, "padding": padding})

    def _check_inputs(self) -> None:
        """Check what rows contain: token ids, whose embedding may be one-hot, or vectors."""
        if self.vector_dim is None:
            check_number("model", "vocab_size", self.vocab_size, LARGEST_VOCAB_SIZE)
            if self.embedding_dim is not None:
                check_number("model", "embedding_dim", self.embedding_dim, LARGEST_WIDTH)
            if self.mask_value is not None:
                raise ModelError(
                    "model: mask_value is given, but only a model that reads vectors has one; leave it out"
                )
            return
        check_number("model", "vector_dim", self.vector_dim, LARGEST_WIDTH)
        if type(self.vocab_size) is not int or self.vocab_size or self.embedding_dim is not None:
            raise ModelError(
                f"model: vocab_size is {self.vocab_size!r:.80}, embedding_dim is {self.embedding_dim!r:.80}, but a "
                "model with a vector_dim has no ids; give 0 and null"
            )
        if self.padding is not None:
            raise ModelError("model: padding is given, but it is a token id, and the model reads vectors; leave it out")
        if self.mask_value is not None:
            object.__setattr__(self, "mask_value", _checked_mask_value(self.mask_value))

    def _check_padding(self) -> None:
        if self.padding is None:
            return
        if not isinstance(self.padding, Padding):
            raise ModelError(f"model: padding is {self.padding!r:.80}; give a Padding, or None")
        if self.padding.id > self.vocab_size:
            raise ModelError(f"model: padding has id {self.padding.id}; give 0 or an id in 1..{self.vocab_size}")
        if self.padding.length != self.max_length:
            raise ModelError(
                f"model: max_length is {self.max_length}, but rows are padded to {self.padding.length} tokens; make "
                "the two numbers equal"
            )

    def _check_maps(self) -> None:
        if isinstance(self.layers[0], MapConfig) and self.vector_dim is None:
            raise ModelError(
                f"model: layers[0] is a {self.layers[0].kind}; the first layer must be recurrent: make what a map "
                "gives for each id a part of the embedding"
            )
        if not self.recurrent_layers:
            raise ModelError("model: it has no recurrent layer; give one at least")
        for number, (layer, inputs) in enumerate(zip(self.layers, self.input_dims, strict=True)):
            if isinstance(layer, MapConfig) and layer.keeps_width and inputs != layer.units:
                raise ModelError(
                    f"model: layers[{number}] is a {layer.kind} {layer.units} wide, but its input has width {inputs}; "
                    "make them equal"
                )

    def _check_residuals(self) -> None:
        for number, layer in enumerate(self.layers):
            if not layer.residual:
                continue
            source = number - layer.span  # -1 is the embedding, or the vectors of the rows
            if source < -1:
                raise ModelError(
                    f"model: layers[{number}] has span {layer.span}, but only {number + 1} inputs are below its "
                    f"output; give a span of at most {number + 1}"
                )
            if source < 0 and self.embedding_dim is None and self.vector_dim is None:
                raise ModelError(f"model: layers[{number}] is residual, but one-hot ids can't be added to its output")
            width = self.first_dim if source < 0 else self.layers[source].output_dim
            if width != layer.output_dim:
                raise ModelError(
                    f"model: layers[{number}] is residual, but its input has width {width} and its output width "
                    f"{layer.output_dim}; make them equal, or set residual to false"
                )


def _checked_mask_value(value: object) -> float:
    """A number that float32 can hold, as float32 holds it, because it is compared with numbers in float32."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_FLOAT32:
        raise ModelError(f"model: mask_value is {value!r:.80}; give a number that float32 can hold, or leave it out")
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


def _fields_of(layer: LayerConfig | MapConfig) -> dict[str, Any]:
    seldom = _SELDOM[type(layer)]
    found = {field.name: (getattr(layer, field.name), field.default) for field in fields(layer)}
    return {name: value for name, (value, default) in found.items() if name not in seldom or value != default}


def _layer_of(number: int, found: object) -> LayerConfig | MapConfig:
    if not isinstance(found, dict):
        raise ModelError(f"model: layers[{number}] is {found!r:.80}; it must be an object")
    kind = MapConfig if found.get("kind") in MAP_KINDS else LayerConfig
    check_names(kind, found, f"layers[{number}]", _SELDOM[kind])
    try:
        check_choice("kind", found["kind"], (*KINDS, *MAP_KINDS))
        return kind(**found)
    except ModelError as error:
        raise ModelError(f"model: layers[{number}]: {str(error).removeprefix('layer: ')}") from error
