"""How many of the words of a job's texts the model knows, by a sample of the texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.tokenization.word_rules import WordRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from unrolled.errors import RowError

#: All of the first texts are counted, and then every n-th: splitting texts a second time takes time.
ALL_OF_FIRST, ONE_OF = 1000, 16
_RULES = WordRules()


class Coverage:
    """Counts words, and those among them that are not in a tokenizer's vocabulary.

    Args:
        tokenizer: the model's tokenizer; None if it has none.

    Attributes:
        words: words of the texts looked at; for a tokenizer of parts of words, those parts.
        unknown: those that were dropped, or replaced by the token for unknown words.
    """

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self.words = self.unknown = 0
        token = getattr(tokenizer.model, "unk_token", None) if tokenizer else None
        self._replacement = tokenizer.token_to_id(token) if tokenizer and token else None
        self._texts = 0

    @property
    def unknown_share(self) -> float | None:
        """The share of unknown words; None where no word was seen, or the tokenizer doesn't say which are unknown."""
        return self.unknown / self.words if self.words else None

    def count(self, texts: Sequence[str], ids: Sequence[NDArray[np.int32] | RowError], *, dropping: bool) -> None:
        """Look at some of the texts.

        Args:
            texts: some rows'.
            ids: what the tokenizer made of each.
            dropping: whether it drops words, which are split by the rules of `WordRules`.
        """
        first, self._texts = self._texts, self._texts + len(texts)
        if not dropping and self._replacement is None:
            return
        step = 1 if first < ALL_OF_FIRST else ONE_OF
        for text, found in zip(texts[::step], ids[::step], strict=True):
            if not isinstance(found, np.ndarray):
                continue
            if dropping:
                words = len(_RULES.words(text))
                self.words += words
                self.unknown += words - found.size
            else:
                self.words += found.size
                self.unknown += int(np.count_nonzero(found == self._replacement))
