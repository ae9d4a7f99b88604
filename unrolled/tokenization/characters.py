"""Tokenizers whose tokens are characters (Unicode's code points), as character language models read them.

Those made here are byte-pair models without merges: each character is looked up, and one that has no id becomes the
token for unknown characters, or is dropped. Others are lists of words that a text is split into characters for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unrolled.tokenization.word_rules import PADDING, lower_case

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenizers import Tokenizer

UNKNOWN = "[UNK]"
#: Characters that a tokenizer of characters may not know.
_OTHERS = "azAZ09.,-_"


def build(
    index: Mapping[str, int], unknown: int | None, *, before: str = "", after: str = "", lower: bool = False
) -> Tokenizer:
    """Make a tokenizer of characters. Id 0 becomes [PAD].

        >>> build({"a": 1, "b": 2, " ": 4}, 3, after=" ").encode("abc").ids
        [1, 2, 3, 4]

    Args:
        index: id of each character, from 1.
        unknown: id of all other characters, which may be that of a character, too; None to drop them.
        before: characters that are added to the beginning of each text, as special tokens.
        after: characters that are added to its end.
        lower: whether texts are lower-cased first.
    """
    from tokenizers import Tokenizer, models, normalizers, processors  # noqa: PLC0415 - slow to import

    vocabulary, token = {PADDING: 0, **index}, None
    if unknown is not None:
        # Two tokens mustn't have one id: the package would keep one of them, at random.
        token = next((one for one, number in index.items() if number == unknown), UNKNOWN)
        vocabulary[token] = unknown
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=token))
    if lower:
        tokenizer.normalizer = normalizers.Sequence(lower_case())
    ids = {character: vocabulary.get(character, unknown) for character in before + after}
    added = {character: number for character, number in ids.items() if number is not None}
    if added:
        # A piece of a template is named after its place, because a name can't be a blank.
        names = {character: f"[{number}]" for number, character in enumerate(added)}
        first, last = ([names[one] for one in text if one in added] for text in (before, after))
        special = [
            {"id": names[one], "ids": [number], "tokens": [one if one in index else token]}
            for one, number in added.items()
        ]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*first, "$A", *last], pair=[*first, "$A", "$B", *last], special_tokens=special
        )
    return tokenizer


def blanks_of(tokenizer: Tokenizer) -> tuple[int, ...] | None:
    """The ids of blanks, ascending; None if the tokens are not characters."""
    found = json.loads(tokenizer.to_str())
    model = found["model"]
    plain = model["type"] == "BPE" and not (model["merges"] or model.get("byte_fallback") or found["pre_tokenizer"])
    if not (plain or model["type"] == "WordLevel"):
        return None
    special = {PADDING, model["unk_token"], *(one["content"] for one in found["added_tokens"] if one["special"])}
    tokens = [one for one, number in model["vocab"].items() if number and one not in special]
    if any(len(one) != 1 for one in tokens) or not (plain or _splits_into(tokens, tokenizer)):
        return None
    return tuple(sorted(model["vocab"][one] for one in tokens if one.isspace()))


def _splits_into(characters: list[str], tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer splits a text into its characters, also those that it doesn't know."""
    text, splitter = "".join(2 * one for one in [*characters, *_OTHERS]), tokenizer.pre_tokenizer
    return splitter is not None and [piece for piece, _ in splitter.pre_tokenize_str(text)] == list(text)
