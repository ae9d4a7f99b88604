"""The words of a corpus, of which a training makes its tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.sources.reading import InputPlan, read_batches
from producer.sources.rows import SourceRow
from producer.terminal.progress import reading
from producer.tokenization.word_level import Fit, fit
from producer.training.request import DEFAULT_VOCABULARY, FitRequest
from unrolled.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tokenizers import Tokenizer


def words_of(request: FitRequest, plan: InputPlan, say: Callable[[str], None]) -> Fit:
    """Make a tokenizer of a corpus's most frequent words.

    Args:
        request: what the user asks for.
        plan: the inputs.
        say: called with each line that the user should read.

    Raises:
        UnrolledError: an input can't be read.
    """

    def texts(on_bytes: Callable[[int], None]) -> Iterator[str]:
        for batch in read_batches(plan, request.source, on_bytes=on_bytes, steadily=Patience(say).until_done):
            yield from (row.text for row in batch if isinstance(row, SourceRow) and row.text is not None)

    with reading("counting words", plan.size_bytes) as on_bytes:
        return fit(texts(on_bytes), request.vocab_size or DEFAULT_VOCABULARY, request.oov)


def text_of(tokenizer: Tokenizer) -> str:
    """The text of its tokenizer.json."""
    return tokenizer.to_str(pretty=True) + "\n"
