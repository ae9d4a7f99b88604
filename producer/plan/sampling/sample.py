"""A sample of the input's rows: what it says of all of them, and rows that a worker would compute together."""

# Over 150 lines: the sample and what is counted in it.

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from producer.plan.sampling.estimate import SMALL_SHARE, Draws, Estimate, quantiles, total_of
from producer.plan.sampling.sums import OF_ALL_TOKENS, SUMS, Limits, RowInParts
from producer.sources.rows import BadRow, Row
from producer.tokenization.checked_rows import checked_rows
from producer.tokenization.coverage import Coverage
from unrolled.format.positions import EVERY, LAST
from unrolled.tokenization.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from producer.plan.sampling.pieces import Frame, Piece, Seen
    from producer.sources.rows import SourceBatch
    from unrolled.format.positions import Positions
    from unrolled.model.config import ModelConfig

#: A row with more tokens is computed beside so few others that its tokens take longer.
LONG_ROW_TOKENS = 8192
#: Long rows that are kept, and tokens that are kept of each.
_LONG_ROWS, _LONG_TOKENS = 64, 32768
#: Examples of bad rows.
_EXAMPLES = 5
_BATCH_ROWS = 1024
_KEY_BYTES = 16


class LongRow(NamedTuple):
    """The beginning of a long row.

    Attributes:
        tokens: int32, the first real tokens.
        length: real tokens of the whole row.
        is_first: False where it is here for a later piece of the row, too.
    """

    tokens: NDArray[np.int32]
    length: int
    is_first: bool


@dataclass(slots=True)
class Sample:
    """The sample.

    Attributes:
        sums: estimates by the names in `SUMS`.
        lengths: real tokens of the rows that were seen; of one of which parts were, their mean estimate.
        weights: how many rows of the input each of these stands for.
        in_part: whether the longest of them is such an estimate.
        long_rows: some long rows.
        reasons: why rows are bad, a row of each kind: its file and the reason.
        unknown_share: share of the words that are not in the vocabulary; None where that isn't known.
        unknown_noun: what they are, see `producer.tokenization.coverage.Coverage`.
        words: how many of them this share was taken from.
        exact: whether every row was looked at, as a whole.
        begun_bytes: stored bytes of inputs of which only the beginning was read, because they can't be read elsewhere.
        read_bytes: stored bytes that were looked at.
        draws: pieces that were read.
    """

    sums: dict[str, Estimate]
    lengths: NDArray[np.int64]
    weights: NDArray[np.float64]
    in_part: bool
    long_rows: list[LongRow]
    reasons: list[str]
    unknown_share: float | None
    unknown_noun: str
    words: int
    exact: bool
    begun_bytes: int
    read_bytes: float
    draws: int

    def length_at(self, *shares: float) -> list[int]:
        """The lengths that these shares of the rows don't exceed."""
        return quantiles(self.lengths, self.weights, shares)


