"""A tokenizer.json that comes with a model."""

from pathlib import Path

from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.limits import MOST_JSON_BYTES


def read_tokenizer(path: Path, vocab_size: int) -> str:
    """The text of a tokenizer.json whose ids a model has.

    Raises:
        ModelError: it can't be read, or an id is not in 1..vocab_size.
    """
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - only imports that bring a tokenizer need it
    except ModuleNotFoundError as error:
        raise refuse_missing("tokenizers", "pip install 'unrolled[import]'") from error
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise ImportRefusedError(f"{path}: can't be read ({error.strerror or error})") from error
    if size_bytes > 16 * MOST_JSON_BYTES:
        raise ImportRefusedError(f"{path}: is over {16 * MOST_JSON_BYTES:,} bytes, and no tokenizer.json is")
    try:
        text = path.read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises plain Exception
        raise ImportRefusedError(f"{path}: can't be read as a tokenizer.json ({str(error)[:200]})") from error
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    word, largest = max(vocabulary.items(), key=lambda item: item[1], default=("", 0))
    if largest > vocab_size:
        raise ImportRefusedError(
            f"{path}: the id of {word!r} is {largest}, the model has ids 1..{vocab_size}; give the tokenizer "
            f"that it was "
            "trained with"
        )
    zero = [word for word, number in vocabulary.items() if number == 0]
    padding = tokenizer.padding
    allowed = padding is not None and padding["pad_id"] == 0 and padding["pad_token"] in zero
    if zero and not allowed and not all(word.strip("[]<>|").lower() in ("pad", "padding") for word in zero):
        raise ImportRefusedError(
            f"{path}: id 0 is the token {zero[0]!r}, and 0 is padding here; with --ids-from 0 ids are the "
            f"tokenizer's plus one, so "
            "shift them in the file, or send token ids in place of text"
        )
    return text
