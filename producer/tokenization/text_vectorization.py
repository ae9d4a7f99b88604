"""Keras's TextVectorization layers, read from their settings and their vocabulary.

The layer lower-cases a text, deletes its punctuation, splits it at blanks, and looks up the words; a word's id is its
place in the vocabulary. In TensorFlow, which computes the layer, only the letters of ASCII have lower case, and only
the blanks of ASCII are blanks.

Source: keras.layers.TextVectorization; tf.strings.lower, regex_replace, split and unicode_split.
"""

from __future__ import annotations

import codecs
import json
import string
from collections import Counter
from typing import TYPE_CHECKING, Any

from unrolled.errors import RequestError

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
_FIRST = ["", "[UNK]"]
_MOST_SHOWN = 80


def is_layer(found: Any) -> bool:
    """Whether these are the settings of such a layer, and not those of another object of Keras."""
    return isinstance(found, dict) and "standardize" in found and "output_mode" in found


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
    _setting(settings, "ngrams", (None, 1, [1]))  # the words themselves
    _refuse_encoding(settings.get("encoding", "utf-8"))
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
    return tokenizer


def note_of_length(settings: Mapping[str, Any]) -> str | None:
    """What the layer does besides, and the tokenizer doesn't: it makes all texts equally long."""
    length = settings.get("output_sequence_length")
    if type(length) is not int or length < 1:
        return None
    return (
        f"the layer cuts longer texts after {length:,} ids, and fills shorter ones with zeros; the tokenizer does "
        f"neither. If the model doesn't mask the zeros, give --pad {length} when you import it"
    )


def _setting(settings: Mapping[str, Any], name: str, allowed: tuple[Any, ...]) -> Any:
    value = settings.get(name)
    if value not in allowed:
        kinds = ", ".join(json.dumps(each) for each in allowed)
        raise RequestError(
            f"the TextVectorization layer has {name} {_shown(value)}; allowed: {kinds}. For other rules, make the "
            "tokenizer.json with the package tokenizers, or give rows of token ids"
        )
    return value


def _refuse_encoding(encoding: Any) -> None:
    """Refuse another encoding than UTF-8: get_vocabulary() gives words that aren't those of the texts then."""
    try:
        if codecs.lookup(encoding).name == "utf-8":
            return
    except (LookupError, TypeError, ValueError):  # ValueError: of a NUL in the name
        pass
    raise RequestError(f'the TextVectorization layer has encoding {_shown(encoding)}; allowed: "utf-8"')


def _vocabulary(settings: Mapping[str, Any]) -> list[str]:
    words = settings.get("vocabulary")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise RequestError(
            "there is no vocabulary; write the layer with it: "
            'json.dump({**layer.get_config(), "vocabulary": layer.get_vocabulary()}, file)'
        )
    if words[: len(_FIRST)] != _FIRST or len(words) == len(_FIRST):
        raise RequestError(
            f"the vocabulary is {_shown(words)}; what get_vocabulary() returns begins with an empty word and [UNK], "
            "and has words after these if the layer was adapted"
        )
    if len(set(words)) != len(words):
        twice = next(word for word, count in Counter(words).items() if count > 1)
        raise RequestError(f"the vocabulary has {_shown(twice)} twice; allowed: each word once")
    return words


def _shown(value: Any) -> str:
    """The beginning of a value in JSON, which has no control characters."""
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
