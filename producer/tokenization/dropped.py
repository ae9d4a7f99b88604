"""What a tokenizer drops: words or characters that it has no token for, where it has none for unknown ones either.

In the format of Hugging Face `tokenizers`, only byte-pair models (BPE) do so. The others replace what they don't know,
or refuse the text.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import AddedToken, Tokenizer

#: Pieces of texts whose losses are remembered.
_MOST_PIECES = 1 << 16


class Dropped:
    """Counts what a tokenizer drops.

    Args:
        tokenizer: one that drops something.
        model: its model, as its file describes it.

    Attributes:
        noun: what is counted: "words", "characters", or the "bytes" of a tokenizer of bytes.
    """

    def __init__(self, tokenizer: Tokenizer, model: dict[str, Any]) -> None:
        self._model, self._normalizer, self._split = tokenizer.model, tokenizer.normalizer, tokenizer.pre_tokenizer
        self._vocabulary: dict[str, int] = model["vocab"]
        self._prefix = model.get("continuing_subword_prefix") or ""
        self._suffix = model.get("end_of_word_suffix") or ""
        self._kept: dict[str, int] = {}
        self._unknown: re.Pattern[str] | None = None
        # Where each word begins with the separator (`unrolled.tokenization.word_rules`), that alone is none.
        firsts = {token[:1] for token, number in self._vocabulary.items() if number}
        self._no_words = ("", *(firsts if len(firsts) == 1 else ()))
        self.noun = "characters"
        if '"ByteLevel"' in json.dumps([_described(self._normalizer), _described(self._split)]):
            self.noun = "bytes"
        letters = {token for token in self._vocabulary if len(token) == 1}
        if not model["merges"] and not model.get("ignore_merges") and not self._prefix and not self._suffix:
            self._unknown = re.compile(f"[^{re.escape(''.join(sorted(letters)))}]" if letters else "(?s:.)")
        elif not model["merges"] and not letters:
            self.noun = "words"
        added = tokenizer.get_added_tokens_decoder().values()
        self._added = re.compile("|".join(map(_pattern, sorted(added, key=_length, reverse=True)))) if added else None

    def count(self, text: str) -> tuple[int, int]:
        """How many there are in a text, and how many of them are dropped. Added tokens don't count."""
        pieces = list(self._pieces(text))
        if self.noun == "words":
            words = [piece for piece in pieces if piece not in self._no_words]
            return len(words), sum(word not in self._vocabulary for word in words)
        return sum(map(len, pieces)), sum(map(self._lost, pieces))

    def _lost(self, piece: str) -> int:
        """The number of characters of a piece of a text that no token has."""
        if self._unknown is not None:
            return len(self._unknown.findall(piece))
        lost = self._kept.get(piece)
        if lost is None:
            tokens = (token.value for token in self._model.tokenize(piece))
            lost = len(piece) - sum(len(one.removeprefix(self._prefix).removesuffix(self._suffix)) for one in tokens)
            if len(self._kept) >= _MOST_PIECES:
                self._kept.clear()
            self._kept[piece] = lost
        return lost

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
    found = Dropped(tokenizer, model)
    if found.noun == "bytes" and model["vocab"].keys() >= set(pre_tokenizers.ByteLevel.alphabet()):
        return None
    return found


def _described(part: Any) -> Any:
    """A part of a tokenizer as its file describes it."""
    return None if part is None else json.loads(part.__getstate__())


def _length(token: AddedToken) -> int:
    return len(token.content)


def _pattern(token: AddedToken) -> str:
    """Where a token is found before a text is split."""
    found = re.escape(token.content)
    return rf"(?<!\w){found}(?!\w)" if token.single_word else found