class Sampler:
    """Reads pieces of the input, and tokenizes their rows.

    Args:
        frames: the inputs.
        tokenizer: the model's; None where it has none.
        config: its configuration.
        special_tokens: whether the tokenizer adds its special tokens.
        positions: the tokens whose vectors are stored; None for all.
        sizes: stored bytes of each input.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        tokenizer: Tokenizer | None,
        config: ModelConfig,
        sizes: Sequence[int],
        *,
        special_tokens: bool,
        positions: Positions | None = None,
    ) -> None:
        self._frames = frames
        self._limits = Limits(config.max_length, config.padding)
        self._sizes = sizes
        self._positions = positions
        self._coverage = Coverage(tokenizer)
        self._words = self._unknown = 0.0
        self._words_read = 0
        self._batch: SourceBatch = []
        self._tokenized = checked_rows(
            self._batches(), config, tokenizer, add_special_tokens=special_tokens, coverage=self._coverage
        )
        self._numbers: dict[bytes, int] = {}
        self._long_rows: list[LongRow] = []
        self._reasons: dict[str, str] = {}  # kind of reason → a row's

    def sample(self, seconds: float, least_draws: int = 2) -> Sample:
        """Read pieces for this long, but so many of each kind of input at least; all of them where that takes less."""
        until = time.monotonic() + seconds
        kinds = [_Kind(frame) for frame in self._frames]
        unfinished = list(kinds)
        while unfinished:
            kind = min(unfinished, key=lambda kind: kind.turn(least_draws))
            if time.monotonic() > until and len(kind.draws) >= least_draws:
                break
            piece = next(kind.pieces, None)
            if piece is None:
                kind.draws.whole = True
                unfinished.remove(kind)
            elif piece.repeated:
                kind.draw_again(piece.unit)
            elif piece.size_bytes > 0:
                self._count(kind, piece)
        return self._summed_up(kinds)

    def run(self, tokens: int, seconds: float) -> list[Row]:
        """Rows that follow each other in the input, at least one.

        Args:
            tokens: real tokens in them, of a long row those at its beginning.
            seconds: about the longest time.
        """
        until = time.monotonic() + seconds
        rows: list[Row] = []
        if not self._frames:
            return rows
        for piece in max(self._frames, key=lambda frame: frame.size_bytes).consecutive():
            for _, row in self._rows([seen for seen in piece.rows if seen.begins]):
                if isinstance(row, Row) and tokens > 0:
                    rows.append(row)
                    tokens -= min(row.tokens.size, LONG_ROW_TOKENS)
            if tokens <= 0 or (rows and time.monotonic() > until):
                break
        return rows

    def _rows(self, seen: list[Seen]) -> Iterator[tuple[Seen, Row | BadRow]]:
        for start in range(0, len(seen), _BATCH_ROWS):
            some = seen[start : start + _BATCH_ROWS]
            self._batch = [one.row for one in some]
            yield from zip(some, map(self._with_ids, next(self._tokenized)), strict=True)

    def _with_ids(self, row: Row | BadRow) -> Row | BadRow:
        """A row of ids; of a row of vectors with numbers in their place, equal ones for equal vectors."""
        if isinstance(row, BadRow) or row.vectors is None:
            return row
        numbers = self._numbers
        # A digest, because a sample may have millions of vectors.
        keys = (blake2b(vector.tobytes(), digest_size=_KEY_BYTES).digest() for vector in row.vectors)
        ids = np.fromiter((numbers.setdefault(key, len(numbers) + 1) for key in keys), np.int32, len(row.tokens))
        return row._replace(tokens=ids * (row.tokens != 0), vectors=None)

    def _batches(self) -> Iterator[SourceBatch]:
        while True:
            yield self._batch

    def _count(self, kind: _Kind, piece: Piece) -> None:
        """Count a piece's rows, each with the part of it that is in the piece."""
        rows = [one for one in piece.rows if one.share > 0]
        whole, parts = [one for one in rows if one.whole == 1], [one for one in rows if one.whole != 1]
        found = self._with_words([one for one in whole if one.begins], 1)
        found += self._with_words([one for one in whole if not one.begins], 0)  # counted where they begin
        for one in parts:
            found += self._with_words([one], one.share * one.whole)
        table = np.array(found, np.float64).reshape(-1, len(SUMS) + 2)
        shares = table[:, -2]
        good = np.flatnonzero(table[:, 0] > 0)
        keys = [*[None] * (len(found) - len(parts)), *(one.part_of or object() for one in parts)]
        kind.lengths.append((piece.size_bytes, table[good, -1], shares[good], [keys[number] for number in good]))
        for row, one in zip(table[len(found) - len(parts) :], parts, strict=True):
            if one.part_of is not None:
                of_row = kind.in_parts.setdefault(one.part_of, RowInParts())
                of_row.add(piece.size_bytes, row[: len(SUMS)], one.share, row[-1])
        kind.draw(piece, (table[:, : len(SUMS)] * shares[:, None]).sum(0))

    def _with_words(self, rows: list[Seen], weight: float) -> list[tuple[float, ...]]:
        """What is seen of some rows, whose words are counted with a weight."""
        coverage = self._coverage
        words, unknown = coverage.words, coverage.unknown
        found = [self._seen(one, row) for one, row in self._rows(rows)]
        self._words_read += (coverage.words - words) * (weight > 0)
        self._words += weight * (coverage.words - words)
        self._unknown += weight * (coverage.unknown - unknown)
        return found

    def _seen(self, seen: Seen, row: Row | BadRow) -> tuple[float, ...]:
        """A row's parts of the sums, its share, and its length."""
        is_part, is_begun = seen.whole != 1, seen.whole != 1 and seen.part_of is None
        size = _size_of(seen) * seen.whole
        if isinstance(row, BadRow):
            return self._bad(seen, row, row.reason, size)
        ids = row.tokens.size * seen.whole
        real = row.tokens.size if row.tokens.all() else int(np.count_nonzero(row.tokens))
        length = real * seen.whole
        left_out = size * (1 - 1 / seen.whole) * is_begun  # parts of a plain file have all of it together
        max_length, padding = self._limits
        if padding is not None and length > padding.length and seen.part_of is None:  # else judged as a whole
            return self._bad(seen, row, padding.why_too_long(round(length)), size, left_out)
        if length > LONG_ROW_TOKENS and len(self._long_rows) < _LONG_ROWS:
            self._long_rows.append(LongRow(row.tokens[row.tokens > 0][:_LONG_TOKENS], round(length), seen.begins))
        is_longer, is_long = length > max_length, length > LONG_ROW_TOKENS
        vectors = length if self._positions is None else _stored(self._positions, row.tokens, length)
        automatic = seen.row.id is None
        id_bytes = _bytes_of(f"{row.file}#" if automatic else row.id)
        return (
            1, 0, id_bytes, automatic, ids, length, not length, is_longer, length * is_long, vectors, not vectors,
            size, left_out, is_part, seen.share, length,
        )  # fmt: skip

    def _bad(self, seen: Seen, row: Row | BadRow, reason: str, size: float, left_out: float = 0) -> tuple[float, ...]:
        """What `_seen` returns of a bad row."""
        self._reasons.setdefault(_kind_of(reason), f"{row.file}: {reason}")
        return (0, 1, *[0] * (len(SUMS) - 5), size, left_out, seen.whole != 1, seen.share, 0)

    def _with_rows_in_parts(self, kind: _Kind) -> dict[str, Estimate]:
        """The sums over all inputs of a kind, in which a row that was seen in parts is judged as a whole."""
        found = kind.estimates()
        for key, row in kind.in_parts.items():
            changes, reason = row.judged(kind.draws.weight, self._limits)
            if reason:
                self._reasons.setdefault(_kind_of(reason), f"{key[0]}: {reason}")
            for name, change in zip(SUMS, changes.tolist(), strict=True):
                found[name] = Estimate(max(0.0, found[name].value + change), found[name].error)
        return found

    def _summed_up(self, kinds: list[_Kind]) -> Sample:
        parts = [self._with_rows_in_parts(kind) for kind in kinds]
        lengths, weights, in_part = _lengths(kinds)
        sums = {name: total_of(parts, name) for name in SUMS}
        if sums["left_out"].value > SMALL_SHARE * sums["size"].value:
            sums |= {name: sums[name]._replace(error=None) for name in OF_ALL_TOKENS}
        digits = _digits(sums["rows"].value + sums["quarantined"].value, self._sizes)
        id_bytes, error = sums["id_bytes"]
        sums["id_bytes"] = Estimate(id_bytes + sums["automatic"].value * digits, error)
        return Sample(
            sums=sums,
            lengths=lengths,
            weights=weights,
            in_part=bool(lengths.size and in_part[lengths.argmax()]),
            long_rows=self._long_rows,
            reasons=list(self._reasons.values())[:_EXAMPLES],
            unknown_share=self._unknown / self._words if self._words else None,
            unknown_noun=self._coverage.noun,
            words=self._words_read,
            exact=all(kind.draws.whole for kind in kinds) and not sums["partly_read"].value,
            begun_bytes=sum(kind.frame.size_bytes for kind in kinds if kind.is_begun),
            read_bytes=sum(
                kind.draws.covered_bytes * (1 - part["left_out"].value / max(part["size"].value, 1))
                for kind, part in zip(kinds, parts, strict=True)
            ),
            draws=sum(len(kind.draws) for kind in kinds),
        )


