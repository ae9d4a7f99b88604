"""The texts that a map shows beside its points, from token ids and a tokenizer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

#: Characters of a text, and of an id, that are kept.
LONGEST_TEXT, LONGEST_ID = 240, 160
#: Tokens of a row that are kept for its text; of a token's surroundings, those before and those after it.
TOKENS_SHOWN, BEFORE, AFTER = 48, 8, 4
# Controls can't be shown; those that turn the direction of what follows could hide a part of a text.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]")


def shown(text: str, longest: int = LONGEST_TEXT) -> str:
    """A text as a page can show it: on one line, without characters that turn its direction, and not too long."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return _shown(cut)


def shown_ends(text: str, longest: int) -> str:
    """As `shown`, but cut in the middle: paths and labels often differ at their ends."""
    before, after = longest // 2, longest - longest // 2 - 1
    return _shown(text if len(text) <= longest else f"{text[:before]}…{text[-after:]}")


def _shown(text: str) -> str:
    return _UNSHOWN.sub(lambda found: " " if found[0] in "\t\n\r\u2028\u2029" else f"\\u{ord(found[0]):04x}", text)


class Words:
    """Token ids as words.

    Args:
        tokenizer: the tokenizer of the job's model; None to show ids as numbers.
    """

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self._tokenizer = tokenizer
        self._names = {number: name for name, number in tokenizer.get_vocab().items()} if tokenizer else {}

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids; zeros are padding, and left out."""
        real = [number for number in ids if number]
        if self._tokenizer is None:
            return " ".join(map(str, real))
        return str(self._tokenizer.decode(real, skip_special_tokens=False))

    def word(self, number: int) -> str:
        """One token as people read it."""
        if self._tokenizer is None:
            return str(number)
        name = self._tokenizer.decode([number], skip_special_tokens=False)
        return name.strip() or self._names.get(number, str(number))


def window(real: NDArray[np.int32], position: int) -> list[int]:
    """A token of a row and those around it.

    Args:
        real: int32 (length,), the row's tokens without padding.
        position: the token's place among them.
    """
    near: list[int] = real[max(0, position - BEFORE) : position + 1 + AFTER].tolist()
    return near


def around(words: Words, near: Sequence[int], position: int) -> str:
    """A token among its neighbours in the row: itself is in brackets.

    Args:
        words: shows them.
        near: what `window` gave.
        position: the token's place in the row.
    """
    at = min(position, BEFORE)
    return f"{words.text(near[:at])} [{words.word(near[at])}] {words.text(near[at + 1 :])}".strip()
