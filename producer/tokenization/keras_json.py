"""Keras tokenizers, read from the JSON that their `to_json()` writes, or from that of a TextVectorization layer.

Source: keras.preprocessing.text.Tokenizer; its config contains `word_index` as JSON in a string.
"""

import json
from typing import TYPE_CHECKING, Any

from producer.tokenization.text_vectorization import from_layer, is_layer, note_of_length
from unrolled.errors import RequestError
from unrolled.tokenization.characters import build as characters_of
from unrolled.tokenization.word_rules import FILTERS, WordRules, build

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_NOT_KERAS = "is neither what Keras's tokenizer.to_json() writes nor a TextVectorization layer"


def from_keras(text: str) -> "tuple[Tokenizer, str | None]":
    """Make a tokenizer that gives the ids of a Keras tokenizer or of a TextVectorization layer.

    Args:
        text: the output of Keras's `tokenizer.to_json()`, or that output written as JSON once more, a text in JSON; or
            the layer's settings and vocabulary, as `text_vectorization.from_layer` takes them.

    Returns:
        The tokenizer, and a note about what it doesn't do; None if there is nothing to say.

    Raises:
        RequestError: the text is something else.
    """
    found = _parsed(text)
    config = found["config"] if isinstance(found.get("config"), dict) else {}
    for settings in (found, config):  # Keras writes a layer as an object with a config
        if is_layer(settings):
            return from_layer(settings), note_of_length(settings)
    if "word_index" not in config:
        raise RequestError(f"{_NOT_KERAS}: there is no config with a word_index")
    return _from_tokenizer(config), None


def _from_tokenizer(config: dict[str, Any]) -> "Tokenizer":
    index = _word_index(config)
    num_words = config.get("num_words")
    oov_token = config.get("oov_token")
    rules = WordRules(config.get("filters", FILTERS), config.get("lower", True), config.get("split", " "))
    if not isinstance(rules.filters, str) or not isinstance(rules.lower, bool):
        raise RequestError(f"filters {rules.filters!r} with lower {rules.lower!r}; allowed: text and true or false")
    if not isinstance(rules.split, str) or not rules.split:
        raise RequestError(f"split is {rules.split!r}; allowed: one character or more")
    if oov_token is not None and oov_token not in index:
        raise RequestError(f"oov_token {oov_token!r} has no id in word_index; fit the tokenizer before saving it")
    if num_words is not None and type(num_words) is not int:
        raise RequestError(f"num_words is {num_words!r}; allowed: an integer or null")
    kept = {word: number for word, number in index.items() if not num_words or number < num_words or word == oov_token}
    if config.get("char_level"):  # without filters, as in Keras
        characters = {one: number for one, number in kept.items() if len(one) == 1}
        return characters_of(characters, None if oov_token is None else kept[oov_token], lower=rules.lower)
    return build(kept, rules, oov_token)


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
        if isinstance(found, str):  # many programs give the text to `json.dump`
            found = json.loads(found)
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise RequestError("has half of a surrogate pair, which is no character; no text contains it") from error
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{_NOT_KERAS} ({type(error).__name__}: {error})") from error
    if not isinstance(found, dict):
        raise RequestError(f"{_NOT_KERAS}, which is a JSON object")
    return found


def _word_index(config: dict[str, Any]) -> dict[str, int]:
    index = config["word_index"]
    try:
        index = json.loads(index) if isinstance(index, str) else index  # Keras writes it as text
    except (ValueError, RecursionError) as error:
        raise RequestError(f"word_index is not JSON ({error})") from error
    if not isinstance(index, dict) or not index:
        raise RequestError("word_index has no words; fit the tokenizer before saving it")
    for word, number in index.items():
        if type(number) is not int or number < 1:
            raise RequestError(f"word_index: {word!r} has the id {number!r}; allowed: integers from 1")
    if len(set(index.values())) != len(index):
        raise RequestError("word_index gives two words the same id; allowed: one each")
    return index
