"""The options of an ELMo: a JSON file that says the sizes of the arrays in the file of weights, and what is clipped.

Source: bilm/model.py of github.com/allenai/bilm-tf (`BidirectionalLanguageModelGraph`).
"""

# Over 150 lines: every option with its check.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unrolled.model.checks import LARGEST_WIDTH
from unrolled.model.layer import LARGEST_CLIP
from worker.model_import.errors import ImportRefusedError
from worker.model_import.limits import MOST_JSON_BYTES, MOST_LAYERS
from worker.model_import.readers.keras.configuration import json_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: The directions by their numbers in names of arrays: RNN_0 reads forward, and RNN_1 backward.
DIRECTIONS = (0, 1)
#: Rows of the characters' embedding: 256 bytes, beginning and end of a sentence, beginning and end of a word, padding.
CHARACTERS = 261
#: ELMo has 50 characters a word, seven filters and two highway layers.
_MOST_CHARACTERS, _MOST_FILTERS, _MOST_HIGHWAYS = 1024, 64, 64
_ACTIVATIONS = ("relu", "tanh")


@dataclass(frozen=True, slots=True)
class CharacterOptions:
    """The network that computes the vector of a word from its characters.

    Attributes:
        dim: width of a character's vector.
        filters: width, in characters, and number of outputs of each convolution.
        activation: "relu" or "tanh", after each convolution.
        highways: number of highway layers.
        most: number of characters to which a word is cut or padded, with the marks of its beginning and its end.
    """

    dim: int
    filters: tuple[tuple[int, int], ...]
    activation: str
    highways: int
    most: int

    @property
    def outputs(self) -> int:
        """Outputs of all convolutions together."""
        return sum(number for _, number in self.filters)


