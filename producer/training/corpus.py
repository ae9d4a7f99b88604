"""A corpus is made ready for training: read by the sources, tokenized, split, and kept on disk as token ids."""

# Over 150 lines: a corpus from its files to token ids on the disk, with everything that can be refused on the way.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from producer.sources.notices import named, notices_of_words
from producer.sources.reading import InputPlan, check_inputs, read_batches
from producer.terminal.progress import reading
from producer.terminal.text import lines_of_unknown, percent
from producer.tokenization.coverage import Coverage
from producer.tokenization.tokenize import tokenize
from producer.training.place import clear
from producer.training.resuming import resumed
from producer.training.rows import FEWEST_TOKENS, Seen, held_out, line_of_share, rows_with_targets, segments
from producer.training.words import text_of, words_of
from unrolled.errors import OptionError, RequestError, counted
from unrolled.model.files import PLAN_FILE, TOKENIZER_FILE
from unrolled.patience import Patience
from unrolled.store.publish import publish_bytes
from unrolled.tokenization.token_ids import NO_INTEGER
from unrolled.tokenization.tokenizer import load_tokenizer
from unrolled.training.plan import (
    DIVERGED_FILE,
    SCRATCH,
    SEGMENT_WINDOWS,
    FitOptions,
    FitPlan,
    RowCount,
    digest_of,
)
from unrolled.training.token_store import TokenStoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from producer.training.request import FitRequest


def inputs_of(request: FitRequest) -> InputPlan:
    """The files of a corpus, before the directory `_fit` is made, which a pattern may match.

    Args:
        request: what the user asks for.

    Raises:
        UnrolledError: an input or an option can't be used; the text says which and why.
    """
    FitOptions(request.vocab_size or 1, **request.training)  # refused before anything is read
    plan = check_inputs(request.inputs, request.source, request.named)
    if plan.size_bytes is None:
        raise RequestError("a training reads its corpus more than once, and a pipe can be read once: give files")
    _refuse_oov(request, plan)
    return plan


def prepare(request: FitRequest, plan: InputPlan, say: Callable[[str], None]) -> FitPlan:
    """Make the rows ready, unless an earlier run of the same command has; the directory `_fit` is held.

    Args:
        request: what the user asks for.
        plan: its inputs.
        say: called with each line that the user should read.

    Raises:
        UnrolledError: an input, the tokenizer, an option or the directory can't be used; the text says which and why.
    """
    scratch = request.out / SCRATCH
    words = request.words(plan.files) | {"files": _states(plan)}
    found = FitPlan.read(scratch)
    if found is not None and not _is_replaced(scratch, found, words):
        found.tokenizer_in(scratch)  # a damaged one is refused before the model is trained to its end
        return found if found.request == words else resumed(request, plan, found, words, say)
    _need_largest_id(request, plan)
    clear(scratch)
    if found is not None:
        gone = "the unfinished training there diverged; it is removed, and this one starts from the beginning"
        say(f"{request.out}: {gone}")
    for notice in plan.notices:
        say(notice)
    made = _make_rows(request, plan, words, say)
    publish_bytes(scratch / PLAN_FILE, made.to_json().encode())
    return made


def _is_replaced(scratch: Path, found: FitPlan, words: dict[str, Any]) -> bool:
    """Whether another training takes the place of one: that diverged, and its advice was to take other options."""
    return found.request != words and (scratch / DIVERGED_FILE).exists()


def _refuse_oov(request: FitRequest, plan: InputPlan) -> None:
    """Refuse a token for other words where no tokenizer is made: it would change nothing."""
    if request.oov is None or (request.tokenizer is None and plan.text_file is not None):
        return
    instead = "the rows are token ids" if request.tokenizer is None else "--tokenizer gives one"
    raise OptionError(f"--oov is for a tokenizer made of the corpus's words, and {instead}; leave --oov out")


def _need_largest_id(request: FitRequest, plan: InputPlan) -> None:
    """Refuse a corpus whose first rows show no text, unless the size of its vocabulary is given."""
    if plan.is_empty:
        raise RequestError(f"the corpus has no rows: {named([file.label for file in plan.files])}")
    if plan.text_file is None and request.vocab_size is None and request.tokenizer is None:
        found = (
            "--kind tokens reads token ids, and the largest one isn't known; give it with"
            if request.source.kind == "tokens"
            else f"no input's first row has the text field {request.source.text_field}; name the field with "
            "--text-field, give --kind text if other rows have it, or give the largest token id with"
        )
        raise OptionError(f"{found} --vocab-size")


