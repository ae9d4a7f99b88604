"""ELMos: a file of weights in HDF5, one of options in JSON, and the user's list of words.

An ELMo computes the vector of a word from its characters, so it can read any word. Here the vectors of a list of words
are computed once and become the embedding. The layers of the two directions are independent: each layer reads the
states of its own direction alone. Side by side they are bidirectional layers, whose kernels have zeros for what the
other direction gives. Adding products with 0 changes no sum.

Source: bilm/model.py of github.com/allenai/bilm-tf; allennlp/modules/elmo.py and elmo_lstm.py of
github.com/allenai/allennlp.
"""

# Over 150 lines: from the three files to layers, step by step.

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Equations, Found, Layer, Node, Pass, Table, Words
from worker.model_import.limits import check_array
from worker.model_import.readers.elmo.characters import CharacterNetwork
from worker.model_import.readers.elmo.equations import Program
from worker.model_import.readers.elmo.first_states import first_states
from worker.model_import.readers.elmo.options import DIRECTIONS, ElmoOptions, cell_name, read_options
from worker.model_import.readers.elmo.word_file import BEGIN, END, UNKNOWN, read_words
from worker.model_import.readers.keras.hdf5_tree import arrays, damage_told, group_at, open_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from worker.model_import.found import Float32

WEIGHTS, OPTIONS = "weights.hdf5", "options.json"
_HEAD = "softmax/"
_TABLE = "embedding"
_WORDS = "words"
_SHOWN = 5


@damage_told()
def is_elmo(path: Path) -> bool:
    """Whether an HDF5 file has the layers of an ELMo.

    Raises:
        ImportRefusedError: h5py isn't installed, or the file can't be read.
    """
    with open_file(path) as root:
        return group_at(root, cell_name(0, 0)) is not None


@damage_told()
def read_elmo(path: Path, options_path: Path | None, words_path: Path | None) -> Found:
    """Read an ELMo.

    Args:
        path: the file of weights.
        options_path: the file of options; None for the one beside the weights.
        words_path: the words that the model will read, one on each line.

    Raises:
        ImportRefusedError: a file is missing or can't be read, or they don't belong together.
    """
    options = read_options(options_path or _options_beside(path))
    if words_path is None:
        raise ImportRefusedError(
            "it has the weights of an ELMo, which computes the vectors of words from their characters; give a file of "
            "the words that your rows contain, one on each line: --vocabulary words.txt. For SeqVec, the words are the "
            "letters of amino acids"
        )
    words = read_words(words_path)
    # The file stays open: the arrays are read from it later.
    stored, left = _checked({array.name: array for array in arrays(open_file(path))}, options, words)
    reading = _Reading(options, stored, words)
    table = Array(_WORDS, check_array(str(words_path), (len(words) + 1, options.width), 4), reading.table)
    found = Found("ELMo", left=left, words=_words_of(words, words_path))
    found.tables[_WORDS] = Table(_WORDS, table, mask_zero=True, label=_label(options, len(words), words_path))
    _add_layers(found, reading, options)
    found.notes += _NOTES
    found.own = Equations("ELMo's own equations", reading.program.run)
    return found


def _add_layers(found: Found, reading: _Reading, options: ElmoOptions) -> None:
    """Add the layers and their graph: each reads the one below it, with the sum of that one and its input included."""
    found.graph = {
        "ids": Node("ids", "input", "input"),
        _WORDS: Node(_WORDS, "table", "words", ("ids",), _WORDS),
    }
    before = _WORDS
    for number in range(options.layers):
        name = f"Cell{number}"
        forward, backward = (reading.one_pass(direction, number) for direction in DIRECTIONS)
        found.layers[name] = Layer(name, forward, backward)
        found.graph[name] = Node(name, "layer", "LSTM", (before,), name, recurs=True, masked=True)
        if number and options.residual:
            ends = f"{name} + its input"
            found.graph[ends] = Node(ends, "add", "sum", (name, before), of_layer=True)
        before = next(reversed(found.graph))


_NOTES = (
    "the id of a word is the number of its line",
    f"rows begin with the states after {BEGIN} (backward: after {END}), as in a fresh run of ELMo; they need neither",
    "ELMo's first layer, the vector of a word twice, is in no job: it is the embedding's row in model.safetensors",
)


def _options_beside(path: Path) -> Path:
    own = path.with_name(path.stem.replace("weights", "options") + ".json")
    for beside in (own, path.with_name(OPTIONS)):
        if beside.is_file():
            return beside
    raise ImportRefusedError(
        f"it has the weights of an ELMo, whose sizes are in another file, {OPTIONS}, and beside it there is none: "
        "--options FILE"
    )


