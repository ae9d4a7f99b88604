"""A tokenizer file: what is refused when it is loaded."""

import pytest
from support.tokenizers import saved, words
from tokenizers import Tokenizer
from tokenizers.models import BPE

from unrolled.errors import ModelError
from unrolled.tokenization.tokenizer import load_tokenizer


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ({"big": 10}, "the id of 'big' is 10; the model's vocab_size allows 1..9. Use the tokenizer"),
        ({" big": 10}, "the id of 'big' is 10; "),
        ({"[PAD]": 5, "the": 0}, "id 0 is the token 'the', but 0 is padding"),
        ({"[PAD]": 5, "pad": 0}, "id 0 is the token 'pad'"),
    ],
)
def test_vocabulary_of_another_model(tmp_path, vocabulary, message):
    """A tokenizer with ids above the model's, or with a word at id 0, is refused when it is loaded."""
    with pytest.raises(ModelError) as caught:
        load_tokenizer(saved(words(vocabulary=vocabulary), tmp_path), 9)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["<pad>", "[PAD]", "<|padding|>", "__pad__", ""])
def test_padding_by_any_name(tmp_path, name):
    """Id 0 may be a padding token in any common spelling, or a token without characters, which is in no text."""
    made = words(vocabulary={"[PAD]": 5, name: 0})
    assert load_tokenizer(saved(made, tmp_path), 9).token_to_id(name) == 0


def test_padding_that_the_file_names(tmp_path):
    """Id 0 may be any token that the file names as its padding."""
    made = words(vocabulary={"[PAD]": 5, "nothing": 0})
    made.enable_padding(pad_id=0, pad_token="nothing")
    assert load_tokenizer(saved(made, tmp_path), 9).token_to_id("nothing") == 0


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[" * 10000, b'{"model": {"type": "Nothing"}}', None])
def test_no_tokenizer_file(tmp_path, content):
    """For anything but a tokenizer file there is a clear error."""
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"is not a tokenizer file .*; restore the model's own"):
        load_tokenizer(path, 9)
    with pytest.raises(ModelError, match=r"is not a tokenizer file .*; name another$"):
        load_tokenizer(path, 9, "name another")


def test_a_byte_order_mark(tmp_path):
    """Editors on Windows put one before the text."""
    path = saved(words(vocabulary={"a": 1}), tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_tokenizer(path, 9).encode("a").ids == [1]


def test_truncation_and_padding_are_not_done_and_a_line_says_so_once(tmp_path, caplog):
    """A row keeps all of its tokens; without the line, the numbers of tokens would differ from the user's program."""
    made = words()
    path = saved(made, tmp_path)
    load_tokenizer(path, 9)
    assert caplog.messages == []
    made.enable_truncation(2)
    path = saved(made, tmp_path)
    assert load_tokenizer(path, 9).encode("a b a b").ids == [1, 2, 1, 2]
    made.enable_padding(pad_id=0, pad_token="[PAD]", length=1024)
    path = saved(made, tmp_path)
    for _ in range(2):
        assert load_tokenizer(path, 9).encode("a b a b").ids == [1, 2, 1, 2]
    kept = "done: a text always has the same tokens, all of them and no others"
    assert caplog.messages == [
        f"{path}: the tokenizer asks for truncation to 2 tokens. This is not {kept}",
        f"{path}: the tokenizer asks for truncation to 2 tokens and padding to 1,024 tokens. None of it is {kept}",
    ]


def test_dropout_is_not_done(tmp_path, caplog):
    """As in training, where a text has other tokens each time; a job's rows must be the same in every run."""
    made = Tokenizer(BPE({"[PAD]": 0, "a": 1, "b": 2, "ab": 3}, [("a", "b")], dropout=0.5))
    loaded = load_tokenizer(saved(made, tmp_path), 9)
    assert {tuple(loaded.encode("ababab").ids) for _ in range(50)} == {(3, 3, 3)}
    assert "asks for a dropout of 0.5, which leaves out merges at random. This is not done" in caplog.messages[0]
