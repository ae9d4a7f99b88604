"""TextVectorization layers, against Keras."""

import json
from functools import cache

import keras
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from producer.cli.root import cli
from producer.tokenization.keras_json import from_keras
from unrolled.errors import RequestError

#: Blanks and capitals of ASCII and of others, punctuation, marks, the layer's own words, and a character of two units.
ALPHABET = [
    "a",
    "B",
    "b",
    "É",
    "é",
    "Σ",
    "ß",
    "İ",
    "e\u0301",
    " ",
    "\t",
    "\n",
    "\x0b",
    "\x1c",
    "\x85",
    "\xa0",
    "\u2003",
]
ALPHABET += ["'", "-", "!", "]", "\\", "_", "¿", "[UNK]", "[PAD]", "the", "The", "😀", "\x00"]
texts = st.lists(st.lists(st.sampled_from(ALPHABET), max_size=12).map("".join), min_size=1, max_size=4)


def layer_of(corpus, **options):
    """A layer that was adapted to texts, and what a user writes of it."""
    layer = keras.layers.TextVectorization(**options)
    layer.adapt(corpus)
    return layer, json.dumps({**layer.get_config(), "vocabulary": layer.get_vocabulary()})


@cache
def known_layer(**options):
    """A layer that knows some of the words, and the tokenizer of it as it is read from a file."""
    layer, written = layer_of(["a B the The é É e\u0301 ß Σ [UNK] [PAD]\nb", "a-b c", " ", "\x1c\xa0😀"], **options)
    return layer, Tokenizer.from_str(from_keras(written)[0].to_str())


@settings(deadline=None)
@given(
    texts=texts,
    standardize=st.sampled_from(["lower_and_strip_punctuation", "lower", "strip_punctuation", None]),
    split=st.sampled_from(["whitespace", "character", None]),
    max_tokens=st.sampled_from([None, 5]),
)
@example(texts=["[UNK] [PAD] a"], standardize=None, split="whitespace", max_tokens=None)
@example(texts=["a\n\nb\x0bb"], standardize="lower", split="character", max_tokens=None)
@example(texts=["Éa é É"], standardize="lower_and_strip_punctuation", split="whitespace", max_tokens=None)
def test_a_text_gets_the_ids_of_the_layer(*, texts, standardize, split, max_tokens):
    """Without the zeros that make rows of one batch equally long."""
    layer, ours = known_layer(standardize=standardize, split=split, max_tokens=max_tokens)
    for text in texts:
        expected = layer([text]).numpy().reshape(-1).tolist()
        assert ours.encode(text).ids == [number for number in expected if number]


def test_a_length_is_told_and_no_text_is_cut(tmp_path):
    """Every token of a row is kept, and what the layer would do has its own option of the import."""
    _, written = layer_of(["a b c d"], output_sequence_length=3)
    made, note = from_keras(written)
    assert len(made.encode("a b c d").ids) == 4
    assert made.truncation is made.padding is None
    assert note.startswith("the layer cuts longer texts after 3 ids")
    assert note.endswith("give --pad 3 when you import it")
    (tmp_path / "layer.json").write_text(written)
    result = CliRunner().invoke(cli, ["tokenizer", "import", f"{tmp_path}/layer.json", "--out", f"{tmp_path}/t.json"])
    assert note in result.stderr


def test_the_command_writes_the_tokenizer(tmp_path):
    """As the documentation has it."""
    _, written = layer_of(["the cat the dog"])
    (tmp_path / "layer.json").write_text(written)
    out = tmp_path / "tokenizer.json"
    result = CliRunner().invoke(cli, ["tokenizer", "import", str(tmp_path / "layer.json"), "--out", str(out), "--json"])
    assert json.loads(result.output) == {"path": str(out), "vocabulary": 4, "largest_id": 4}
    assert Tokenizer.from_file(str(out)).encode("The bird!").ids == [2, 1]


def changed(**changes):
    return json.dumps({**json.loads(layer_of(["a b"])[1]), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"standardize": {"class_name": "function"}}, 'standardize {"class_name": "function"}; allowed: "lower_and_'),
        ({"split": "comma"}, 'split "comma"; allowed: "whitespace", "character", null. For other rules, make the'),
        ({"split": "\x1b[31m\n" * 10_000}, r'split "\u001b[31m\n\u001b[31m\n'),
        ({"ngrams": 2}, "ngrams 2; allowed: null, 1"),
        ({"output_mode": "tf_idf"}, 'output_mode "tf_idf"; allowed: "int"'),
        ({"output_mode": None}, 'output_mode null; allowed: "int"'),
        ({"encoding": "latin-1"}, 'encoding "latin-1"; allowed: "utf-8"'),
        ({"encoding": "no-such"}, 'encoding "no-such"; allowed: "utf-8"'),
        ({"encoding": "a\x00b"}, 'allowed: "utf-8"'),
        ({"encoding": 8}, 'encoding 8; allowed: "utf-8"'),
        ({"vocabulary": None}, "there is no vocabulary; write the layer with it"),
        ({"vocabulary": ["", 3]}, "there is no vocabulary"),
        ({"vocabulary": ["", "[UNK]"]}, 'the vocabulary is ["", "[UNK]"]; what get_vocabulary() returns begins'),
        ({"vocabulary": ["", "the", "cat"]}, 'the vocabulary is ["", "the", "cat"]; what get_vocabulary() returns'),
        ({"vocabulary": []}, "the vocabulary is []"),
        ({"vocabulary": ["", "[UNK]", "a", "a"]}, 'has "a" twice'),
    ],
)
def test_what_cannot_be_imported(changes, message):
    """The error names the setting, what is allowed, and another way; it is never long."""
    with pytest.raises(RequestError) as caught:
        from_keras(changed(**changes))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "changes", [{"ngrams": 1}, {"ngrams": [1]}, {"encoding": "UTF8"}, {"output_sequence_length": 0}]
)
def test_what_changes_no_id(changes):
    """Keras takes it as no setting, or as the same."""
    assert from_keras(changed(**changes))[0].encode("a c").ids == [3, 1]


def test_a_layer_as_keras_writes_it():
    """An object with a config: the vocabulary is told to be missing, or taken."""
    layer, written = layer_of(["a b"])
    whole = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    with pytest.raises(RequestError, match="there is no vocabulary; write the layer with it"):
        from_keras(json.dumps(whole))
    whole["config"]["vocabulary"] = json.loads(written)["vocabulary"]
    assert from_keras(json.dumps(whole))[0].encode("a c").ids == [3, 1]
