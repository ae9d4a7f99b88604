"""The inputs that the user's names stand for, in a fixed order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from glob import has_magic
from typing import TYPE_CHECKING

from producer.sources.formats.by_name import by_extension, extensions, shows_format
from producer.sources.notices import named, notices_of_formats, notices_of_names
from producer.sources.places.buckets import Buckets, is_bucket_url
from producer.sources.places.directories import find_files
from producer.sources.places.local_file import LocalFile, shown
from unrolled.errors import OptionError, RequestError, counted

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from producer.sources.options import Compression, Format, SourceOptions
    from producer.sources.places.place import Place

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input.

    Attributes:
        label: the name in its rows: the path from the working directory, or from the root where it is not below it; the
            URL of an object; "-" for standard input.
        place: where its bytes are; None for standard input.
        format: the format of its content.
        compression: by its extension; that of standard input is recognized by the first bytes.
    """

    label: str
    place: Place | None
    format: Format
    compression: Compression

    @property
    def size_bytes(self) -> int | None:
        """Size as it is stored; None for a pipe."""
        return None if self.place is None else self.place.size_bytes


@dataclass(slots=True)
class Discovery:
    """Inputs in the order in which they are read, and notices for the user."""

    files: list[SourceFile] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def discover(inputs: Sequence[str], options: SourceOptions) -> Discovery:
    """Find the inputs.

    Directories and prefixes of a bucket are walked in sorted order, without names that begin with "." or "_"; patterns
    may contain `**`. A file with several names is read once. Without `format`, a directory or pattern with files of a
    format may not have files whose names show none, such as README.md beside Parquet files.

    Args:
        inputs: files, directories, glob patterns, URLs of these in a bucket, and "-".
        options: only `format` and `follow` matter here.

    Raises:
        RequestError: nothing is found for an input, it can't be read, or it has a file whose format is unclear.
        TransientError: a bucket can't be reached, or refuses.
    """
    _check_given(inputs, options)
    found = Discovery()
    seen: dict[Hashable, tuple[str, int]] = {}  # the label, and which of the inputs given
    labels: set[str] = set()
    again: dict[str, dict[str, None]] = {}  # the label, and the other names; each once, in order
    buckets = Buckets()
    for number, given in enumerate(inputs):
        for source in _sources(given, buckets, found.notices, options):
            place = source.place
            key = place.inode if isinstance(place, LocalFile) else source.label
            if key in seen:
                if seen[key] == (source.label, number):  # a pattern that matches a directory and the files in it
                    continue
                again.setdefault(seen[key][0], {})[source.label] = None
                continue
            if source.label in labels:
                raise RequestError(f"two inputs are both called {source.label}; rename one")
            seen[key] = source.label, number
            labels.add(source.label)
            found.files.append(source)
    found.notices = [*dict.fromkeys(found.notices), *notices_of_names(again)]
    if options.format is None:
        found.notices += notices_of_formats([(file.label, file.format) for file in found.files])
    return found


def _check_given(inputs: Sequence[str], options: SourceOptions) -> None:
    if not inputs:
        raise RequestError("no input given; name files, directories or patterns, or - for standard input")
    if options.follow and list(inputs) != [STANDARD_INPUT]:
        raise OptionError(f"--follow reads only standard input; found {' '.join(inputs)}, allowed: -")


def _sources(given: str, buckets: Buckets, notices: list[str], options: SourceOptions) -> list[SourceFile]:
    sources = [_source(place, options) for place in _places(given, buckets, notices)]
    if options.format is None:
        _refuse_unclear(given, sources)
    return sources


def _refuse_unclear(given: str, sources: Sequence[SourceFile]) -> None:
    """Refuse files whose names show no format beside files of one: most likely, they are no rows.

    Empty ones do no harm; in a bucket, they may represent folders.

    Raises:
        RequestError: there are some.
    """
    clear = [source for source in sources if shows_format(source.label)]
    formats = sorted({source.format for source in clear})
    unclear = list(
        dict.fromkeys(source.label for source in sources if source.size_bytes and not shows_format(source.label))
    )
    if not unclear or not {*formats} - {"text"}:
        return
    some = " and ".join(filter(None, (", ".join(formats[:-1]), formats[-1])))
    ((usual, _),) = Counter(extensions(source.label) for source in clear).most_common(1)
    pattern = f"{'' if has_magic(given) else given.rstrip('/') + '/**/'}*{usual}"
    raise RequestError(
        f"input {shown(given)}: has {some} files, and {counted(len(unclear), 'file')} whose "
        f"{'names show' if len(unclear) > 1 else 'name shows'} no format: {named(unclear)}. Give a pattern for the "
        f"files that are meant, such as '{shown(pattern)}', or --format if all have one format"
    )


def _places(given: str, buckets: Buckets, notices: list[str]) -> Iterator[Place | None]:
    if given == STANDARD_INPUT:
        yield None
    elif is_bucket_url(given):
        yield from buckets.find(given, notices)
    else:
        yield from find_files(given, notices)


def _source(place: Place | None, options: SourceOptions) -> SourceFile:
    if place is None:
        return SourceFile(STANDARD_INPUT, None, options.format or "text", "none")
    format_, compression = by_extension(place.name)
    return SourceFile(place.name, place, options.format or format_, compression)
