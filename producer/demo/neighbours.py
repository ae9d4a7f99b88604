"""Words with similar states, found in the files of a job.

The files are read three times, a batch at a time, so memory doesn't grow with the number of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from unrolled.reading.dataset import Dataset

#: How many words are shown before and after a word.
_BEFORE, _AFTER = 6, 3
#: A word's place must have at least this many words before it: without them its state says little.
_LEAST_BEFORE = 3


class Place(NamedTuple):
    """A word in its row, and the similarity of its state to another.

    Attributes:
        cosine: cosine of the angle between the two states.
        before: the words before it.
        word: the word.
        after: the words after it.
    """

    cosine: float
    before: str
    word: str
    after: str


class _Tokens(NamedTuple):
    """The tokens of some rows, end to end: normalized states, ids, and where each token's row begins and ends."""

    states: NDArray[np.float32]  # (tokens, units)
    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def nearest(
    dataset: Dataset, tokenizer: Tokenizer, words: Sequence[str], count: int
) -> list[tuple[Place, list[Place]]]:
    """Find the most typical place of each word, and the places of other words with the most similar states.

    Args:
        dataset: the dataset of a job that stored its token ids.
        tokenizer: the tokenizer of its model.
        words: the words; those that don't occur are skipped.
        count: number of other words for each.

    Returns:
        For each word its place, whose cosine is that with the mean of all states of the word; and the other places.
    """
    vocabulary = tokenizer.get_vocab()
    ids = [number for word in words if (number := vocabulary.get(word, vocabulary.get(f" {word}"))) is not None]
    names = {number: name.strip() for name, number in vocabulary.items()}
    plain = np.zeros(max(names) + 1, bool)
    plain[[number for number, name in names.items() if name.isidentifier()]] = True
    found = list(_typical(dataset, ids, names))
    if not found:
        return []
    queries = np.stack([state for state, _ in found])  # (queries, units)
    best: list[list[Place]] = [[] for _ in found]
    for tokens in _batches(dataset):
        candidates = np.flatnonzero(plain[tokens.ids])
        cosines = tokens.states[candidates] @ queries.T  # (candidates, queries)
        for query, column in enumerate(cosines.T):
            places = [
                _place(tokens, int(candidates[at]), float(column[at]), names)
                for at in _nearest_of_each(column, tokens.ids[candidates], count + 1)
            ]
            best[query] = _best([*best[query], *places], found[query][1].word, count)
    return [(place, others) for (_, place), others in zip(found, best, strict=True)]


def _nearest_of_each(cosines: NDArray[np.float32], ids: NDArray[np.int64], count: int) -> list[int]:
    """The positions of the most similar token of each of the `count` most similar words."""
    order = np.argsort(cosines, kind="stable")
    last = np.full(int(ids.max(initial=0)) + 1, -1)
    last[ids[order]] = order  # NumPy keeps the last of several values: the most similar
    places = last[last >= 0]
    return [int(at) for at in places[np.argsort(-cosines[places], kind="stable")][:count]]


def _best(places: list[Place], word: str, count: int) -> list[Place]:
    """The most similar place of each word except `word`, the most similar first."""
    best: dict[str, Place] = {}
    for place in sorted(places, key=lambda each: -each.cosine):
        best.setdefault(place.word, place)
    best.pop(word, None)
    return list(best.values())[:count]


def _typical(dataset: Dataset, ids: list[int], names: dict[int, str]) -> Iterator[tuple[NDArray[np.float32], Place]]:
    """For each word that occurs, the normalized state that is nearest to the mean of its states, and its place."""
    means = {number: np.zeros(dataset.units) for number in ids}
    for tokens in _batches(dataset):
        for number in ids:
            means[number] += tokens.states[tokens.ids == number].sum(axis=0)
    best: dict[int, tuple[NDArray[np.float32], Place]] = {}
    for tokens in _batches(dataset):
        deep = np.arange(len(tokens.ids)) - tokens.starts >= _LEAST_BEFORE
        for number in ids:
            places = np.flatnonzero((tokens.ids == number) & deep)
            if not len(places):
                continue
            cosines = tokens.states[places] @ means[number] / np.linalg.norm(means[number])
            at, cosine = int(places[cosines.argmax()]), float(cosines.max())
            if number not in best or cosine > best[number][1].cosine:
                best[number] = (tokens.states[at].copy(), _place(tokens, at, cosine, names))
    yield from (best[number] for number in ids if number in best)


def _batches(dataset: Dataset) -> Iterator[_Tokens]:
    for batch in dataset.batches():
        if batch.tokens is None:
            raise ValueError("the job didn't store its tokens: run it with --with-tokens")
        ids = batch.tokens[batch.mask_values].astype(np.int64)
        lengths = np.diff(batch.offsets)
        norms = np.linalg.norm(batch.values, axis=1, keepdims=True)
        starts, ends = (np.repeat(bound, lengths) for bound in (batch.offsets[:-1], batch.offsets[1:]))
        states = (batch.values / np.maximum(norms, 1e-12)).astype(np.float32, copy=False)
        yield _Tokens(states, ids, starts, ends)


def _place(tokens: _Tokens, at: int, cosine: float, names: dict[int, str]) -> Place:
    first, last = max(int(tokens.starts[at]), at - _BEFORE), min(int(tokens.ends[at]), at + 1 + _AFTER)
    words = [names[number] for number in tokens.ids[first:last].tolist()]
    middle = at - first
    return Place(cosine, " ".join(words[:middle]), words[middle], " ".join(words[middle + 1 :]))
