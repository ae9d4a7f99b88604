"""Keras's TextVectorization layers, read from their settings and their vocabulary.

The layer lower-cases a text, deletes its punctuation, splits it at blanks, and looks up the words; a word's id is its
place in the vocabulary. In TensorFlow, which computes the layer, only the letters of ASCII have lower case, and only
the blanks of ASCII are blanks.

Source: keras.layers.TextVectorization; tf.strings.lower, regex_replace, split and unicode_split.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from unrolled.errors import RequestError, counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenizers import Tokenizer

#: What the layer deletes: all of ASCII's punctuation.
_PUNCTUATION = r"[\x21-\x2F\x3A-\x40\x5B-\x60\x7B-\x7E]"
_BLANKS = r"[\t-\r ]+"
_ANY = r"[\s\S]"
_STANDARDIZE = ("lower_and_strip_punctuation", "lower", "strip_punctuation", None)
_SPLIT = ("whitespace", "character", None)
#: The first two places of a vocabulary: padding, and the word for all other words.
_PADDING = ""
_FIRST_WORD = 2


def is_layer(found: Mapping[str, Any]) -> bool:
    """Whether these are the settings of such a layer, and not those of another object of Keras."""
    return "standardize" in found and "output_mode" in found


def from_layer(settings: Mapping[str, Any]) -> Tokenizer:
    """Make a tokenizer that gives the ids of a layer, without the zeros that fill a row.

    Args:
        settings: what the layer's `get_config()` returns, with what its `get_vocabulary()` returns as "vocabulary".

    Raises:
        RequestError: the settings are of another kind, or there is no vocabulary.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers  # noqa: PLC0415 - slow to import

    standardize, split = _setting(settings, "standardize", _STANDARDIZE), _setting(settings, "split", _SPLIT)
    _setting(settings, "output_mode", ("int",))
    _setting(settings, "ngrams", (None,))
    words = _vocabulary(settings)
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[1]))
    steps: list[Any] = []
    if standardize in ("lower_and_strip_punctuation", "lower"):
        steps += map(normalizers.Replace, string.ascii_uppercase, string.ascii_lowercase)
    if standardize in ("lower_and_strip_punctuation", "strip_punctuation"):
        steps.append(normalizers.Replace(Regex(_PUNCTUATION), ""))
    tokenizer.normalizer = normalizers.Sequence(steps)
    if split == "whitespace":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_BLANKS), "removed")
    elif split == "character":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_ANY), "isolated")
    length = settings.get("output_sequence_length")
    if type(length) is int and length > 0:
        # Unrolled does neither, and says so where the tokenizer is loaded.
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(length=length, pad_id=0, pad_token=_PADDING)
    return tokenizer


def _setting(settings: Mapping[str, Any], name: str, allowed: tuple[str | None, ...]) -> str | None:
    value = settings.get(name)
    if value is not None and not isinstance(value, str):
        shown = "a function or an object" if isinstance(value, dict) else repr(value)
    elif value in allowed:
        return value
    else:
        shown = "null" if value is None else f'"{value}"'
    raise RequestError(
        f"the TextVectorization layer has {name} {shown}; allowed: "
        f"{', '.join('null' if each is None else each for each in allowed)}. For other rules, make the tokenizer.json "
        "with the package tokenizers, or give rows of token ids"
    )


def _vocabulary(settings: Mapping[str, Any]) -> list[str]:
    words = settings.get("vocabulary")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise RequestError(
            "there is no vocabulary; write the layer with it: "
            'json.dump({**layer.get_config(), "vocabulary": layer.get_vocabulary()}, file)'
        )
    if words[:1] != [_PADDING] or len(words) <= _FIRST_WORD:
        raise RequestError(
            f"the vocabulary {_shown(words)}; what get_vocabulary() returns begins with an empty word and [UNK], and "
            "has words after these if the layer was adapted"
        )
    if len(set(words)) != len(words):
        raise RequestError("the vocabulary has a word twice; allowed: each word once")
    return words


def _shown(words: list[str]) -> str:
    if words[:1] == [_PADDING]:
        return f"has {counted(len(words) - 1, 'word')}"
    return f'begins with "{words[0]:.40}"' if words else "is empty"
