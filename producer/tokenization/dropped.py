"""What a tokenizer drops: words or characters that it has no token for, where it has none for unknown ones either.

In the format of Hugging Face `tokenizers`, only byte-pair models (BPE) do so. The others replace what they don't know,
or refuse the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import Tokenizer


class Dropped:
    """Counts what a tokenizer drops.

    Args:
        tokenizer: one that drops something.
        vocabulary: id of each token.
        characters: those that it has tokens for; None if it looks up whole words only.

    Attributes:
        counts_characters: whether characters are counted, and not words.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary: dict[str, int], characters: set[str] | None) -> None:
        self.counts_characters = characters is not None
        self._normalizer, self._split = tokenizer.normalizer, tokenizer.pre_tokenizer
        self._vocabulary = vocabulary
        # Where each word begins with the separator (`unrolled.tokenization.word_rules`), that alone is none.
        firsts = {token[:1] for token, number in vocabulary.items() if number}
        self._no_words = ("", *(firsts if len(firsts) == 1 else ()))
        unknown = f"[^{re.escape(''.join(sorted(characters)))}]" if characters else "(?s:.)"
        self._unknown = re.compile(unknown)
        added = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.content]
        self._added = re.compile("|".join(map(re.escape, sorted(added, key=len, reverse=True)))) if added else None

    def count(self, text: str) -> tuple[int, int]:
        """The number of words or characters of a text, and how many of them are dropped. Added tokens don't count."""
        pieces = list(self._pieces(text))
        if self.counts_characters:
            return sum(map(len, pieces)), sum(len(self._unknown.findall(piece)) for piece in pieces)
        words = [piece for piece in pieces if piece not in self._no_words]
        return len(words), sum(word not in self._vocabulary for word in words)

    def _pieces(self, text: str) -> Iterator[str]:
        for given in [text] if self._added is None else self._added.split(text):
            whole = given if self._normalizer is None else self._normalizer.normalize_str(given)
            if self._split is None:
                yield whole
            else:
                yield from (piece for piece, _ in self._split.pre_tokenize_str(whole))


def dropped_by(tokenizer: Tokenizer, model: dict[str, Any]) -> Dropped | None:
    """What counts what a tokenizer drops; None if it drops nothing.

    Args:
        tokenizer: the tokenizer.
        model: its model, as its file describes it.
    """
    from tokenizers import pre_tokenizers  # noqa: PLC0415 - slow to import

    if model["type"] != "BPE" or model.get("unk_token") is not None or model.get("byte_fallback"):
        return None
    vocabulary: dict[str, int] = model["vocab"]
    prefix, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    bare = (token.removeprefix(prefix).removesuffix(suffix) for token in vocabulary)
    characters = {token for token in bare if len(token) == 1}
    if characters.issuperset(pre_tokenizers.ByteLevel.alphabet()):
        return None  # it has a token for each byte
    if model.get("ignore_merges") and not model["merges"] and not characters:
        return Dropped(tokenizer, vocabulary, None)
    return Dropped(tokenizer, vocabulary, characters)
