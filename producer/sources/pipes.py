"""The checks of inputs that can be read once: standard input and named pipes."""

# Over 150 lines: three ways to look at what can be read once.

import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from producer.sources.discovery import SourceFile
from producer.sources.errors import DamagedInputError, TruncatedInputError
from producer.sources.formats.content import check_content
from producer.sources.heads import Head, look_of_text
from producer.sources.options import SourceOptions
from producer.sources.streams.compression import sniff, unpacked
from producer.sources.streams.live import READ_BYTES
from unrolled.errors import counted

#: How long a first look waits for the first bytes; later, they are checked when they arrive.
_LOOK_SECONDS = 1.0


class StandardInput:
    """Standard input whose first bytes, which have arrived, can be read twice: once to look at them.

    Args:
        file: its buffer.

    Attributes:
        is_late: whether a look ended because nothing more arrived for a while, and not at the end of the input.
    """

    def __init__(self, file: io.BufferedReader) -> None:
        self.is_late = False
        self._file = file
        self._is_look = False
        self._kept: list[bytes] = []

    def look(self) -> None:
        """Keep what is read from now on, and end where nothing arrives."""
        self._is_look = True

    def rewind(self) -> None:
        """Read from the start again, to the end."""
        self._is_look = False

    def read(self, size: int) -> bytes:
        """At most `size` bytes, or as many as the look got at once; none at the end."""
        if not self._is_look:
            return self._kept.pop(0) if self._kept else self._file.read(size)
        # The first bytes are in the buffer.
        if self._kept and not select.select([self._file], [], [], _LOOK_SECONDS)[0]:
            self.is_late = True
            return b""
        self._kept.append(self._file.read1(size))
        return self._kept[-1]


@dataclass(frozen=True, slots=True)
class LiveInput:
    """A live input whose first bytes were taken from it, to look at them.

    Attributes:
        file: what follows them.
        taken: those bytes.
    """

    file: BinaryIO
    taken: bytes

    @property
    def loss(self) -> str:
        """What is lost if they aren't used, as a clause of a sentence."""
        if not self.taken:
            return "nothing was read"
        verb = "was" if len(self.taken) == 1 else "were"
        return f"{counted(len(self.taken), 'byte')} of the stream {verb} read, and can't be read again"


def take_beginning(source: SourceFile, options: SourceOptions) -> LiveInput | None:
    """Take the first bytes of a live standard input, and check them; None if none arrive soon.

    As many are taken as one read gives: the process that reads the pipe after a killed one should find whole rows.

    Raises:
        DamagedInputError: the content doesn't match the format.
    """
    file = sys.stdin.buffer if sys.stdin else None
    try:
        if file is None or not select.select([file], [], [], _LOOK_SECONDS)[0]:
            return None
        taken = os.read(file.fileno(), READ_BYTES)
    except (OSError, ValueError):  # reading it says why
        return None
    live = LiveInput(file, taken)
    if taken:
        try:
            _refuse_compressed(taken, options)
            check_content(taken, source.format, is_named=options.format is not None, has_name=False)
        except DamagedInputError as error:
            raise DamagedInputError(f"{error}. {live.loss}") from error
    return live


def standard_input() -> BinaryIO:
    """The bytes of standard input.

    Raises:
        DamagedInputError: it is closed.
    """
    if sys.stdin is None:
        raise DamagedInputError("is closed; send it rows through a pipe or a redirection, or name files")
    return sys.stdin.buffer


def look_at(source: SourceFile, options: SourceOptions) -> Head:
    """Check the first bytes of an input, if they can be seen without taking them from it and arrive soon.

    Args:
        source: standard input, or a pipe.
        options: as in `check_head`.

    Raises:
        DamagedInputError: the content doesn't match the format, or standard input is closed.
    """
    head = b""
    file = standard_input() if source.place is None else None
    if not options.follow:  # what is taken from a live input is gone if it isn't used
        head = _beginning(file)
    if head:
        check_content(head, source.format, is_named=options.format is not None, has_name=False)
    holds_text = options.kind == "text" or (options.kind == "auto" and source.format in ("text", "fasta"))
    return Head(holds_text, looks_like=look_of_text(head, source, options), has_arrived=bool(head))


def _beginning(file: BinaryIO | None) -> bytes:
    """The first bytes of a file, unpacked, which stay in its buffer; none if there is no buffer, or nothing arrives.

    Raises:
        DamagedInputError: they are compressed, and damaged.
    """
    try:
        if not isinstance(file, io.BufferedReader) or not select.select([file], [], [], _LOOK_SECONDS)[0]:
            return b""
        head = file.peek()
    except (OSError, ValueError):  # reading it says why
        return b""
    if (compression := sniff(head)) != "none":
        with suppress(TruncatedInputError):  # the rest of it isn't there
            return next(unpacked(iter([head]), compression), b"")
        return b""
    return head


def checked(
    chunks: Iterator[bytes], source: SourceFile, options: SourceOptions, tell_look: Callable[[str | None], None]
) -> Iterator[bytes]:
    """Yield the chunks of an input that can be read once, as soon as its first bytes have been checked.

    Args:
        chunks: its content, unpacked; an empty chunk is passed on.
        source: the input.
        options: as in `check_head`.
        tell_look: called with what text looks like, see `look_of_text`.

    Raises:
        DamagedInputError: the content doesn't match the format.
    """
    for chunk in chunks:
        if chunk:
            _refuse_compressed(chunk, options)
            check_content(chunk, source.format, is_named=options.format is not None, has_name=source.place is not None)
            tell_look(look_of_text(chunk, source, options))
            yield chunk
            break
        yield chunk
    yield from chunks


def _refuse_compressed(head: bytes, options: SourceOptions) -> None:
    if options.follow and (found := sniff(head)) != "none":
        raise DamagedInputError(f"is {found} by its content; --follow reads what isn't compressed")
