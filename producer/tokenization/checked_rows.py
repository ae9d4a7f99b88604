"""The rows that a model can compute, of rows as they were read: of texts and ids, or of vectors."""

from __future__ import annotations

from functools import partial
from itertools import tee
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from producer.sources.rows import PARTLY_READ, BadRow, Row, SourceRow, automatic_id
from producer.tokenization.tokenize import tokenize
from unrolled.errors import RowError
from unrolled.tokenization.vectors import checked_states, checked_vectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tokenizers import Tokenizer

    from producer.sources.rows import RowBatch, SourceBatch
    from producer.tokenization.coverage import Coverage
    from unrolled.model.config import ModelConfig


def checked_rows(
    batches: Iterable[SourceBatch],
    config: ModelConfig,
    tokenizer: Tokenizer | None,
    *,
    add_special_tokens: bool = True,
    coverage: Coverage | None = None,
) -> Iterator[RowBatch]:
    """Yield, for each batch, its rows in their order, checked for a model; BadRows stay as they are.

    Args:
        batches: from the sources; an empty batch gives an empty batch.
        config: of the model, which reads token ids or vectors, and perhaps initial states.
        tokenizer: see `tokenize`.
        add_special_tokens: see `tokenize`.
        coverage: see `tokenize`.
    """
    if config.given_dim:
        batches, given = tee(batches)
        contents = _contents(batches, config, tokenizer, add_special_tokens=add_special_tokens, coverage=coverage)
        yield from map(partial(_with_states, config.given_dim), given, contents)
    else:
        yield from _contents(batches, config, tokenizer, add_special_tokens=add_special_tokens, coverage=coverage)


def _with_states(width: int, given: SourceBatch, rows: RowBatch) -> RowBatch:
    """Rows of one batch with their initial states; a row whose states can't be used is bad."""
    states = iter(checked_states([row.state for row in given if _is_whole(row)], width))
    found: RowBatch = []
    for source, row in zip(given, rows, strict=True):
        state = next(states) if _is_whole(source) else None
        if isinstance(row, BadRow) or state is None:
            found.append(row)
        elif isinstance(state, RowError):
            found.append(BadRow(source.file, source.position, source.id, str(state)))
        else:
            found.append(row._replace(state=state))
    return found


def _is_whole(row: SourceRow | BadRow) -> TypeGuard[SourceRow]:
    return isinstance(row, SourceRow) and row.state is not PARTLY_READ


def _contents(
    batches: Iterable[SourceBatch],
    config: ModelConfig,
    tokenizer: Tokenizer | None,
    *,
    add_special_tokens: bool,
    coverage: Coverage | None,
) -> Iterator[RowBatch]:
    """The rows with their ids or vectors."""
    if config.vector_dim is None:
        yield from tokenize(
            batches,
            tokenizer,
            config.vocab_size,
            add_special_tokens=add_special_tokens,
            coverage=coverage,
            padding=config.padding,
        )
        return
    for batch in batches:
        given = [row.tokens for row in batch if isinstance(row, SourceRow)]
        found = iter(checked_vectors(given, config.vector_dim, config.mask_value))
        rows: RowBatch = []
        for row in batch:
            if isinstance(row, BadRow):
                rows.append(row)
            elif isinstance(one := next(found), RowError):
                rows.append(BadRow(row.file, row.position, row.id, str(one)))
            else:
                row_id = automatic_id(row.file, row.position) if row.id is None else row.id
                rows.append(Row(row.file, row.position, row_id, one.real.astype(np.int32), one.vectors))
        yield rows
