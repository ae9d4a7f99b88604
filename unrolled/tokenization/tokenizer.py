"""A model's tokenizer: a file in the format of Hugging Face `tokenizers`, checked against the model."""

import logging
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import ModelError, from_extra

if TYPE_CHECKING:
    from tokenizers import Tokenizer

log = logging.getLogger("unrolled")

# "[PAD]", "<pad>", "<|padding|>", "__pad__", …, but not a plain word.
_PADDING = re.compile(r"[<\[({|_]+\s*pad(ding)?\s*[>\])}|_]+", re.IGNORECASE).fullmatch

#: The library reads this environment variable at each call.
_THREADS = "TOKENIZERS_PARALLELISM"


@cache
def _survive_forks() -> None:
    """Have forked children tokenize in one thread: they have none of the library's threads, and would wait for them.

    The library does so itself where the variable isn't set, with a warning for each child. The variable is set during
    a fork alone, because programs that are started from here would have neither this hook nor the library's own.
    """
    before: list[str | None] = []  # one for each thread that forks

    def prepare() -> None:
        before.append(os.environ.get(_THREADS))
        os.environ.setdefault(_THREADS, "true")

    def restore() -> None:
        if (value := before.pop()) is None:
            os.environ.pop(_THREADS, None)
        else:
            os.environ[_THREADS] = value

    os.register_at_fork(
        before=prepare, after_in_parent=restore, after_in_child=lambda: os.environ.update({_THREADS: "false"})
    )


_RESTORE = "restore the model's own; for one that isn't trained, `unrolled tokenizer fit --overwrite` makes a tokenizer"


def load_tokenizer(path: Path, vocab_size: int, remedy: str = _RESTORE) -> "Tokenizer":
    """Load a Hugging Face tokenizer file for a model.

    Truncation and padding are switched off, even if the file asks for them: tokens are neither dropped nor added. A
    line in the log says so, once in a program.

    Args:
        path: tokenizer.json.
        vocab_size: the model's vocab_size; ids 1..vocab_size are words, 0 is padding.
        remedy: what the user should do if it is no tokenizer.

    Raises:
        ModelError: the file can't be read, or its ids don't fit the model.
        RequestError: tokenizers isn't installed.
    """
    _survive_forks()
    with from_extra("a tokenizer", "encode"):
        from tokenizers import Tokenizer  # noqa: PLC0415 - the command line starts without it

    try:
        tokenizer = Tokenizer.from_str(Path(path).read_text(encoding="utf-8-sig"))
    except Exception as error:  # tokenizers raises plain Exception
        raise ModelError(f"{path} is not a tokenizer file of Hugging Face tokenizers ({error}); {remedy}") from error
    check_vocabulary(tokenizer, vocab_size, str(path))
    if settings := settings_left_out(tokenizer):
        _warn(f"{path}: {settings}")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    without_dropout(tokenizer)
    return tokenizer


def without_dropout(tokenizer: "Tokenizer") -> None:
    """Have a tokenizer give the same ids each time."""
    if dropout_of(tokenizer):
        tokenizer.model.dropout = None


def dropout_of(tokenizer: "Tokenizer") -> float:
    """The share of merges that a tokenizer leaves out at random, as in training; 0 if it always gives the same ids."""
    return getattr(tokenizer.model, "dropout", None) or 0.0


def settings_left_out(tokenizer: "Tokenizer") -> str | None:
    """Say which settings of a tokenizer aren't followed, and what is done instead; None if there are none."""
    wanted = []
    if truncation := tokenizer.truncation:
        wanted.append(f"truncation to {truncation['max_length']:,} tokens")
    if padding := tokenizer.padding:
        wanted.append(f"padding to {padding['length']:,} tokens" if padding["length"] else "padding")
    if share := dropout_of(tokenizer):
        wanted.append(f"a dropout of {share:g}, which leaves out merges at random")
    if not wanted:
        return None
    what = "None of it is" if len(wanted) > 1 else "This is not"
    return (
        f"the tokenizer asks for {' and '.join(wanted)}. {what} done: a text always has the same tokens, all of them "
        "and no others"
    )


@cache
def _warn(line: str) -> None:
    log.warning("%s", line)


def check_vocabulary(tokenizer: "Tokenizer", vocab_size: int, name: str) -> None:
    """Check that a tokenizer's ids fit a model; `name` is the tokenizer's in the error.

    Raises:
        ModelError: an id is above `vocab_size`, or id 0 is a token other than padding.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    word, largest = max(vocabulary.items(), key=lambda item: item[1], default=("", 0))
    if largest > vocab_size:
        word = word.strip() or word  # some kinds of tokenizer write a blank before the first letter
        raise ModelError(
            f"{name}: the id of {word!r} is {largest}; the model's vocab_size allows 1..{vocab_size}. "
            "Use the tokenizer that the model was trained with; if that isn't trained: `unrolled tokenizer fit` "
            f"with --vocab-size {vocab_size}, or `unrolled model new` with --vocab-size {largest}"
        )
    if (zero := token_at_padding(tokenizer)) is not None:
        raise ModelError(
            f"{name}: id 0 is the token {zero!r}, but 0 is padding for the model; shift the ids by one, "
            "or call the token with id 0 [PAD]"
        )


def token_at_padding(tokenizer: "Tokenizer") -> str | None:
    """The token with id 0 if it isn't padding, by its name or by the tokenizer's settings; else None.

    A token without characters is padding, because no text contains it.
    """
    padding = tokenizer.padding
    named = None if padding is None or padding["pad_id"] != 0 else padding["pad_token"]
    for word, number in tokenizer.get_vocab(with_added_tokens=True).items():
        if number == 0 and word not in ("", named) and not _PADDING(word):
            return word
    return None