def _make_rows(request: FitRequest, plan: InputPlan, words: dict[str, Any], say: Callable[[str], None]) -> FitPlan:
    scratch, steadily = request.out / SCRATCH, Patience(say).until_done
    tokenizer, vocab_size = _tokenizer(request, plan, say)
    options = FitOptions(vocab_size, **request.training)
    options.config()
    seen, held = Seen(), [0, 0]
    # A tokenizer that is made of the corpus leaves out what is rare, and says so.
    coverage = None if request.tokenizer is None else Coverage(tokenizer)
    targets = SEGMENT_WINDOWS * options.max_length
    bound = int(options.validation_share * 2**64)
    with (
        TokenStoreWriter(scratch, "train", vocab_size) as train,
        TokenStoreWriter(scratch, "validation", vocab_size) as validation,
        reading("tokenizing", plan.size_bytes) as on_bytes,
    ):
        batches = read_batches(plan, request.source, on_bytes=on_bytes, steadily=steadily)
        for batch in tokenize(batches, tokenizer, vocab_size, coverage=coverage):
            sides: tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]] = ([], [])
            for ids in rows_with_targets(batch, seen):
                side = held_out(ids, bound)
                held[side] += 1
                sides[side].extend(segments(ids, targets))
            train.add(sides[0])
            validation.add(sides[1])
    _check_sides(train, validation, options, seen)
    tokens = train.tokens + validation.tokens
    share = line_of_share(sum(held), held[1], tokens, validation.tokens, options.validation_share)
    unknown = lines_of_unknown(coverage.unknown_share, coverage.noun) if coverage else []
    for line in (*seen.left_out(), *unknown, *share):
        say(line)
    learnt, held_out_rows = (RowCount(side.rows, side.tokens) for side in (train, validation))
    kept = request.out / SCRATCH / TOKENIZER_FILE
    made_by = digest_of(kept.read_bytes() if kept.is_file() else None)
    return FitPlan(options, words, {"files": len(plan.files), **seen.facts()}, learnt, held_out_rows, made_by)


def _tokenizer(request: FitRequest, plan: InputPlan, say: Callable[[str], None]) -> tuple[Tokenizer | None, int]:
    """The tokenizer of the corpus, kept in the scratch directory, None for token ids; and the largest id."""
    kept = request.out / SCRATCH / TOKENIZER_FILE
    if plan.text_file is None:
        kept.unlink(missing_ok=True)
        if request.tokenizer is None and request.vocab_size is not None:
            return None, request.vocab_size
    if request.tokenizer is not None:
        remedy = "give --tokenizer a tokenizer.json; without the option, one is made from the words of the corpus"
        tokenizer = load_tokenizer(request.tokenizer, 2**31 - 2, remedy)
        largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=1)
        if (request.vocab_size or largest) < largest:
            raise OptionError(
                f"--vocab-size {request.vocab_size}: the largest id of {request.tokenizer} is {largest}; leave the "
                f"option out, or give {largest} or more"
            )
        publish_bytes(kept, request.tokenizer.read_bytes())
        return tokenizer, request.vocab_size or largest

    for notice in notices_of_words((file.label, file.format) for file in plan.files):
        say(notice)
    found = words_of(request, plan, say)
    if line := found.line_of_unknown(request.oov):
        say(line)
    share = percent(found.covered / found.words)
    words = found.kept - (request.oov is not None)  # that token has an id, and is no word of the corpus
    say(f"vocabulary: {words:,} of {found.distinct:,} words, {share} of all {found.words:,} that occur")
    publish_bytes(kept, text_of(found.tokenizer).encode())
    return load_tokenizer(kept, found.kept), found.kept


def _check_sides(train: TokenStoreWriter, validation: TokenStoreWriter, options: FitOptions, seen: Seen) -> None:
    if seen.bad > seen.rows:
        way = "Correct the options, such as --vocab-size"
        if NO_INTEGER in seen.reason:
            way = "Write ids as integers"
        if "token '" in seen.reason or "tokens are '" in seen.reason:
            way = f"If these are texts, give --kind text, and lists of words as one text each; if not: {way}"
        raise RequestError(
            f"{seen.bad:,} of {counted(seen.bad + seen.rows, 'row')} can't be used{seen.reason}. {way}, or leave these "
            "rows out of the corpus"
        )
    for purpose, side in (("learn from", train), ("hold out", validation)):
        if not side.rows:
            bad = f" ({seen.bad:,} more can't be used{seen.reason})" if seen.bad else ""
            raise RequestError(
                f"there is no row to {purpose}: the corpus has {counted(seen.rows, 'row')}{bad}, and only those of "
                f"{FEWEST_TOKENS} tokens or more count. A row is learnt from or held out as a whole, and equal rows "
                "together: give more of them, such as a sentence or a document on a line, or another "
                f"--validation-share than {options.validation_share:g}"
            )


def _states(plan: InputPlan) -> list[list[Any]]:
    """Each input's name, size and version: a training that resumes uses the rows that were made of them."""
    return [[file.label, file.size_bytes, file.place and file.place.version] for file in plan.files]
