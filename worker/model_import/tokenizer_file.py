"""The tokenizer.json of an imported model: the user's, or one made of the file's own characters or words."""

from pathlib import Path

from unrolled.tokenization import characters, word_list
from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.found import Found, Words
from worker.model_import.limits import MOST_JSON_BYTES

_INSTALL = "pip install 'unrolled[import]'"
_MOST_BYTES = 16 * MOST_JSON_BYTES


def read_tokenizer(path: Path, vocab_size: int) -> str:
    """Read a tokenizer.json whose ids fit the model.

    Raises:
        ImportRefusedError: it can't be read, an id is above vocab_size, or id 0 is a token other than padding.
    """
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - in the extra [import]; most imports bring no tokenizer
    except ModuleNotFoundError as error:
        raise refuse_missing("tokenizers", _INSTALL) from error
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise ImportRefusedError(f"{path}: can't be read ({error.strerror or error})") from error
    if size_bytes > _MOST_BYTES:
        raise ImportRefusedError(f"{path}: has more than {_MOST_BYTES:,} bytes; no tokenizer.json is that large")
    try:
        text = path.read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises plain Exception
        raise ImportRefusedError(f"{path}: can't be read as a tokenizer.json ({str(error)[:200]})") from error
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    word, largest = max(vocabulary.items(), key=lambda item: item[1], default=("", 0))
    if largest > vocab_size:
        raise ImportRefusedError(
            f"{path}: the id of {word!r} is {largest}, but the model has ids 1..{vocab_size}; give the tokenizer that "
            "the model was trained with"
        )
    zero = [word for word, number in vocabulary.items() if number == 0]
    padding = tokenizer.padding
    allowed = padding is not None and padding["pad_id"] == 0 and padding["pad_token"] in zero
    if zero and not allowed and not all(word.strip("[]<>|").lower() in ("pad", "padding") for word in zero):
        raise ImportRefusedError(
            f"{path}: id 0 is the token {zero[0]!r}, but here 0 is padding. With --ids-from 0, ids are the "
            "tokenizer's plus one: shift them in the file, or enqueue token ids instead of text"
        )
    return text


def own_tokenizer(found: Found) -> str | None:
    """The text of a tokenizer.json that gives the model's ids of characters or words; None if they aren't known.

    Raises:
        ImportRefusedError: the package tokenizers isn't installed.
    """
    known = found.alphabet or found.words
    if known is None:
        return None
    shift = 1 - known.first_id
    index = {token: number + shift for token, number in known.index.items()}
    try:
        if isinstance(known, Words):
            made = word_list.build(index, known.unknown, after=known.after, of_characters=known.of_characters)
        else:
            made = characters.build(index, known.unknown + shift, before=known.before, after=known.after)
    except ModuleNotFoundError as error:
        raise refuse_missing("tokenizers", _INSTALL) from error
    return made.to_str()