@dataclass(frozen=True, slots=True)
class ElmoOptions:
    """The sizes of an ELMo.

    Attributes:
        width: width of a word's vector (D).
        units: width of the cells (U).
        layers: number of layers of each direction.
        residual: whether the input of each layer after the first is added to its output.
        cell_clip: the largest magnitude of cell states, or None.
        projection_clip: and of projected states.
        characters: the network of characters; None if the file contains the vectors of words.
    """

    width: int
    units: int
    layers: int
    residual: bool
    cell_clip: float | None
    projection_clip: float | None
    characters: CharacterOptions | None

    @property
    def is_projected(self) -> bool:
        """Whether states are projected to the width of a word's vector."""
        return self.width < self.units

    @property
    def state(self) -> int:
        """Width of a state (S)."""
        return self.width if self.is_projected else self.units

    def inputs(self, layer: int) -> int:
        """Width of what one direction of a layer reads."""
        return self.state if layer else self.width

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all arrays that the program reads from the file of weights, but for the vectors of words."""
        shapes: dict[str, tuple[int, ...]] = {}
        if self.characters is not None:
            shapes |= _character_shapes(self.characters, self.width)
        for direction in DIRECTIONS:
            for layer in range(self.layers):
                cell = cell_name(direction, layer)
                shapes[f"{cell}/W_0"] = (self.inputs(layer) + self.state, 4 * self.units)
                shapes[f"{cell}/B"] = (4 * self.units,)
                if self.is_projected:
                    shapes[f"{cell}/W_P_0"] = (self.units, self.width)
        return shapes


def cell_name(direction: int, layer: int) -> str:
    """How the names of the arrays of one direction of a layer begin."""
    return f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"


def _character_shapes(network: CharacterOptions, width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"char_embed": (CHARACTERS, network.dim)}
    for number, (size, outputs) in enumerate(network.filters):
        shapes[f"CNN/W_cnn_{number}"] = (1, size, network.dim, outputs)
        shapes[f"CNN/b_cnn_{number}"] = (outputs,)
    whole = network.outputs
    for number in range(network.highways):
        for part in ("carry", "transform"):
            shapes[f"CNN_high_{number}/W_{part}"] = (whole, whole)
            shapes[f"CNN_high_{number}/b_{part}"] = (whole,)
    if whole != width:
        shapes["CNN_proj/W_proj"] = (whole, width)
        shapes["CNN_proj/b_proj"] = (width,)
    return shapes


def read_options(path: Path) -> ElmoOptions:
    """Read a file of options.

    Raises:
        ImportRefusedError: it isn't one, or has a value that can't be imported; the text names the file.
    """
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            raise ImportRefusedError(
                f"{path} has more than {MOST_JSON_BYTES:,} bytes; no file of options is that large"
            )
        found = json_object(path.read_bytes(), str(path))
    except OSError as error:
        raise ImportRefusedError(f"{path} can't be read ({error.strerror or error})") from error
    try:
        return _options(found)
    except ImportRefusedError as error:
        raise ImportRefusedError(f"{path}: {error}. Give the options.json that belongs to the weights") from error


def _options(found: Mapping[str, Any]) -> ElmoOptions:
    lstm, network = _object(found, "lstm"), None
    if found.get("bidirectional", True) is not True:
        raise ImportRefusedError(f"bidirectional is {found['bidirectional']!r:.80}; only true can be imported")
    if found.get("char_cnn") is not None:
        network = _characters(_object(found, "char_cnn"))
    residual = lstm.get("use_skip_connections")
    if type(residual) is not bool:
        raise ImportRefusedError(f"use_skip_connections is {residual!r:.80}; true or false is expected")
    made = ElmoOptions(
        _number(lstm, "projection_dim", LARGEST_WIDTH),
        _number(lstm, "dim", LARGEST_WIDTH),
        _number({"n_layers": 1, **lstm}, "n_layers", MOST_LAYERS),
        residual,
        _clip(lstm, "cell_clip"),
        _clip(lstm, "proj_clip"),
        network,
    )
    if made.residual and made.state != made.inputs(1):
        raise ImportRefusedError("the input of a layer is added to its output, and their widths differ")
    return made


def _characters(found: Mapping[str, Any]) -> CharacterOptions:
    filters = found.get("filters")
    if not isinstance(filters, list) or not 1 <= len(filters) <= _MOST_FILTERS:
        raise ImportRefusedError(f"filters are {filters!r:.80}; 1 to {_MOST_FILTERS} pairs of numbers are expected")
    most = _number(found, "max_characters_per_token", _MOST_CHARACTERS)
    sizes = []
    for one in filters:
        if not isinstance(one, list) or len(one) != 2:
            raise ImportRefusedError(f"filters contain {one!r:.80}; a pair of numbers is expected")
        pair = {"the width of a filter": one[0], "the number of a filter's outputs": one[1]}
        width, outputs = (_number(pair, name, LARGEST_WIDTH) for name in pair)
        if width > most:
            raise ImportRefusedError(f"a filter is {width} characters wide, but words have {most}")
        sizes.append((width, outputs))
    activation = found.get("activation")
    if activation not in _ACTIVATIONS:
        raise ImportRefusedError(f"activation is {activation!r:.80}; relu and tanh can be imported")
    highways = found.get("n_highway")
    rows = found.get("n_characters", CHARACTERS + 1)  # bilm's users add one after training, for padding
    if rows not in (CHARACTERS, CHARACTERS + 1):
        raise ImportRefusedError(
            f"n_characters is {rows!r:.80}; only models of bytes can be imported, which have {CHARACTERS + 1}"
        )
    made = CharacterOptions(
        _number(_object(found, "embedding"), "dim", LARGEST_WIDTH),
        tuple(sizes),
        str(activation),
        0 if highways in (None, 0) else _number(found, "n_highway", _MOST_HIGHWAYS),
        most,
    )
    if most < 3:  # a mark, a byte, a mark
        raise ImportRefusedError(f"max_characters_per_token is {most}; a word needs 3 at least")
    if made.outputs > LARGEST_WIDTH:
        raise ImportRefusedError(f"its filters have {made.outputs:,} outputs; at most {LARGEST_WIDTH:,} are allowed")
    return made


def _object(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = found.get(name)
    if not isinstance(inner, dict):
        raise ImportRefusedError(f"{name} is {inner!r:.80}; an object is expected")
    return inner


def _number(found: Mapping[str, Any], name: str, largest: int) -> int:
    value = found.get(name)
    if type(value) is not int or not 1 <= value <= largest:
        raise ImportRefusedError(f"{name} is {value!r:.80}; a whole number in 1..{largest:,} is expected")
    return value


def _clip(found: Mapping[str, Any], name: str) -> float | None:
    value = found.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value < LARGEST_CLIP:
        raise ImportRefusedError(
            f"{name} is {value!r:.80}; null, or a number above 0 and below {LARGEST_CLIP:g}, is expected"
        )
    return float(value)