class _Kind:
    """The draws from inputs of one kind."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.pieces = frame.pieces()
        self.draws = Draws(frame.size_bytes, SUMS)
        #: Of each piece its bytes, and its rows' lengths, shares and `Seen.part_of`.
        self.lengths: list[tuple[float, NDArray[np.float64], NDArray[np.float64], list[Hashable]]] = []
        self.in_parts: dict[tuple[str, int], RowInParts] = {}  # by `Seen.part_of`
        self._units: dict[int, tuple[float, NDArray[np.float64]]] = {}  # number → bytes read and sums over their rows

    @property
    def is_begun(self) -> bool:
        """Whether only the beginning of some inputs was read, and nothing is known of what comes later in them."""
        return self.frame.from_the_start and not (self.draws.whole and not self.frame.unread)

    def draw(self, piece: Piece, sums: NDArray[np.float64]) -> None:
        """Add a piece."""
        self.draws.add(piece.size_bytes, sums, repeated=False)
        before_bytes, before = self._units.get(piece.unit, (0.0, np.zeros(len(SUMS))))
        self._units[piece.unit] = before_bytes + piece.size_bytes, before + sums

    def draw_again(self, unit: int) -> None:
        """Draw all that was read of a unit once more; nothing where nothing could be read of it."""
        if unit in self._units:
            self.draws.add(*self._units[unit], repeated=True)

    def estimates(self) -> dict[str, Estimate]:
        """The sums over all inputs of this kind, by name; with the number of rows, where it is known."""
        found = self.draws.estimates()
        sampled = found["rows"].value + found["quarantined"].value
        if self.frame.rows is not None and sampled and not self.draws.whole:
            bad, automatic = found["quarantined"], found["automatic"]
            found["rows"] = Estimate(max(0.0, self.frame.rows - bad.value), bad.error)
            found["automatic"] = automatic.times(self.frame.rows / sampled)
        return found

    def turn(self, least_draws: int) -> tuple[bool, float]:
        """Whose turn it is: that of the smallest."""
        return len(self.draws) >= least_draws, len(self.draws) / self.frame.size_bytes


def _lengths(kinds: list[_Kind]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """The rows' lengths, how many rows of the input each stands for, and whether parts of it were read."""
    lengths, weights = [np.zeros(0)], [np.zeros(0)]
    keys: list[Hashable] = []
    for kind in kinds:
        for size, found, shares, of_parts in kind.lengths:
            lengths.append(found)
            weights.append(kind.draws.weight(size) * shares)
            keys += of_parts
    refused = {key for kind in kinds for key, row in kind.in_parts.items() if row.is_refused}
    is_kept = np.array([key not in refused for key in keys], np.bool_)
    together, weight = np.concatenate(lengths)[is_kept], np.concatenate(weights)[is_kept]
    keys = [key for key in keys if key not in refused]
    of_rows: dict[Hashable, list[int]] = {}
    for number, key in enumerate(keys):
        if key is not None:
            of_rows.setdefault(key, []).append(number)
    for places in of_rows.values():  # its parts differ, and a row has one length
        together[places] = np.average(together[places], weights=weight[places])
    return np.rint(together).astype(np.int64), weight, np.array([key is not None for key in keys], np.bool_)