def _checked(
    stored: dict[str, Array], options: ElmoOptions, words: Sequence[str]
) -> tuple[dict[str, Array], list[str]]:
    """The arrays that the options name, and the names of the others.

    Raises:
        ImportRefusedError: arrays are missing, have other shapes, or are not mentioned by the options.
    """
    shapes = options.shapes()
    if options.characters is None:
        shapes[_TABLE] = (len(words), options.width)
    wrong = [
        f"{name} is {stored[name].shape if name in stored else 'missing'}, not {shape}"
        for name, shape in shapes.items()
        if name not in stored or stored[name].shape != shape
    ]
    others = [name for name in stored if name not in shapes]
    wrong += [f"{name} isn't used" for name in others if not name.startswith(_HEAD)]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise ImportRefusedError(
            f"its arrays are not those that the options describe: {'; '.join(wrong[:_SHOWN])}{more}. Give the "
            f"{OPTIONS} that belongs to these weights: --options FILE"
            + ("; without char_cnn, give the words that the model was trained with" if _TABLE in shapes else "")
        )
    return {name: stored[name] for name in shapes}, [f"{name} (head)" for name in others]


def _label(options: ElmoOptions, count: int, path: Path) -> str:
    network = options.characters
    how = (
        "the file's own vectors"
        if network is None
        else f"computed from their characters by {len(network.filters)} convolutions and {network.highways} highway "
        "layers, once for each word, as the embedding"
    )
    return f"{path.name}: {count:,} words, {options.width} wide, {how}"


def _words_of(words: Sequence[str], path: Path) -> Words:
    index = {word: number for number, word in enumerate(words, 1)}
    letters = all(len(word) == 1 for word in words if word not in (BEGIN, END, UNKNOWN))
    what, split = ("character", "each character is a word") if letters else ("word", "words are separated by blanks")
    others = (
        f"all others are {UNKNOWN}"
        if UNKNOWN in index
        else f"a row with another {what} is refused, because its vector isn't in the model"
    )
    return Words(index, UNKNOWN, 1, f"the words of {path.name}; {split}, and {others}", of_characters=letters)


class _Reading:
    """Reads the arrays of a model directory from those of an ELMo, each when it is needed."""

    def __init__(self, options: ElmoOptions, stored: Mapping[str, Array], words: Sequence[str]) -> None:
        self._options, self._stored, self._words = options, stored, words
        self._rows = {word: number for number, word in enumerate(words)}
        self.program = Program(options, stored, words, self._row_of)
        self._first = cache(self._first_states)

    def table(self) -> Float32:
        """The embedding: a row of zeros for padding, and the vectors of the words."""
        table = np.zeros((len(self._words) + 1, self._options.width), np.float32)
        try:
            table[1:] = self._vectors(self._words)
        except MemoryError as error:
            raise ImportRefusedError(
                f"the vectors of {len(self._words):,} words don't fit into memory; give fewer words"
            ) from error
        return table

    def one_pass(self, direction: int, layer: int) -> Pass:
        """One direction of a layer."""
        options, name = self._options, cell_name(direction, layer)
        width = 2 * options.state if layer else options.width
        kernel = Array(
            f"{name}/W_0", (width + options.state, 4 * options.units), partial(self._kernel, direction, layer)
        )
        parts = {"kernel": kernel, "bias": self._stored[f"{name}/B"]}
        if options.is_projected:
            parts["projection"] = self._stored[f"{name}/W_P_0"]
        first = tuple(
            Array(f"{name}/{what}", (size,), partial(self._first_of, direction, layer, number))
            for number, (what, size) in enumerate((("first state", options.state), ("first cell", options.units)))
        )
        projection = options.width if options.is_projected else None
        clips = options.cell_clip, options.projection_clip if options.is_projected else None
        return Pass("tf1", "lstm", width, options.units, parts, projection, forget_bias=1.0, first=first, clips=clips)

    def _kernel(self, direction: int, layer: int) -> Float32:
        """A kernel with zeros for the states of the other direction, which a layer above the first is given too."""
        own = self._stored[f"{cell_name(direction, layer)}/W_0"].read()
        if not layer:
            return own
        zeros = np.zeros((self._options.state, own.shape[1]), np.float32)
        return np.concatenate([zeros, own] if direction else [own[: len(zeros)], zeros, own[len(zeros) :]])

    def _first_of(self, direction: int, layer: int, number: int) -> Float32:
        return self._first(direction)[layer][number]

    def _first_states(self, direction: int) -> list[tuple[Float32, Float32]]:
        (vector,) = self._vectors([END if direction else BEGIN])
        return first_states(self._options, self._stored, direction, vector)

    def _vectors(self, words: Sequence[str]) -> Float32:
        if self._options.characters is not None:
            return CharacterNetwork(self._options.characters, self._stored).vectors(words)
        table = self._stored[_TABLE].read()
        return table[[self._row_of(word) for word in words]]

    def _row_of(self, word: str) -> int:
        if word not in self._rows:
            raise ImportRefusedError(f"the vocabulary has no {word}; give the words that the model was trained with")
        return self._rows[word]
