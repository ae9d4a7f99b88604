"""What the states of a job mean, from its files alone: words whose states point the same way.

The files are read twice, a batch at a time, so it needs no more memory for more rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from unrolled.reading.dataset import Dataset

#: Words shown before and after one.
_BEFORE, _AFTER = 6, 3
#: A word is looked up where at least so many stand before it: a state without a past says little.
_LEAST_BEFORE = 3


class Place(NamedTuple):
    """A word where it stands, and how near its state is to another's.

    Attributes:
        cosine: of the angle between the two states.
        before: the words before it.
        word: itself.
        after: the words after it.
    """

    cosine: float
    before: str
    word: str
    after: str


class _Part(NamedTuple):
    """Some rows' tokens, end to end: states of length 1, ids, and where each token's row begins and ends."""

    states: NDArray[np.float32]  # (tokens, units)
    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


def nearest(
    dataset: Dataset, tokenizer: Tokenizer, words: Sequence[str], count: int
) -> list[tuple[Place, list[Place]]]:
    """For each word that occurs: its most typical place, and the places of other words whose states are nearest.

    Args:
        dataset: of a job with the token ids stored.
        tokenizer: the model's.
        words: to be looked up.
        count: places for each, one of a word.

    Returns:
        For each word its place (the cosine is that with the mean of all of the word's states), and the others.
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
    for part in _parts(dataset):
        candidates = np.flatnonzero(plain[part.ids])
        cosines = part.states[candidates] @ queries.T  # (candidates, queries)
        for query, column in enumerate(cosines.T):
            places = [
                _place(part, int(candidates[at]), float(column[at]), names)
                for at in _nearest_of_each(column, part.ids[candidates], count + 1)
            ]
            best[query] = _best([*best[query], *places], found[query][1].word, count)
    return [(place, others) for (_, place), others in zip(found, best, strict=True)]


def _nearest_of_each(cosines: NDArray[np.float32], ids: NDArray[np.int64], count: int) -> list[int]:
    """Where the most similar token of each of the `count` most similar words stands."""
    order = np.argsort(cosines, kind="stable")
    last = np.full(int(ids.max(initial=0)) + 1, -1)
    last[ids[order]] = order  # of several values for one place, the last one stays: the most similar
    places = last[last >= 0]
    return [int(at) for at in places[np.argsort(-cosines[places], kind="stable")][:count]]


def _best(places: list[Place], word: str, count: int) -> list[Place]:
    """One place for each word but one, the most similar first."""
    best: dict[str, Place] = {}
    for place in sorted(places, key=lambda each: -each.cosine):
        best.setdefault(place.word, place)
    best.pop(word, None)
    return list(best.values())[:count]


def _typical(dataset: Dataset, ids: list[int], names: dict[int, str]) -> Iterator[tuple[NDArray[np.float32], Place]]:
    """Each word's state, of length 1, that is nearest to the mean of all of them, and its place."""
    means = {number: np.zeros(dataset.units) for number in ids}
    for part in _parts(dataset):
        for number in ids:
            means[number] += part.states[part.ids == number].sum(axis=0)
    best: dict[int, tuple[NDArray[np.float32], Place]] = {}
    for part in _parts(dataset):
        deep = np.arange(len(part.ids)) - part.starts >= _LEAST_BEFORE
        for number in ids:
            places = np.flatnonzero((part.ids == number) & deep)
            if not len(places):
                continue
            cosines = part.states[places] @ means[number] / np.linalg.norm(means[number])
            at, cosine = int(places[cosines.argmax()]), float(cosines.max())
            if number not in best or cosine > best[number][1].cosine:
                best[number] = (part.states[at].copy(), _place(part, at, cosine, names))
    yield from (best[number] for number in ids if number in best)


def _parts(dataset: Dataset) -> Iterator[_Part]:
    for batch in dataset.batches():
        if batch.tokens is None:
            raise ValueError("the job didn't store its tokens: run it with --with-tokens")
        ids = batch.tokens[batch.mask_values].astype(np.int64)
        lengths = np.diff(batch.offsets)
        norms = np.linalg.norm(batch.values, axis=1, keepdims=True)
        starts, ends = (np.repeat(bound, lengths) for bound in (batch.offsets[:-1], batch.offsets[1:]))
        states = (batch.values / np.maximum(norms, 1e-12)).astype(np.float32, copy=False)
        yield _Part(states, ids, starts, ends)


def _place(part: _Part, at: int, cosine: float, names: dict[int, str]) -> Place:
    first, last = max(int(part.starts[at]), at - _BEFORE), min(int(part.ends[at]), at + 1 + _AFTER)
    words = [names[number] for number in part.ids[first:last].tolist()]
    middle = at - first
    return Place(cosine, " ".join(words[:middle]), words[middle], " ".join(words[middle + 1 :]))
