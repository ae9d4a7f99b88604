"""An ELMo as its program computes it, in plain float64: nothing is folded, and <S> and </S> are read as words.

This is what an import is compared with, so it shares no arithmetic with it: every word has all its characters, each
direction has layers of its own, and the states at <S> and </S> are computed and dropped.

Source: bilm/model.py; TensorFlow 1's `LSTMCell`, whose gates are i, j, f, o, with 1.0 added to the third.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.readers.elmo.options import DIRECTIONS, cell_name
from worker.model_import.readers.elmo.word_file import BEGIN, END

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Array, Float32
    from worker.model_import.readers.elmo.options import CharacterOptions, ElmoOptions

    Floats = NDArray[np.float64]


class Program:
    """Computes rows of words.

    Args:
        options: the sizes.
        arrays: the arrays of the file.
        words: the words; the id of each is its number, from 1.
        row_of: for a file with vectors of words, the row of each word in "embedding".
    """

    def __init__(
        self, options: ElmoOptions, arrays: Mapping[str, Array], words: Sequence[str], row_of: Callable[[str], int]
    ) -> None:
        self._options, self._arrays, self._words, self._row_of = options, arrays, words, row_of

    def run(self, rows: Sequence[NDArray[np.int64]], layers: int) -> dict[int, Float32]:
        """The states of each row at its words, (time, outputs), both directions side by side.

        Args:
            rows: rows of ids.
            layers: how many layers are computed.
        """
        texts = [[BEGIN, *(self._words[number - 1] for number in row), END] for row in rows]
        distinct = sorted({word for text in texts for word in text})
        vectors = dict(zip(distinct, self._vectors(distinct), strict=True))
        inputs = [np.stack([vectors[word] for word in text]) for text in texts]
        sides = [self._direction(inputs, direction, layers) for direction in DIRECTIONS]
        return {
            number: np.hstack(both)[1:-1].astype(np.float32) for number, both in enumerate(zip(*sides, strict=True))
        }

    def _direction(self, inputs: list[Floats], direction: int, layers: int) -> list[Floats]:
        given = [row[::-1] if direction else row for row in inputs]
        for layer in range(layers):
            name = cell_name(direction, layer)
            parts = {part: self._read(f"{name}/{part}") for part in ("W_0", "B")}
            if self._options.is_projected:
                parts["W_P_0"] = self._read(f"{name}/W_P_0")
            made = [_cell(row, parts, self._options) for row in given]
            skips = layer > 0 and self._options.residual
            given = [out + row for out, row in zip(made, given, strict=True)] if skips else made
        return [row[::-1] if direction else row for row in given]

    def _vectors(self, words: Sequence[str]) -> list[Floats]:
        if self._options.characters is None:
            table = self._arrays["embedding"].read()
            return [table[self._row_of(word)].astype(np.float64) for word in words]
        parts = {name: self._read(name) for name in self._arrays if not name.startswith("RNN_")}
        return [_vector(word, parts, self._options.characters) for word in words]

    def _read(self, name: str) -> Floats:
        return self._arrays[name].read().astype(np.float64)


def _cell(row: Floats, parts: Mapping[str, Floats], options: ElmoOptions) -> Floats:
    """One layer of one direction, from (time, D) to (time, S)."""
    state, cell, states = np.zeros(options.state), np.zeros(options.units), []
    for x in row:
        i, j, f, o = np.split(np.concatenate([x, state]) @ parts["W_0"] + parts["B"], 4)
        cell = _gate(f + 1.0) * cell + _gate(i) * np.tanh(j)
        if options.cell_clip is not None:
            cell = np.minimum(np.maximum(cell, -options.cell_clip), options.cell_clip)
        state = _gate(o) * np.tanh(cell)
        if "W_P_0" in parts:
            state = state @ parts["W_P_0"]
            if options.projection_clip is not None:
                state = np.minimum(np.maximum(state, -options.projection_clip), options.projection_clip)
        states.append(state)
    return np.array(states)


def _vector(word: str, parts: Mapping[str, Floats], options: CharacterOptions) -> Floats:
    """A word's vector, by the numbers of its characters: 256 to 260 are <S>, </S>, the word's marks and padding."""
    numbers = np.full(options.most, 260)
    inner = {BEGIN: [256], END: [257]}.get(word) or list(word.encode()[: options.most - 2])
    numbers[: len(inner) + 2] = [258, *inner, 259]
    given = parts["char_embed"][numbers]
    found: list[Any] = []
    for number, (width, _) in enumerate(options.filters):
        kernel, bias = parts[f"CNN/W_cnn_{number}"][0], parts[f"CNN/b_cnn_{number}"]
        windows = np.lib.stride_tricks.sliding_window_view(given, width, axis=0)  # (places, dim, width)
        largest = (np.tensordot(windows, kernel, axes=((2, 1), (0, 1))) + bias).max(axis=0)
        found.append(np.tanh(largest) if options.activation == "tanh" else np.maximum(largest, 0))
    x: Floats = np.concatenate(found)
    for number in range(options.highways):
        high = {
            name: parts[f"CNN_high_{number}/{name}"] for name in ("W_carry", "b_carry", "W_transform", "b_transform")
        }
        carry = _gate(x @ high["W_carry"] + high["b_carry"])
        x = carry * np.maximum(x @ high["W_transform"] + high["b_transform"], 0) + (1 - carry) * x
    return x @ parts["CNN_proj/W_proj"] + parts["CNN_proj/b_proj"] if "CNN_proj/W_proj" in parts else x


def _gate(x: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -x))
