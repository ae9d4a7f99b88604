"""Tokenization of rows: text or unchecked ids become checked token ids, a batch at a time."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from producer.rows import BadRow, Row, RowBatch, SourceBatch, SourceRow, automatic_id
from producer.tokenization.ascii_lookup import WordLookup, word_lookup
from producer.tokenization.token_ids import checked_ids
from unrolled.errors import ModelError, RowError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Characters that the tokenizer gets at once; it needs about a hundred bytes of memory for each.
_ENCODE_CHARACTERS = 1024 * 1024
# "[PAD]", "<pad>", "<|padding|>", "__pad__", …, but not a plain word.
_PADDING = re.compile(r"[<\[({|_]+\s*pad(ding)?\s*[>\])}|_]+", re.IGNORECASE).fullmatch


def load_tokenizer(path: Path, vocab_size: int) -> "Tokenizer":
    """Load a Hugging Face tokenizer file for a model.

    Truncation and padding are switched off, even if the file asks for them: tokens are neither dropped nor added.

    Args:
        path: tokenizer.json.
        vocab_size: the model's vocab_size; ids 1..vocab_size are words, 0 is padding.

    Raises:
        ModelError: the file can't be read, or its ids don't fit the model.
    """
    # Allow the library's threads; otherwise it prints a warning and stops using them when the process forks.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from tokenizers import Tokenizer  # noqa: PLC0415 - the command line starts without it

    try:
        tokenizer = Tokenizer.from_str(Path(path).read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises plain Exception
        raise ModelError(
            f"{path} is not a tokenizer file ({error}); make one with `unrolled tokenizer fit`, or copy one in "
            "Hugging Face tokenizers format"
        ) from error
    check_vocabulary(tokenizer, vocab_size, str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def check_vocabulary(tokenizer: "Tokenizer", vocab_size: int, name: str) -> None:
    """Check that a tokenizer's ids fit a model; `name` is the tokenizer's in the error.

    Raises:
        ModelError: an id is above `vocab_size`, or id 0 is a token other than padding.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    word, largest = max(vocabulary.items(), key=lambda item: item[1], default=("", 0))
    if largest > vocab_size:
        raise ModelError(
            f"{name}: the id of {word!r} is {largest}; the model's vocab_size allows 1..{vocab_size}. Make "
            f"the tokenizer with --vocab-size {vocab_size}, or a model with vocab_size {largest}"
        )
    padding = tokenizer.padding
    padding_token = None if padding is None or padding["pad_id"] != 0 else padding["pad_token"]
    for word, number in vocabulary.items():
        if number == 0 and word != padding_token and not _PADDING(word):
            raise ModelError(
                f"{name}: id 0 is the token {word!r}, but 0 is padding for the model; shift the ids by one, "
                "or call the token with id 0 [PAD]"
            )


def tokenize(
    batches: Iterable[SourceBatch],
    tokenizer: "Tokenizer | None",
    vocab_size: int,
    *,
    add_special_tokens: bool = True,
) -> Iterator[RowBatch]:
    """Yield, for each batch, its rows in their order with checked token ids; BadRows stay as they are.

    Args:
        batches: from the sources; an empty batch gives an empty batch.
        tokenizer: from `load_tokenizer`; None if the model has none, which makes rows with text bad.
        vocab_size: ids 0..vocab_size are allowed.
        add_special_tokens: whether to apply the tokenizer's post-processor, as Hugging Face does by default. Tokenizers
            that `unrolled tokenizer` makes have none.
    """
    lookup = word_lookup(tokenizer) if tokenizer else None
    for batch in batches:
        given = [row for row in batch if isinstance(row, SourceRow)]
        found_texts = [row.text for row in given if row.text is not None]
        texts = _looked_up(
            found_texts,
            lookup,
            _encoded([text for text in found_texts if not (lookup and text.isascii())], tokenizer, add_special_tokens),
        )
        ids = checked_ids([row.tokens if row.text is None else next(texts) for row in given], vocab_size)
        found = iter(ids)
        yield [row if isinstance(row, BadRow) else _row(row, next(found)) for row in batch]


def _row(row: SourceRow, found: NDArray[np.int32] | RowError) -> Row | BadRow:
    if isinstance(found, RowError):
        return BadRow(row.file, row.position, row.id, str(found))
    id = automatic_id(row.file, row.position) if row.id is None else row.id  # noqa: A001 - the field's name
    return Row(row.file, row.position, id, found)


def _looked_up(
    texts: Sequence[str], lookup: WordLookup | None, others: Iterator[list[int] | RowError]
) -> Iterator[list[int] | RowError]:
    """The ids of all texts in their order, given the ids of those that can't be looked up."""
    for text in texts:
        yield lookup.ids(text) if lookup and text.isascii() else next(others)


def _encoded(
    texts: Sequence[str], tokenizer: "Tokenizer | None", add_special_tokens: bool
) -> Iterator[list[int] | RowError]:
    if tokenizer is None:
        missing = RowError("has text, but the model has no tokenizer; add a tokenizer.json, or give token ids")
        yield from repeat(missing, len(texts))
        return
    start = 0
    while start < len(texts):
        end, characters = start + 1, len(texts[start])
        while end < len(texts) and characters + len(texts[end]) <= _ENCODE_CHARACTERS:
            characters += len(texts[end])
            end += 1
        yield from _encoded_part(texts[start:end], tokenizer, add_special_tokens)
        start = end


def _encoded_part(texts: Sequence[str], tokenizer: "Tokenizer", add_special_tokens: bool) -> list[list[int] | RowError]:
    try:
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=add_special_tokens)
    except Exception as error:  # noqa: BLE001 - tokenizers raises plain Exception
        if len(texts) == 1:
            return [RowError(f"the tokenizer refuses this text: {error}")]
        # Only one of the texts is bad.
        return [ids for text in texts for ids in _encoded_part([text], tokenizer, add_special_tokens)]
    return [encoding.ids for encoding in encodings]
