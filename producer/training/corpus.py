"""A corpus becomes a training's rows: read by the sources, tokenized, split, and kept on disk as token ids."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from producer.rows import Row, RowBatch, SourceRow
from producer.sources.reading import InputPlan, check_inputs, read_batches
from producer.tokenization.tokenize import load_tokenizer, tokenize
from producer.tokenization.word_level import fit
from producer.training.request import DEFAULT_VOCABULARY, FitRequest
from unrolled.errors import JobError, RequestError, TransientError
from unrolled.model.files import TOKENIZER_FILE
from unrolled.store.publish import publish_bytes
from unrolled.training.plan import PLAN_FILE, SCRATCH, SEGMENT_WINDOWS, FitOptions, FitPlan, RowCount
from unrolled.training.token_store import TokenStoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

#: A row of one token has nothing to predict.
FEWEST_TOKENS = 2


@dataclass(slots=True)
class _Seen:
    """What is counted while rows are read."""

    rows: int = 0
    bad: int = 0
    short: int = 0
    tokens: int = 0
    reason: str = ""
    digest: Any = field(default_factory=hashlib.sha256)

    def facts(self) -> dict[str, Any]:
        """For the record."""
        return {
            "rows": self.rows, "tokens": self.tokens, "bad_rows": self.bad, "rows_without_targets": self.short,
            "sha256": self.digest.hexdigest(),
        }  # fmt: skip


def prepare(request: FitRequest, say: Callable[[str], None], on_bytes: Callable[[int], None] | None = None) -> FitPlan:
    """Make the rows ready; what an earlier run of the same command made ready is taken as it is.

    Args:
        request: what is asked for.
        say: told what the user should know.
        on_bytes: told of input bytes as they are read; all of them twice where a tokenizer is made.

    Raises:
        UnrolledError: an input, the tokenizer, an option or the directory can't be used; the text says which and why.
    """
    scratch = request.out / SCRATCH
    FitOptions(request.vocab_size or 1, **request.training)  # before anything is read
    plan = check_inputs(request.inputs, request.source)
    if plan.size_bytes is None:
        raise RequestError("a training reads its corpus more than once, and a pipe can be read once: give files")
    words = request.words() | {"files": _states(plan)}
    found = FitPlan.read(scratch)
    if found is not None:
        if found.request != words:
            changed = sorted(name for name in words if found.request.get(name) != words[name])
            raise JobError(
                f"{request.out}: another training was begun there (other {', '.join(changed)}); give the same command, "
                f"choose another --out, or remove {scratch} to start anew"
            )
        return found
    try:
        scratch.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TransientError(f"{scratch}: can't be made ({error.strerror or error}); choose another --out") from error
    for notice in plan.notices:
        say(notice)
    made = _make_rows(request, plan, words, say, on_bytes)
    publish_bytes(scratch / PLAN_FILE, made.to_json().encode())
    return made


def _make_rows(
    request: FitRequest,
    plan: InputPlan,
    words: dict[str, Any],
    say: Callable[[str], None],
    on_bytes: Callable[[int], None] | None,
) -> FitPlan:
    scratch = request.out / SCRATCH
    tokenizer, vocab_size = _tokenizer(request, plan, say, on_bytes)
    options = FitOptions(vocab_size, **request.training)
    options.config()
    seen = _Seen()
    segment = SEGMENT_WINDOWS * options.max_length
    bound = int(options.validation_share * 2**64)
    with (
        TokenStoreWriter(scratch, "train", vocab_size) as train,
        TokenStoreWriter(scratch, "validation", vocab_size) as validation,
    ):
        for batch in tokenize(read_batches(plan, request.source, on_bytes=on_bytes), tokenizer, vocab_size):
            sides: tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]] = ([], [])
            for ids in _usable(batch, seen):
                sides[held_out(ids, bound)].extend(_segments(ids, segment))
            train.add(sides[0])
            validation.add(sides[1])
    _check_sides(train, validation, options, seen)
    counted = (RowCount(side.rows, side.tokens) for side in (train, validation))
    return FitPlan(options, words, {"files": len(plan.files), **seen.facts()}, *counted)


def _usable(batch: RowBatch, seen: _Seen) -> Iterator[NDArray[np.int32]]:
    """The real tokens of the rows that have something to predict."""
    for row in batch:
        if not isinstance(row, Row):
            seen.bad += 1
            seen.reason = seen.reason or f"; first: row {row.position} of {row.file} {row.reason}"
            continue
        ids = row.tokens[row.tokens > 0]
        seen.rows += 1
        seen.tokens += len(ids)
        seen.digest.update(len(ids).to_bytes(8, "little") + ids.astype("<i4").tobytes())
        if len(ids) < FEWEST_TOKENS:
            seen.short += 1
        else:
            yield ids


def held_out(ids: NDArray[np.int32], bound: int) -> bool:
    """Whether a row is for validation, by its content alone: equal rows are on one side, and stay there.

    Args:
        ids: int32 (tokens,).
        bound: the share held out, of 2**64.
    """
    digest = hashlib.blake2b(ids.astype("<i4").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < bound


def _segments(ids: NDArray[np.int32], targets: int) -> Iterator[NDArray[np.int32]]:
    """Cut a long row so that each token but its first is a target once: a segment begins where the last one ends."""
    for start in range(0, len(ids) - 1, targets):
        yield ids[start : start + targets + 1]


def _tokenizer(
    request: FitRequest, plan: InputPlan, say: Callable[[str], None], on_bytes: Callable[[int], None] | None
) -> tuple[Tokenizer | None, int]:
    """What makes ids of the corpus, kept in the scratch directory, and the largest id."""
    kept = request.out / SCRATCH / TOKENIZER_FILE
    if plan.text_file is None:
        if request.vocab_size is None:
            raise RequestError(
                f"no text was found (field {request.source.text_field!r}); name its field with --text-field, or for "
                "token ids say with --vocab-size which is the largest"
            )
        kept.unlink(missing_ok=True)
        if request.tokenizer is None:
            return None, request.vocab_size
    if request.tokenizer is not None:
        room = request.vocab_size or 2**31 - 2
        tokenizer = load_tokenizer(request.tokenizer, room)
        ids = tokenizer.get_vocab(with_added_tokens=True).values()
        publish_bytes(kept, request.tokenizer.read_bytes())
        return tokenizer, request.vocab_size or max(ids, default=1)

    def texts() -> Iterator[str]:
        for batch in read_batches(plan, request.source, on_bytes=on_bytes):
            yield from (row.text for row in batch if isinstance(row, SourceRow) and row.text is not None)

    found = fit(texts(), request.vocab_size or DEFAULT_VOCABULARY, request.oov)
    share = 100 * found.covered / found.words
    say(f"vocabulary: {found.kept:,} of {found.distinct:,} words, {share:.1f} % of all {found.words:,} that occur")
    publish_bytes(kept, (found.tokenizer.to_str(pretty=True) + "\n").encode())
    return load_tokenizer(kept, found.kept), found.kept


def _check_sides(train: TokenStoreWriter, validation: TokenStoreWriter, options: FitOptions, seen: _Seen) -> None:
    for name, side in (("to learn from", train), ("held out", validation)):
        if not side.rows:
            raise RequestError(
                f"of {seen.rows:,} rows ({seen.bad:,} more can't be used{seen.reason}) no row of "
                f"{FEWEST_TOKENS} tokens or more is {name}; give more text, or another --validation-share than "
                f"{options.validation_share:g}"
            )


def _states(plan: InputPlan) -> list[list[Any]]:
    """Each input's name, size and time of change: a training that goes on takes the rows that were made of them."""
    try:
        found = [(file.label, Path(file.path).stat()) for file in plan.files]
    except OSError as error:
        raise RequestError(f"an input is gone: {error}") from error
    return [[label, status.st_size, status.st_mtime_ns] for label, status in found]
