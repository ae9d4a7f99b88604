"""Small tokenizers of words."""

from tokenizers import Tokenizer, models, pre_tokenizers


def words(**changes):
    """A tokenizer of the words a and b; `vocabulary` adds words to it."""
    vocabulary = {"[PAD]": 0, "a": 1, "b": 2, "[UNK]": 3} | changes.pop("vocabulary", {})
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


def saved(tokenizer, tmp_path):
    """The path of its file."""
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path
