"""The request of a user for `unrolled model fit`."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from unrolled.errors import RequestError, shortened
from unrolled.job.inputs import Inputs
from unrolled.settings.declaration import flag_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from producer.sources.discovery import SourceFile
    from producer.sources.options import SourceOptions

DEFAULT_VOCABULARY = 10_000
_LONGEST_SHOWN = 80
#: Options of the sources that change how rows are read, but not which rows there are.
_NOT_THE_CORPUSES = ("batch_rows", "tick_seconds", "follow", "id_field", "id_first_word", "reads_ids")


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
        named: the options of `source` that the user gave, as `producer.sources.fitting.check_options` takes them.
    """

    inputs: tuple[str, ...]
    out: Path
    source: SourceOptions
    vocab_size: int | None
    tokenizer: Path | None
    oov: str | None
    training: dict[str, Any]
    named: tuple[str, ...] = ()

    def words(self, files: Iterable[SourceFile]) -> dict[str, Any]:
        """The options that a resumed training must share, as JSON values; the tokenizer by its hash.

        Args:
            files: the inputs that were found; another spelling of their paths is no other training.
        """
        source = {name: value for name, value in asdict(self.source).items() if name not in _NOT_THE_CORPUSES}
        names = Inputs.named(file.label for file in files)
        return {
            "inputs": {"digest": names.digest, "count": names.count, "first": list(names.first)},
            "source": source,
            "vocab_size": self.vocab_size,
            "tokenizer": None if self.tokenizer is None else _digest(self.tokenizer),
            "oov": self.oov,
            "training": self.training,
        }


def differences(before: dict[str, Any], asked: dict[str, Any]) -> str:
    """Which options of a training differ from those of another one, and how, for people."""
    found = []
    names = before.keys() | asked.keys()
    if before.get("inputs") != asked.get("inputs"):
        names -= {"files"}  # the sizes and times of other files say nothing more
    for name in sorted(names - {"files"}):
        one, other = before.get(name), asked.get(name)
        if name == "inputs":
            found.append(_other_inputs(one, other))
        elif isinstance(one, dict) and isinstance(other, dict):
            found += [_difference(key, one.get(key), other.get(key)) for key in sorted(one.keys() | other.keys())]
        else:
            found.append(_difference(name, one, other))
    found = [*filter(None, found)]
    # Of another time alone it isn't known whether the rows are others.
    if "files" in names and not (found and sizes_of(before) == sizes_of(asked)):
        found.append(_difference("files", before.get("files"), asked.get("files")))
    return "; ".join(filter(None, found))


def sizes_of(words: dict[str, Any]) -> dict[str, Any]:
    """The names and the sizes of the inputs in a request's JSON values, without their times."""
    return {"files": [state[:2] for state in words.get("files", ())]}


def _difference(name: str, before: object, asked: object) -> str:
    if before == asked:
        return ""
    if name == "files":
        return "an input that has changed since"
    flag = flag_of(name)
    if name == "tokenizer":  # a digest, or None for one that is made of the words
        if before and asked:
            return "another --tokenizer"
        return "a --tokenizer (this command has none)" if before else "no --tokenizer (this command has one)"
    had = f"no {flag}" if before is None else _given(flag, before)
    has = "none" if asked is None else _given(flag, asked).removeprefix(f"{flag} ")
    return f"{had} (this command has {has})"


def _given(flag: str, value: object) -> str:
    """An option as it is given on a command line."""
    if isinstance(value, bool):
        return flag if value else f"--no-{flag.removeprefix('--')}"
    return f"{flag} {shortened(str(value), _LONGEST_SHOWN)}"


def _other_inputs(before: Any, asked: Any) -> str:
    """How the inputs of two trainings differ, for people; "" if they don't."""
    if before == asked:
        return ""
    try:
        return f"other inputs ({Inputs.from_json(before).beside(Inputs.from_json(asked))})"
    except (ValueError, TypeError, KeyError):  # of another release
        return "other inputs"


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        way = f"; name {path}/tokenizer.json" if (path / "tokenizer.json").is_file() else ""
        raise RequestError(f"--tokenizer {path}: can't be read ({error.strerror or error}){way}") from error