def _size_of(seen: Seen) -> int:
    """Characters or token ids that were looked at."""
    row = seen.row
    content = None if isinstance(row, BadRow) else row.tokens if row.text is None else row.text
    return len(content) if isinstance(content, (str, list, np.ndarray)) else 1


def _digits(rows: float, sizes: Sequence[int]) -> float:
    """The digits of a row's number in its input, on average, if rows are spread over inputs as their bytes are."""
    shares = np.array(sizes, np.float64) / max(sum(sizes), 1)
    counts = np.maximum(rows * shares, 1e-9)
    # Numbers from 0 have one digit; those from 10, 100, … have one more.
    digits = np.ones(len(shares))
    for power in range(1, 18):
        digits += np.maximum(0.0, counts - 10.0**power) / counts
    return float((digits * shares).sum())


def _stored(positions: Positions, ids: NDArray[np.int32], length: float) -> float:
    """The tokens of a row whose vectors are stored; `ids` may be the first part of a row of `length` real tokens."""
    if positions.rule == EVERY:
        return length // (positions.count or 1)
    if positions.rule == LAST:
        return min(length, positions.count or 1)
    real = ids[ids > 0]
    return int(positions.chosen(Ragged.from_lengths(real, [real.size])).sum()) * length / max(real.size, 1)


def _bytes_of(row_id: str) -> int:
    return len(row_id) if row_id.isascii() else len(row_id.encode())


def _kind_of(reason: str) -> str:
    """A reason without its numbers."""
    return re.sub(r"[0-9]+", "#", reason)
