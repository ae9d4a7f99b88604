"""Which inputs can be read, as far as their beginnings show within a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from producer.plan.sampling.pieces import spread
from producer.sources.errors import DamagedInputError
from producer.sources.heads import check_head
from producer.sources.notices import notices_of_empty, notices_of_json
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
    found, bad, empty, json = Readable([]), set[int](), set[int](), set[int]()
    for count, number in enumerate(order):
        source = files[number]
        if count and time.monotonic() - began > seconds:
            found.unchecked = len(files) - count
            break
        try:
            head = None if source.place is None else check_head(source, source.place, options)
        except (DamagedInputError, OSError) as error:
            found.problems[source.label] = str(error)
            bad.add(number)
            continue
        if head and head.holds_text:
            found.text_file = found.text_file or source.label
        if head and head.is_empty:
            empty.add(number)
        if head and head.looks_like_json:
            json.add(number)
    found.json_files = [files[number].label for number in sorted(json)]
    found.notices = [
        *notices_of_empty([files[number].label for number in sorted(empty)]),
        *notices_of_json(found.json_files),
    ]
    found.seconds = (time.monotonic() - began) * len(files) / max(1, len(files) - found.unchecked)
    found.files = [source for number, source in enumerate(files) if number not in bad]
    return found
