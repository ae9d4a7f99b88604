"""The tokenizer.json of an imported model: of the source's texts, or made of the file's own characters or words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unrolled.tokenization import characters, word_list
from unrolled.tokenization.tokenizer import settings_left_out, token_at_padding
from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.found import Found, Words
from worker.model_import.limits import MOST_JSON_BYTES
from worker.model_import.shifted_tokenizer import NoShiftError, shifted

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

_MOST_BYTES = 16 * MOST_JSON_BYTES
_SAVED = (
    "give the tokenizer.json that `save_pretrained` of a Hugging Face fast tokenizer writes, or one of `tokenizers`"
)


def read_tokenizer(path: Path, vocab_size: int, first_id: int = 1) -> tuple[str, list[str]]:
    """Read a tokenizer.json whose ids are those of the source, as one with the ids of the model.

    Args:
        path: of the file.
        vocab_size: the model's vocab_size.
        first_id: the first of the source's ids that is a token: with 0, each id becomes one higher.

    Returns:
        Its text, and notes: about settings that aren't followed, and about a tokenizer with far fewer tokens than ids.

    Raises:
        ImportRefusedError: it can't be read, the source has no row for an id, or id 0 is a token other than padding.
    """
    # Over 40 lines: what a file may be, check by check, each with its refusal.
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - in the extra [import]; most imports bring no tokenizer
    except ModuleNotFoundError as error:
        raise refuse_missing("tokenizers", "import") from error
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise ImportRefusedError(f"{path}: can't be read ({error.strerror or error})") from error
    if size_bytes > _MOST_BYTES:
        raise ImportRefusedError(f"{path}: has more than {_MOST_BYTES:,} bytes; no tokenizer.json is that large")
    try:
        text = path.read_text(encoding="utf-8-sig")
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises plain Exception
        hint = "`unrolled tokenizer import` makes a tokenizer.json of it" if _is_of_keras(path) else _SAVED
        raise ImportRefusedError(f"{path}: can't be read as a tokenizer.json ({str(error)[:200]}); {hint}") from error
    _refuse_no_token(path, tokenizer)
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    word, largest = max(vocabulary.items(), key=lambda item: item[1], default=("", 0))
    last = vocab_size if first_id else vocab_size - 1
    if largest > last:
        raise ImportRefusedError(
            f"{path}: the id of {word!r} is {largest}, but the source has ids {first_id}..{last}; give the tokenizer "
            f"that the model was trained with{'' if first_id else '; the import makes its ids one higher itself'}"
        )
    left_out = settings_left_out(tokenizer)
    notes = [] if left_out is None else [left_out]
    if len(vocabulary) < vocab_size // 2:
        notes.append(
            f"the tokenizer has {len(vocabulary):,} tokens, and the model {vocab_size:,} ids: is it the one that the "
            "model was trained with?"
        )
    if not first_id:
        try:
            return shifted(text), notes
        except NoShiftError as error:
            raise ImportRefusedError(
                f"{path}: the source's id k becomes k + 1, and the tokenizer's ids can't be changed: {error}; leave "
                "--tokenizer out, and give token ids instead of text, each one higher"
            ) from error
    if (zero := token_at_padding(tokenizer)) is not None:
        raise ImportRefusedError(
            f"{path}: id 0 is the token {zero!r}, but with --ids-from 1 id 0 is padding. If row 0 of the embedding "
            "is a token, give --ids-from 0: the import then makes each id of the tokenizer one higher. If it is "
            "padding, call the token [PAD] in the file"
        )
    return text, notes


def _is_of_keras(path: Path) -> bool:
    """Whether a file has a tokenizer of Keras, in JSON: a Tokenizer or a TextVectorization layer."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool(found.keys() & {"standardize", "config"})


def _refuse_no_token(path: Path, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer whose token for unknown parts of words is none.

    One of words without a token for unknown ones is of use: it refuses a text, and the reason says which word.

    Raises:
        ImportRefusedError: it is one.
    """
    unknown = getattr(tokenizer.model, "unk_token", None)
    if unknown and tokenizer.token_to_id(unknown) is None and type(tokenizer.model).__name__ != "WordLevel":
        raise ImportRefusedError(
            f"{path}: its token for unknown parts of words, {unknown!r:.80}, isn't in its vocabulary, so it refuses "
            "every text that has one; add it there, or set its unk_token to null, which drops them"
        )


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
        raise refuse_missing("tokenizers", "import") from error
    return made.to_str()
