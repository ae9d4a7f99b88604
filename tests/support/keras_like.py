"""Keras's Tokenizer, written after its documentation, for comparison."""

import json
from collections import OrderedDict

from unrolled.tokenization.word_rules import FILTERS


class KerasLike:
    def __init__(self, texts, num_words=None, oov_token=None, *, filters=FILTERS, lower=True, split=" "):
        self.num_words, self.oov_token = num_words, oov_token
        self.filters, self.lower, self.split = filters, lower, split
        counts = OrderedDict()
        for text in texts:
            for word in self.words(text):
                counts[word] = counts.get(word, 0) + 1
        ranked = [word for word, _ in sorted(counts.items(), key=lambda item: item[1], reverse=True)]
        ranked = ranked if oov_token is None else [oov_token, *ranked]
        self.index = {word: number for number, word in enumerate(ranked, 1)}

    def words(self, text):
        text = text.lower() if self.lower else text
        for character in self.filters:
            text = text.replace(character, self.split)
        return [word for word in text.split(self.split) if word]

    def ids(self, text):
        found = []
        for word in self.words(text):
            number = self.index.get(word)
            if number is None or (self.num_words and number >= self.num_words):
                number = self.index.get(self.oov_token)
            if number is not None:
                found.append(number)
        return found

    def to_json(self):
        config = {
            "num_words": self.num_words,
            "filters": self.filters,
            "lower": self.lower,
            "split": self.split,
            "char_level": False,
            "oov_token": self.oov_token,
            "document_count": 3,
            "word_index": json.dumps(self.index),
        }
        return json.dumps({"class_name": "Tokenizer", "config": config})


# Letters whose lower case is as long, longer, dependent on what is around, or themselves; separators of Keras
# and separators only of Unicode; characters that tokenizers of other kinds treat apart.
ALPHABET = "aAbB Σσ ΑΣ İ ß ẞ Ǆ é É 日 𝔘 ' ’ ! - [ ] \\ ^ | \t \n \r \x0b \0 \u00a0 \u3000 \u0301 \u0345 ▁ Ġ #"  # noqa: RUF001  (look-alikes are the point)
