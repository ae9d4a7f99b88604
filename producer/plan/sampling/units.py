"""The inputs as frames of pieces: plain lines, compressed files, tables."""

# Over 150 lines: three kinds of inputs, and how a piece of each is read.

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from producer.plan.sampling.line_frame import LineFrame
from producer.plan.sampling.pieces import PART_BYTES, WHOLE_ROW_BYTES, WORD, Piece, Seen, spread
from producer.plan.sampling.unit_frame import Unit, UnitFrame
from producer.sources.errors import DamagedInputError
from producer.sources.first_rows import read_rows
from producer.sources.formats.delimited import DELIMITERS, Records
from producer.sources.formats.lines import LongLine, split_lines
from producer.sources.places.local_file import LocalFile
from producer.sources.reading import tell_line_ends
from producer.sources.rows import BadRow, SourceRow
from producer.sources.streams.compression import read_chunks, unpacked
from producer.sources.streams.spool import spooled
from unrolled.patience import at_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from producer.plan.sampling.pieces import Frame
    from producer.sources.discovery import SourceFile
    from producer.sources.formats.tables import GroupPiece
    from producer.sources.options import SourceOptions
    from producer.sources.places.place import Place

#: Stored bytes that are read at once of a compressed file, at most and at least: few, so that it is known which of them
#: a piece took.
_RAW_BYTES, _LEAST_RAW_BYTES = 16 * 1024, 512
#: Bytes in which records on several lines are looked for.
_HEAD_BYTES = 256 * 1024
#: The largest compressed table that is unpacked for a plan.
_MOST_SPOOLED_BYTES = 64 * 2**20
#: The largest row group that is read to its end for a sample, uncompressed; over a network, where that takes longer.
_MOST_SCANNED_BYTES, _MOST_DISTANT_BYTES = 2**30, 2**26
#: Bytes of rows of tables that are in memory, and the least of a row group's.
_HELD_BYTES, _LEAST_HELD_BYTES = 2**28, 2**20
_TABLES = ("parquet", "arrow")
_LAST_WORD = re.compile(r"(?<=\s)\S+\Z")


