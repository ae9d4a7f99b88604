"""What a user asks for with `unrolled model fit`."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from unrolled.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

    from producer.sources.options import SourceOptions

DEFAULT_VOCABULARY = 10_000
#: Options of the sources that change how rows are read, but not which rows there are.
_NOT_THE_CORPUSES = ("batch_rows", "tick_seconds", "follow", "id_field", "id_first_word")


@dataclass(frozen=True, slots=True)
class FitRequest:
    """A training that a user asks for.

    Attributes:
        inputs: files, directories or patterns.
        out: the model directory to make.
        source: how the inputs are read.
        vocab_size: the largest token id; None for `DEFAULT_VOCABULARY`, or the tokenizer's largest id.
        tokenizer: a tokenizer.json to use; None to make one of the corpus's words.
        oov: the token that replaces other words; None drops them.
        training: the options of `FitOptions` besides vocab_size.
    """

    inputs: tuple[str, ...]
    out: Path
    source: SourceOptions
    vocab_size: int | None
    tokenizer: Path | None
    oov: str | None
    training: dict[str, Any]

    def words(self) -> dict[str, Any]:
        """What a resumed training must be equal in, as JSON values; the tokenizer by its hash."""
        source = {name: value for name, value in asdict(self.source).items() if name not in _NOT_THE_CORPUSES}
        return {
            "inputs": list(self.inputs),
            "source": source,
            "vocab_size": self.vocab_size,
            "tokenizer": None if self.tokenizer is None else _digest(self.tokenizer),
            "oov": self.oov,
            "training": self.training,
        }


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RequestError(f"--tokenizer {path}: can't be read ({error.strerror or error})") from error
