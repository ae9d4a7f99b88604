"""The rows of a training: what of a corpus can be learnt from, on which side of the split, in which pieces."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from producer.sources.rows import Row
from producer.terminal.text import percent
from producer.tokenization.gaps import has_gap, line_of_gaps
from unrolled.errors import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from producer.sources.rows import RowBatch

#: A shorter row has nothing to predict.
FEWEST_TOKENS = 2
#: A share of held-out rows that was not asked for is reported if it differs by a quarter, and by 4 deviations.
_FAR, _DEVIATIONS = 1 / 4, 4


@dataclass(slots=True)
class Seen:
    """The numbers that are counted while a corpus is read.

    Attributes:
        rows: usable rows, those without targets too.
        bad: rows that can't be used.
        short: rows without targets: they have fewer than `FEWEST_TOKENS` real tokens.
        gaps: rows with padding between tokens.
        tokens: real tokens in the usable rows.
        reason: what is wrong with the first bad row; empty without one.
        digest: SHA-256 of the usable rows' lengths and ids.
    """

    rows: int = 0
    bad: int = 0
    short: int = 0
    gaps: int = 0
    tokens: int = 0
    reason: str = ""
    digest: Any = field(default_factory=hashlib.sha256)

    def facts(self) -> dict[str, Any]:
        """The counts as training.json contains them."""
        return {
            "rows": self.rows, "tokens": self.tokens, "bad_rows": self.bad, "rows_without_targets": self.short,
            "sha256": self.digest.hexdigest(),
        }  # fmt: skip

    def left_out(self) -> list[str]:
        """Lines about the rows that nothing is learnt from, for people; empty if there are none."""
        lines = []
        if self.short:
            rows = counted(self.short, "row has", "rows have")
            lines.append(f"{rows} fewer than {FEWEST_TOKENS} tokens, and so nothing to predict; left out")
        if self.bad:
            lines.append(f"{counted(self.bad, 'row')} can't be used; left out{self.reason}")
        if self.gaps:
            lines.append(line_of_gaps(self.gaps))
        return lines


def rows_with_targets(batch: RowBatch, seen: Seen) -> Iterator[NDArray[np.int32]]:
    """The real tokens, int32 (length,), of each row that has something to predict; all rows are counted."""
    for row in batch:
        if not isinstance(row, Row):
            seen.bad += 1
            seen.reason = seen.reason or f"; first: row {row.position} of {row.file}: {row.reason}"
            continue
        ids = row.tokens[row.tokens > 0]
        if len(ids) < len(row.tokens):
            seen.gaps += has_gap(row.tokens)
        seen.rows += 1
        seen.tokens += len(ids)
        seen.digest.update(len(ids).to_bytes(8, "little") + ids.astype("<i4").tobytes())
        if len(ids) < FEWEST_TOKENS:
            seen.short += 1
        else:
            yield ids


def held_out(ids: NDArray[np.int32], bound: int) -> bool:
    """Whether a row is held out for validation. Its content alone decides, so equal rows are always on one side.

    Args:
        ids: int32 (tokens,).
        bound: the share that is held out, times 2**64.
    """
    digest = hashlib.blake2b(ids.astype("<i4").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < bound


def line_of_share(rows: int, held: int, tokens: int, held_tokens: int, share: float) -> list[str]:
    """A line about a share of held-out rows that is another one than was asked for; none where chance explains it.

    Equal rows are on one side, so a text that occurs a thousand times takes a thousand rows with it.

    Args:
        rows: rows with targets.
        held: those that are held out.
        tokens: tokens of the rows.
        held_tokens: those of the rows that are held out.
        share: the share that was asked for.
    """
    found = held / max(rows, 1)
    by_chance = _DEVIATIONS * math.sqrt(share * (1 - share) / max(rows, 1))
    if abs(found - share) <= max(by_chance, _FAR * share):
        return []
    part = percent(held_tokens / max(tokens, 1))
    what = f"{held:,} of {counted(rows, 'row')} ({percent(found)}), and {part} of the tokens"
    return [f"{what}, are held out, not {percent(share)} (--validation-share): equal rows are held out together"]


def segments(ids: NDArray[np.int32], targets: int) -> Iterator[NDArray[np.int32]]:
    """Cut a long row so that each token but the first is a target once: a segment begins with the last one's end.

    Args:
        ids: int32 (tokens,).
        targets: the largest number of targets in a segment, which has one token more.
    """
    for start in range(0, len(ids) - 1, targets):
        yield ids[start : start + targets + 1]
