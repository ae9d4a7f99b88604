"""The vectors of words from their characters: an embedding of bytes, convolutions, highway layers and a projection.

Every word has a fixed number of characters, and shorter words are padded, so a filter sees many windows of padding.
They are all alike, and of the windows of a filter only the largest number counts: one window of padding is enough.

Source: bilm/model.py (`_build_word_char_embeddings`), bilm/data.py (`UnicodeCharsVocabulary`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.readers.elmo.word_file import BEGIN, END
from worker.model_import.token_maps import ACTIVATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Array, Float32
    from worker.model_import.readers.elmo.options import CharacterOptions

    Vectors = NDArray[np.float64]

#: The characters after the 256 bytes.
_SENTENCES = {BEGIN: 256, END: 257}
_WORD_BEGIN, _WORD_END, _PADDING = 258, 259, 260
#: Words that are computed together: more take memory, fewer take time.
_TOGETHER = 256


def characters_of(word: str, most: int) -> list[int]:
    """The characters of a word between the marks of its beginning and its end, without padding.

    Args:
        word: a word; <S> and </S> are one character each.
        most: the largest number of characters, with both marks; longer words are cut.
    """
    sentence = _SENTENCES.get(word)
    inner = list(word.encode()[: most - 2]) if sentence is None else [sentence]
    return [_WORD_BEGIN, *inner, _WORD_END]


class CharacterNetwork:
    """Computes the vectors of words.

    Args:
        options: the sizes of the network.
        arrays: the arrays of the file of weights.
    """

    def __init__(self, options: CharacterOptions, arrays: Mapping[str, Array]) -> None:
        self._options = options
        self._parts = {
            name: array.read().astype(np.float64) for name, array in arrays.items() if not name.startswith("RNN_")
        }

    def vectors(self, words: Sequence[str]) -> Float32:
        """The vectors of words, (words, width)."""
        rows = [characters_of(word, self._options.most) for word in words]
        by_length = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        made: Float32 | None = None
        for start in range(0, len(rows), _TOGETHER):
            chosen = by_length[start : start + _TOGETHER]
            vectors = self._projected(self._highways(self._convolved([rows[number] for number in chosen])))
            if made is None:
                made = np.empty((len(rows), vectors.shape[1]), np.float32)
            made[chosen] = vectors
        return made if made is not None else np.empty((0, 0), np.float32)

    def _convolved(self, rows: list[list[int]]) -> Vectors:
        """The outputs of all convolutions, (rows, outputs)."""
        options, parts = self._options, self._parts
        longest = max(map(len, rows)) + max(width for width, _ in options.filters)
        padded = np.full((len(rows), min(longest, options.most)), _PADDING)
        for number, row in enumerate(rows):
            padded[number, : len(row)] = row
        given = parts["char_embed"][padded]  # (rows, characters, dim)
        made = []
        for number, (width, outputs) in enumerate(options.filters):
            kernel = parts[f"CNN/W_cnn_{number}"].reshape(width * options.dim, outputs)
            largest = np.full((len(rows), outputs), -np.inf)
            for start in range(given.shape[1] - width + 1):
                window = given[:, start : start + width].reshape(len(rows), -1)
                np.maximum(largest, window @ kernel, out=largest)
            made.append(ACTIVATIONS[options.activation](largest + parts[f"CNN/b_cnn_{number}"]))
        return np.hstack(made)

    def _highways(self, vectors: Vectors) -> Vectors:
        for number in range(self._options.highways):
            carry, transform = (_affine(vectors, self._parts, f"CNN_high_{number}", part) for part in _HIGHWAY)
            gate = ACTIVATIONS["sigmoid"](carry)
            vectors = gate * np.maximum(transform, 0) + (1 - gate) * vectors
        return vectors

    def _projected(self, vectors: Vectors) -> Vectors:
        return _affine(vectors, self._parts, "CNN_proj", "proj") if "CNN_proj/W_proj" in self._parts else vectors


_HIGHWAY = ("carry", "transform")


def _affine(vectors: Vectors, parts: Mapping[str, NDArray[Any]], place: str, part: str) -> Vectors:
    return np.asarray(vectors @ parts[f"{place}/W_{part}"] + parts[f"{place}/b_{part}"])
