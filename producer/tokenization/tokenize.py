"""Tokenization of rows: text or unchecked ids become checked token ids, a batch at a time."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from producer.sources.rows import BadRow, Row, RowBatch, SourceBatch, SourceRow, automatic_id
from unrolled.errors import RowError
from unrolled.tokenization.ascii_lookup import word_lookup
from unrolled.tokenization.texts import ids_of_texts
from unrolled.tokenization.token_ids import checked_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from producer.tokenization.coverage import Coverage
    from unrolled.model.padding import Padding


def tokenize(
    batches: Iterable[SourceBatch],
    tokenizer: "Tokenizer | None",
    vocab_size: int,
    *,
    add_special_tokens: bool = True,
    coverage: "Coverage | None" = None,
    padding: "Padding | None" = None,
) -> Iterator[RowBatch]:
    """Yield, for each batch, its rows in their order with checked token ids; BadRows stay as they are.

    Args:
        batches: from the sources; an empty batch gives an empty batch.
        tokenizer: from `load_tokenizer`; None if the model has none, which makes rows with text bad.
        vocab_size: ids 0..vocab_size are allowed.
        add_special_tokens: whether to apply the tokenizer's post-processor, as Hugging Face does by default. Tokenizers
            that `unrolled tokenizer` makes have none.
        coverage: shown the texts and their ids.
        padding: of the model; rows with more real tokens than it pads to are bad. None if it pads none.
    """
    lookup = word_lookup(tokenizer) if tokenizer else None
    for batch in batches:
        given = [row for row in batch if isinstance(row, SourceRow)]
        found_texts = [row.text for row in given if row.text is not None]
        texts = ids_of_texts(found_texts, tokenizer, lookup, add_special_tokens=add_special_tokens)
        ids = checked_ids([row.tokens if row.text is None else next(texts) for row in given], vocab_size)
        if coverage and found_texts:
            of_texts = [one for row, one in zip(given, ids, strict=True) if row.text is not None]
            coverage.count(found_texts, of_texts, lookup, special_tokens=add_special_tokens)
        found = iter(ids if padding is None else [_short_enough(row, padding) for row in ids])
        rows: RowBatch = []
        for row in batch:
            if isinstance(row, BadRow):
                rows.append(row)
            elif isinstance(tokens := next(found), RowError):
                rows.append(BadRow(row.file, row.position, row.id, str(tokens)))
            else:
                row_id = automatic_id(row.file, row.position) if row.id is None else row.id
                rows.append(Row(row.file, row.position, row_id, tokens))
        yield rows


def _short_enough(ids: "NDArray[np.int32] | RowError", padding: "Padding") -> "NDArray[np.int32] | RowError":
    """The ids of a row that the model can pad; else the reason why it can't. Zeros are no tokens: none is computed."""
    if isinstance(ids, RowError) or ids.size <= padding.length:
        return ids
    real = int(np.count_nonzero(ids))
    return ids if real <= padding.length else RowError(padding.why_too_long(real))