def frames_of(files: Sequence[SourceFile], options: SourceOptions) -> tuple[list[Frame], list[str]]:
    """The inputs by the way in which they are sampled.

    Args:
        files: files with a size.
        options: how they are read.

    Returns:
        The frames, and the labels of the inputs that can't be sampled.
    """
    plain: list[tuple[SourceFile, Place, int]] = []
    streams: list[Unit] = []
    tables: list[Unit] = []
    left_out = []
    tables_found = sum(source.format in _TABLES for source in files)
    for source in files:
        place, size = source.place, source.size_bytes
        if place is None or not size:
            continue
        if source.format in _TABLES:
            if source.compression != "none" and size > _MOST_SPOOLED_BYTES:
                left_out.append(source.label)
                continue
            units = list(_table_units(source, place, size, options, _HELD_BYTES // tables_found))
            tables += [unit for unit in units if unit.is_spread]
            streams += [unit for unit in units if not unit.is_spread]
        elif source.compression != "none" or _has_records_of_lines(source, place, options):
            streams.append(Unit(source.label, size, partial(_stream, source, place, size, options)))
        else:
            plain.append((source, place, size))
    frames: list[Frame] = [LineFrame(plain, options)] if plain else []
    if streams:
        frames.append(UnitFrame(streams, from_the_start=True))
    if tables:
        frames.append(UnitFrame(tables, from_the_start=False, rows=sum(unit.rows for unit in tables)))
    return frames, left_out


def _has_records_of_lines(source: SourceFile, place: Place, options: SourceOptions) -> bool:
    """Whether a CSV or TSV file has a record on several lines, so that a place in it doesn't say where a row begins."""
    if source.format not in DELIMITERS:
        return False
    try:
        with place.open(at_once) as file:
            head = file.read(_HEAD_BYTES)
    except (DamagedInputError, OSError):
        return False
    if b'"' not in head:
        return False
    lines = next(split_lines([head], options.max_row_bytes, keep_returns=True), [])
    records = Records(DELIMITERS[source.format], options.max_row_bytes, quotes=options.quotes)
    found = sum(1 for _ in records.push(lines))
    return found < sum(1 for line in lines if isinstance(line, LongLine) or line.strip())


def _stream(source: SourceFile, place: Place, size: int, options: SourceOptions) -> Iterator[Piece]:
    """Yield a file of lines from its start on."""
    held: Piece | None = None
    damage: DamagedInputError | None = None
    pieces = _chunks_of_rows(source, place, size, options)
    while True:
        try:
            piece = next(pieces, None)
        except DamagedInputError as error:
            piece, damage = None, error
        # Unpacked rows may come in lumps: those for which no further byte was read belong to the piece before.
        if held is not None and piece is not None and piece.size_bytes <= 0:
            held = held._replace(rows=held.rows + piece.rows)
            continue
        if held is not None:
            yield held
        if piece is None:
            break
        held = piece
    if damage is not None:
        raise damage


def _chunks_of_rows(source: SourceFile, place: Place, size: int, options: SourceOptions) -> Iterator[Piece]:
    taken = chunks_begun = 0

    def raw() -> Iterator[bytes]:
        nonlocal taken
        with place.open(at_once) as file:
            while chunk := file.read(max(_LEAST_RAW_BYTES, min(_RAW_BYTES, size // 256))):
                taken += len(chunk)
                yield chunk

    def counted(chunks: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal chunks_begun
        for chunk in chunks:
            chunks_begun += 1
            yield chunk

    # All rows that end in a chunk come before the next chunk is asked for.
    rows: list[Seen] = []
    given = before = chunk_of_rows = 0
    try:
        chunks = counted(unpacked(raw(), source.compression))
        for batch in read_rows(source, chunks, options, partial(tell_line_ends, source)):
            if chunks_begun > chunk_of_rows and rows:
                yield Piece(before - given, rows)
                rows, given = [], before
            chunk_of_rows, before = chunks_begun, taken
            rows += map(_shortened, batch)
    except DamagedInputError:
        yield Piece(taken - given, rows)  # what comes before the damage is intact
        raise
    yield Piece(size - given, rows)


def _table_units(
    source: SourceFile, place: Place, size: int, options: SourceOptions, held_bytes: int
) -> Iterator[Unit]:
    """The row groups of a Parquet file, of whose rows about `held_bytes` may be in memory; other tables as a whole."""
    from producer.sources.formats.tables import row_groups  # noqa: PLC0415 - pyarrow is slow to import

    if source.compression != "none":
        yield Unit(source.label, size, partial(_spooled_table, source, place, size, options))
        return
    groups = []
    if source.format == "parquet":
        with suppress(DamagedInputError, OSError):  # reading it says why it can't be read
            groups = row_groups(place, options, at_once)
    if not groups:
        yield Unit(source.label, size, partial(_table, source, place, size, options, None))
    total = max(sum(group.size_bytes for group in groups), 1)
    most_bytes = _MOST_DISTANT_BYTES if place.is_distant else _MOST_SCANNED_BYTES
    held_bytes = max(_LEAST_HELD_BYTES, held_bytes // max(len(groups), 1))
    for number, group in enumerate(groups):
        share = max(1, round(size * group.size_bytes / total))
        in_order = partial(_table, source, place, share, options, [number])
        spread_out = partial(_spread_group, source, place, share, options, number, held_bytes)
        yield Unit(source.label, share, in_order, spread_out if group.read_bytes <= most_bytes else None, group.rows)


def _spread_group(
    source: SourceFile, place: Place, size: float, options: SourceOptions, group: int, held_bytes: int
) -> Iterator[Piece]:
    """Yield the pieces of a row group in an order in which they are spread over it.

    It is read to its end first, but most of its rows are never made. It is read once more where only some of it may be
    in memory, and all pieces of these have been drawn.
    """
    from producer.sources.formats.tables import row_group_pieces  # noqa: PLC0415 - pyarrow is slow to import

    read = partial(row_group_pieces, place, source.label, options, at_once, group)
    held: list[GroupPiece] = []
    step, total_bytes, damage = 1, 0, None
    try:
        for number, piece in enumerate(read()):
            if number % step:
                continue
            held.append(piece)
            total_bytes += piece.size_bytes
            while total_bytes > held_bytes and len(held) > 1:
                held, step = held[::2], 2 * step
                total_bytes = sum(piece.size_bytes for piece in held)
    except DamagedInputError as error:
        damage = error
    first = sorted(range(len(held)), key=spread)
    for at in dict.fromkeys(at for one in first for at in (one, len(held) - 1 - one)):  # neither end comes earlier
        yield Piece(held[at].share * size, list(map(_shortened, held[at].rows())))
    held.clear()
    if damage is not None:
        raise damage
    for number, piece in enumerate(read() if step > 1 else ()):
        if number % step:
            yield Piece(piece.share * size, list(map(_shortened, piece.rows())))


def _table(
    source: SourceFile, place: Place, size: float, options: SourceOptions, groups: Sequence[int] | None
) -> Iterator[Piece]:
    """Yield some row groups of a table, which stand for `size` stored bytes."""
    from producer.sources.formats.tables import read_table  # noqa: PLC0415 - pyarrow is slow to import

    taken = 0

    def count(stored: int) -> None:
        nonlocal taken
        taken += stored

    given, whole = 0, max(place.size_bytes or 1, 1)
    for batch in read_table(place, source.format, source.label, options, at_once, count, groups):
        yield Piece((taken - given) / whole * size, list(map(_shortened, batch)))
        given = taken


def _spooled_table(source: SourceFile, place: Place, size: int, options: SourceOptions) -> Iterator[Piece]:
    with place.open(at_once) as file, spooled(read_chunks(file, source.compression)) as path:
        yield from _table(source, LocalFile.of(str(path)), size, options, None)


def _shortened(row: SourceRow | BadRow) -> Seen:
    """A row, or the beginning of a long text, without the word that its end may cut."""
    if isinstance(row, BadRow) or row.text is None or len(row.text) <= WHOLE_ROW_BYTES:
        return Seen(row)
    cut = _LAST_WORD.search(row.text, PART_BYTES - WORD, PART_BYTES)
    end = cut.start() if cut else PART_BYTES
    return Seen(row._replace(text=row.text[:end]), whole=len(row.text) / end)
