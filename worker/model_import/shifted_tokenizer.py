"""A tokenizer.json whose ids are one higher, for a model whose ids are the source's plus one."""

from __future__ import annotations

import json
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from unrolled.tokenization.tokenizer import without_dropout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import Tokenizer

#: Tokens that are encoded by both tokenizers to prove that each id is one higher.
_PROVED = 100


class NoShiftError(Exception):
    """The ids of a tokenizer can't be changed; the text says why."""


def shifted(text: str) -> str:
    """The text of a tokenizer.json in which each id is one higher, and id 0 is padding.

    Args:
        text: of a tokenizer.json that `tokenizers` reads.

    Raises:
        NoShiftError: the ids are of a kind that isn't known here.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415 - the caller has imported it

    try:
        padding, made = _shifted(json.loads(text))
        before, after = Tokenizer.from_str(text), Tokenizer.from_str(made)
    except NoShiftError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise NoShiftError(f"its ids can't be found ({str(error)[:200]})") from error
    _prove(before, after, padding)
    return made


def _shifted(found: dict[str, Any]) -> tuple[str, str]:
    """The name of the padding, and the new text."""
    vocabulary = found["model"]["vocab"]
    if not isinstance(vocabulary, dict):
        raise NoShiftError(f"its model ({found['model'].get('type')}) has no list of ids")
    added_tokens = found.get("added_tokens") or []
    taken = vocabulary.keys() | {added["content"] for added in added_tokens}
    padding = next(name for name in _padding_names() if name not in taken)
    found["model"]["vocab"] = {padding: 0, **{token: number + 1 for token, number in vocabulary.items()}}
    for added in added_tokens:
        added["id"] += 1
    _shift_processor(found.get("post_processor"))
    found["padding"] = None  # it has an id of its own, and rows here are never padded
    return padding, json.dumps(found, ensure_ascii=False)


def _padding_names() -> Iterator[str]:
    """Names for id 0, the best first: a word-level model finds any other in a text, and the text would lose it."""
    yield ""
    yield from (f"[{'_' * number}PAD]" for number in count(1))


def _shift_processor(processor: dict[str, Any] | None) -> None:
    """Shift the ids that a post-processor adds to each text."""
    if processor is None:
        return
    for one in processor.get("processors", ()):
        _shift_processor(one)
    special_tokens = processor.get("special_tokens", {})
    for special in special_tokens.values():
        special["ids"] = [number + 1 for number in special["ids"]]
    for name in {"sep", "cls"} & processor.keys():
        processor[name][1] += 1


def _prove(before: Tokenizer, after: Tokenizer, padding: str) -> None:
    """Check the ids of all tokens, and those of a text with its special tokens."""
    wanted = {token: number + 1 for token, number in before.get_vocab(with_added_tokens=True).items()}
    found = after.get_vocab(with_added_tokens=True)
    found.pop(padding, None)
    text = " ".join(islice(wanted, _PROVED))
    for tokenizer in (before, after):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        without_dropout(tokenizer)
    try:
        ids, shifted = before.encode(text).ids, after.encode(text).ids
    except Exception as error:  # tokenizers raises plain Exception
        raise NoShiftError(f"it refuses a text of its own tokens: {error}") from error
    if found != wanted or shifted != [number + 1 for number in ids]:
        raise NoShiftError("a text gets ids that aren't one higher")
