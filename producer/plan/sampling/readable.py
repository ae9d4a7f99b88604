"""Which inputs can be read, as far as their beginnings show within a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from producer.plan.sampling.pieces import spread
from producer.sources.errors import DamagedInputError
from producer.sources.heads import Head, check_head
from producer.sources.notices import notices_of_empty, notices_of_ids, notices_of_looks
from unrolled.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producer.sources.discovery import SourceFile
    from producer.sources.options import SourceOptions


@dataclass(slots=True)
class Readable:
    """The facts that the beginnings of inputs show.

    Attributes:
        files: the inputs, without those that can't be read.
        problems: why the others can't be read, by their labels.
        text_file: an input that contains text; None where none does.
        json_files: inputs whose lines are JSON objects, but are read as text.
        notices: messages for the user about inputs without a row.
        unchecked: inputs that were not looked at, for lack of time.
        seconds: how long it takes to look at them all.
    """

    files: list[SourceFile]
    problems: dict[str, str] = field(default_factory=dict)
    text_file: str | None = None
    json_files: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    unchecked: int = 0
    seconds: float = 0.0


def readable(files: Sequence[SourceFile], options: SourceOptions, seconds: float) -> Readable:
    """Look at the beginnings of inputs, at some of them if there are too many for the time.

    Raises:
        RequestError: one of the inputs is a pipe, which can be read once.
    """
    for source in files:
        if source.place is None or source.size_bytes is None:
            raise RequestError(
                f"input {source.label}: a stream can be read once, and a plan would take it from the job; write a part "
                "of it to a file, and plan that"
            )
    began = time.monotonic()
    order = sorted(range(len(files)), key=spread)
    found, bad, heads = Readable([]), set[int](), dict[int, Head]()
    for count, number in enumerate(order):
        source = files[number]
        if count and time.monotonic() - began > seconds:
            found.unchecked = len(files) - count
            break
        try:
            if source.place is not None:
                heads[number] = check_head(source, source.place, options)
        except (DamagedInputError, OSError) as error:
            found.problems[source.label] = str(error)
            bad.add(number)
    found.text_file = next((files[number].label for number, head in heads.items() if head.holds_text), None)
    seen = [(files[number].label, heads[number]) for number in sorted(heads)]
    found.json_files = [label for label, head in seen if head.looks_like == "jsonl"]
    found.notices = [
        *notices_of_empty([label for label, head in seen if head.is_empty]),
        *notices_of_looks((label, head.looks_like) for label, head in seen),
        *notices_of_ids((label, head.other_id) for label, head in seen),
    ]
    found.seconds = (time.monotonic() - began) * len(files) / max(1, len(files) - found.unchecked)
    found.files = [source for number, source in enumerate(files) if number not in bad]
    return found
