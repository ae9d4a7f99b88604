"""An unfinished training: whether a command resumes it, takes its place, or is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from producer.sources.reading import InputPlan, read_batches
from producer.terminal.progress import reading
from producer.tokenization.tokenize import tokenize
from producer.training.request import FitRequest, differences, sizes_of
from producer.training.rows import Seen, rows_with_targets
from producer.training.words import text_of, words_of
from unrolled.errors import JobError
from unrolled.model.files import PLAN_FILE, TOKENIZER_FILE
from unrolled.patience import Patience
from unrolled.store.publish import publish_bytes
from unrolled.tokenization.tokenizer import load_tokenizer
from unrolled.training.plan import SCRATCH, FitPlan

if TYPE_CHECKING:
    from collections.abc import Callable


def resumed(
    request: FitRequest, plan: InputPlan, found: FitPlan, words: dict[str, Any], say: Callable[[str], None]
) -> FitPlan:
    """The plan of an unfinished training whose inputs only look changed, as after `touch` or a copy.

    Args:
        request: what the user asks for.
        plan: the inputs.
        found: the plan of the unfinished training, which another command began or whose inputs have another state.
        words: `request` as JSON values, with the states of the inputs.
        say: called with each line that the user should read.

    Raises:
        JobError: it is the training of another command, or of another corpus; the text says what differs.
        UnrolledError: an input can't be read.
    """
    touched = {**found.request, **sizes_of(found.request)} == {**words, **sizes_of(words)}
    if touched and _has_same_rows(request, plan, found, say):
        say("inputs have another time than when this training began, and the same rows: it resumes")
        found = replace(found, request=words)
        publish_bytes(request.out / SCRATCH / PLAN_FILE, found.to_json().encode())
        return found
    # Where an input alone differs, this is the command that began it.
    only_files = {**found.request, "files": None} == {**words, "files": None}
    advice = "" if only_files else "run the command that began it, "
    raise JobError(
        f"{request.out}: contains an unfinished training with {differences(found.request, words)}; {advice}choose "
        f"another --out, or remove {request.out / SCRATCH} to start again"
    )


def _has_same_rows(request: FitRequest, plan: InputPlan, found: FitPlan, say: Callable[[str], None]) -> bool:
    """Whether the inputs make the tokenizer and the rows that were made of them before."""
    kept, size = request.out / SCRATCH / TOKENIZER_FILE, found.options.vocab_size
    is_own = plan.text_file is not None and request.tokenizer is None
    if is_own and not (kept.exists() and text_of(words_of(request, plan, say).tokenizer) == kept.read_text("utf-8")):
        return False
    tokenizer, seen = load_tokenizer(kept, size) if kept.exists() else None, Seen()
    with reading("comparing", plan.size_bytes) as on_bytes:
        batches = read_batches(plan, request.source, on_bytes=on_bytes, steadily=Patience(say).until_done)
        for batch in tokenize(batches, tokenizer, size):
            for _ in rows_with_targets(batch, seen):
                pass
    return {"files": len(plan.files), **seen.facts()} == found.corpus
