"""How many of the words of a job's texts the model knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.tokenization.word_rules import WordRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from unrolled.errors import RowError

#: Where words are dropped, all of the first texts are looked at, and then every n-th, which stands for as many:
#: splitting texts a second time takes time.
ALL_OF_FIRST, ONE_OF = 1000, 16
_RULES = WordRules()


class Coverage:
    """Counts words, and those among them that are not in a tokenizer's vocabulary.

    Args:
        tokenizer: the model's tokenizer; None if it has none.

    Attributes:
        words: words of the texts, estimated if not all texts were looked at; for a tokenizer of parts of words, those
            parts.
        unknown: those that were dropped, or replaced by the token for unknown words.
        is_exact: whether all texts were looked at.
    """

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self.words = self.unknown = 0
        self.is_exact = True
        token = getattr(tokenizer.model, "unk_token", None) if tokenizer else None
        self._replacement = tokenizer.token_to_id(token) if tokenizer and token else None
        self._texts = 0

    @property
    def unknown_share(self) -> float | None:
        """The share of unknown words; None where no word was seen, or the tokenizer doesn't say which are unknown."""
        return self.unknown / self.words if self.words else None

    def count(self, texts: Sequence[str], ids: Sequence[NDArray[np.int32] | RowError], *, dropping: bool) -> None:
        """Look at the next texts, or at some of them.

        Args:
            texts: some rows'.
            ids: what the tokenizer made of each.
            dropping: whether it drops words, which are split by the rules of `WordRules`.
        """
        first, self._texts = self._texts, self._texts + len(texts)
        if not dropping:
            if self._replacement is not None:
                for found in ids:
                    if isinstance(found, np.ndarray):
                        self.words += found.size
                        self.unknown += int(np.count_nonzero(found == self._replacement))
            return
        one_of = 1 if first < ALL_OF_FIRST else ONE_OF
        self.is_exact &= one_of == 1
        start = -first % one_of
        for text, found in zip(texts[start::one_of], ids[start::one_of], strict=True):
            if isinstance(found, np.ndarray):
                words = len(_RULES.words(text))
                self.words += one_of * words
                self.unknown += one_of * (words - found.size)
