"""Token ids of texts."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

from unrolled.errors import RowError
from unrolled.tokenization.ascii_lookup import WordLookup

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Characters that the tokenizer gets at once; it needs about a hundred bytes of memory for each.
_ENCODE_CHARACTERS = 1024 * 1024


def ids_of_texts(
    texts: Sequence[str],
    tokenizer: "Tokenizer | None",
    lookup: WordLookup | None,
    *,
    add_special_tokens: bool = True,
) -> Iterator[list[int] | RowError]:
    """Yield for each text its token ids, not checked yet, or why it has none.

    Args:
        texts: the texts.
        tokenizer: from `load_tokenizer`; None if the model has none: then no text has ids.
        lookup: `word_lookup(tokenizer)`, or None: a faster way for ASCII texts, if the tokenizer allows it.
        add_special_tokens: whether to apply the tokenizer's post-processor, as Hugging Face does by default. Tokenizers
            that `unrolled tokenizer` makes have none.
    """
    others = _encoded([text for text in texts if not (lookup and text.isascii())], tokenizer, add_special_tokens)
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
            why = _lone_surrogate(texts[0]) or _unknown_word(texts[0], tokenizer)
            return [RowError(why or f"the tokenizer refuses this text: {error}")]
        # Only one of the texts is bad.
        return [ids for text in texts for ids in _encoded_part([text], tokenizer, add_special_tokens)]
    return [encoding.ids for encoding in encodings]


def _lone_surrogate(text: str) -> str | None:
    """The reason why a text that isn't Unicode is refused; None if it is."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"contains a lone surrogate at character {error.start} (from 0), which is not valid Unicode"
    return None


def _unknown_word(text: str, tokenizer: "Tokenizer") -> str | None:
    """The reason why a tokenizer without a token for unknown words refuses a text; None if that isn't the reason."""
    model, split = tokenizer.model, tokenizer.pre_tokenizer
    if type(model).__name__ != "WordLevel" or split is None or tokenizer.token_to_id(model.unk_token) is not None:
        return None
    whole = text if tokenizer.normalizer is None else tokenizer.normalizer.normalize_str(text)
    unknown = next((word for word, _ in split.pre_tokenize_str(whole) if tokenizer.token_to_id(word) is None), None)
    if unknown is None:
        return None
    return f"has {unknown!r:.80}, which isn't in the model's vocabulary, and there is no token for unknown words"
