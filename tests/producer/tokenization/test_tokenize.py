"""Token ids from text, and from values that should be token ids."""

# `id` is the rows' own word.
# ruff: noqa: A002

import subprocess
import sys
from pathlib import Path

import numpy as np
from support.tokenizers import saved, words
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from producer.sources.rows import BadRow, Row, SourceRow
from producer.tokenization.tokenize import tokenize
from unrolled.model.padding import Padding
from unrolled.tokenization.tokenizer import load_tokenizer


def text_row(text, position=0, id=None):
    return SourceRow("f", position, id, text, None)


def token_row(tokens, position=0, id=None):
    return SourceRow("f", position, id, None, tokens)


def rows_of(batch, tokenizer=None, vocab_size=9, **options):
    (found,) = tokenize([batch], tokenizer, vocab_size, **options)
    return found


def test_text_and_ids_side_by_side(tmp_path):
    """Rows of both kinds and bad rows keep their order and their ids."""
    bad = BadRow("f", 1, None, "was bad before")
    batch = [text_row("b a zzz"), bad, token_row([0, 9, 0], 2, "own"), text_row("", 3)]
    found = rows_of(batch, load_tokenizer(saved(words(), tmp_path), 9))
    assert found[1] is bad
    assert [row.id for row in found if isinstance(row, Row)] == ["f#0", "own", "f#3"]
    assert [row.tokens.tolist() for row in found if isinstance(row, Row)] == [[2, 1, 3], [0, 9, 0], []]
    assert {row.tokens.dtype for row in found if isinstance(row, Row)} == {np.dtype(np.int32)}


def test_bad_ids_are_bad_rows():
    """A row of bad ids becomes a bad row with its position and id; the rows around it are good."""
    first, bad, last = rows_of([token_row([1]), token_row([2, 10], 1, "mine"), token_row([], 2)])
    assert bad == BadRow("f", 1, "mine", "token 10 at position 1 (from 0); allowed: 0 (padding) and 1..9")
    assert [first.tokens.tolist(), last.tokens.tolist()] == [[1], []]


def test_rows_that_the_model_cannot_pad(tmp_path):
    """Of text and of ids; zeros are no tokens, and don't count."""
    batch = [
        text_row("a b a"),
        text_row("a b a b", 1),
        token_row([0, 1, 2, 0, 3], 2),
        token_row([1] * 2000, 3, "mine"),
        token_row([10], 4),
    ]
    short, text, zeros, ids, bad = rows_of(batch, load_tokenizer(saved(words(), tmp_path), 9), padding=Padding(3))
    assert [short.tokens.tolist(), zeros.tokens.tolist()] == [[1, 2, 1], [0, 1, 2, 0, 3]]
    why = "and the model reads at most 3: it was trained on rows that are padded to 3 tokens; cut the row"
    assert text == BadRow("f", 1, None, f"the row has 4 tokens, {why}")
    assert ids == BadRow("f", 3, "mine", f"the row has 2,000 tokens, {why}")
    assert bad.reason.startswith("token 10")


def test_ticks_pass():
    """An empty batch gives an empty batch."""
    assert list(tokenize([[], [token_row([1])], []], None, 9))[::2] == [[], []]


def test_text_without_tokenizer():
    """If the model has no tokenizer, rows with text are bad; rows of ids are good."""
    bad, good = rows_of([text_row("a"), token_row([1])])
    assert "no tokenizer" in bad.reason
    assert good.tokens.tolist() == [1]


def test_text_longer_than_a_call_allows(tmp_path, monkeypatch):
    """Batches with many characters go to the tokenizer in several calls, without losing a row."""
    monkeypatch.setattr("unrolled.tokenization.texts._ENCODE_CHARACTERS", 8)
    texts = ["a b", "a b a b a b a b a b", "", "b", "a", "b b b b"]
    found = rows_of([text_row(text, at) for at, text in enumerate(texts)], load_tokenizer(saved(words(), tmp_path), 9))
    assert [len(row.tokens) for row in found] == [len(text.split()) for text in texts]


def test_no_truncation_no_padding(tmp_path):
    """Truncation and padding in the file are ignored: tokens are neither dropped nor added."""
    made = words()
    made.enable_truncation(2)
    made.enable_padding(length=4)
    found = rows_of([text_row("a b a b"), text_row("a")], load_tokenizer(saved(made, tmp_path), 9))
    assert [row.tokens.tolist() for row in found] == [[1, 2, 1, 2], [1]]


def test_special_tokens(tmp_path):
    """The tokenizer's post-processor is applied, unless it is switched off."""
    made = words(vocabulary={"[S]": 4})
    made.post_processor = processors.TemplateProcessing(single="[S] $A", special_tokens=[("[S]", 4)])
    tokenizer = load_tokenizer(saved(made, tmp_path), 9)
    assert rows_of([text_row("a")], tokenizer)[0].tokens.tolist() == [4, 1]
    assert rows_of([text_row("a")], tokenizer, add_special_tokens=False)[0].tokens.tolist() == [1]


def test_refused_text_is_alone(tmp_path):
    """A text for which the tokenizer raises is a bad row; the texts around it are encoded."""
    made = Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1}, unk_token="missing"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    first, bad, last = rows_of(
        [text_row("a"), text_row("zzz"), text_row("a a")], load_tokenizer(saved(made, tmp_path), 9)
    )
    assert bad.reason.startswith("has 'zzz', which isn't in the model's vocabulary")
    assert [first.tokens.tolist(), last.tokens.tolist()] == [[1], [1, 1]]


def test_starts_light():
    """The command line must not wait for the tokenizers library."""
    modules = "producer.tokenization.tokenize, producer.cli.commands.prepare.tokenizer"
    code = f"import sys, {modules}; print('tokenizers' in sys.modules)"
    root = Path(__file__).parents[3]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout
    assert out.strip() == "False"
