"""Tokenizers of a fixed list of words, or of characters, that change nothing in a text: no letter and no mark.

A word that isn't in the list becomes the word for unknown words. If the list has none, the text is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.tokenization.word_rules import PADDING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tokenizers import Tokenizer

#: What Python's str.split takes for blanks: Unicode's, and four separators of ASCII.
_BLANKS = r"[\s\x1c-\x1f]+"


def build(
    index: Mapping[str, int], unknown: str, *, after: Sequence[str] = (), of_characters: bool = False
) -> Tokenizer:
    """Make a tokenizer of words between blanks. Id 0 becomes [PAD], if that isn't a word.

        >>> build({"the": 1, "cat": 2, "?": 3}, "?").encode("the  dog cat").ids
        [1, 3, 2]

    Args:
        index: id of each word, from 1.
        unknown: the word whose id all other words get; if it isn't in `index`, the tokenizer raises an error.
        after: words that are added to the end of each text, as special tokens.
        of_characters: whether each character that isn't a blank is a word.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors  # noqa: PLC0415 - slow to import

    tokenizer = Tokenizer(models.WordLevel({PADDING: 0, **index}, unk_token=unknown))
    split = pre_tokenizers.Split(Regex(_BLANKS), "removed")
    letters = pre_tokenizers.Split(Regex(r"."), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, letters]) if of_characters else split
    if after:
        # A piece of a template is named after its place, because a colon in a name has a meaning there.
        names = {word: f"[{number}]" for number, word in enumerate(dict.fromkeys(after))}
        special = [{"id": name, "ids": [index[word]], "tokens": [word]} for word, name in names.items()]
        last = [names[word] for word in after]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=["$A", *last], pair=["$A", "$B", *last], special_tokens=special
        )
    return tokenizer
