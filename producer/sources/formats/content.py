"""The check of an input's first bytes: whatever its name is, a binary file is never read as text by accident."""

from producer.sources.errors import DamagedInputError
from producer.sources.formats.encoding import check_encoding, check_line_ends
from producer.sources.options import Compression, Format
from producer.sources.streams.compression import sniff
from unrolled.store.disk.git_lfs import IS_POINTER, is_lfs_pointer

_COMPRESSED = "-compressed; unpack it, or compress it with gzip or zstd instead"
_ARCHIVE = "archive; unpack it, and give the files in it"
_FEATHER_1 = b"FEA1\0\0\0\0"
_FOREIGN = {
    b"PK\x03\x04": f"a zip {_ARCHIVE}; export what an office program saved as one (.xlsx, .docx) as CSV or text",
    b"7z\xbc\xaf\x27\x1c": f"a 7z {_ARCHIVE}",
    b"Rar!\x1a\x07": f"a RAR {_ARCHIVE}",
    b"\xfd7zXZ": f"xz{_COMPRESSED}",
    **{b"BZh%d1AY" % level: f"bzip2{_COMPRESSED}" for level in range(1, 10)},
    b"\x04\x22\x4d\x18": f"lz4{_COMPRESSED}",
    b"\xff\x06\0\0sNaPpY": f"snappy{_COMPRESSED}",
    b"\xff\xfe\0\0": "UTF-32 text; convert it (iconv -f UTF-32 -t UTF-8)",  # before UTF-16, as which it begins
    b"\0\0\xfe\xff": "UTF-32 text; convert it (iconv -f UTF-32 -t UTF-8)",
    b"\xff\xfe": "UTF-16 text; convert it (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "UTF-16 text; convert it (iconv -f UTF-16 -t UTF-8)",
    _FEATHER_1: (
        "Feather of version 1; write it again as version 2 (pyarrow.feather.write_feather(pyarrow.feather.read_table("
        "FILE), NEW))"
    ),
    b"SQLite format 3\0": "an SQLite database; export its rows, as CSV for example",
    b"%PDF-": "a PDF document; extract its text",
    b"Obj\x01": "an Avro file; convert it to Parquet",
    b"\x89HDF\r\n": "an HDF5 file; convert it to Parquet",
    b"\x93NUMPY": "a NumPy file; convert it to Parquet",
    **{b"\x80%c" % protocol: "a Python pickle; write its rows as JSON lines or Parquet" for protocol in range(2, 6)},
}
#: The last one begins an Arrow stream.
_TABLES = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow"}
#: Where a tar archive says that it is one.
_TAR = slice(257, 262)


def check_compression(first: bytes, compression: Compression) -> None:
    """Check that a file is compressed as its name says.

    Args:
        first: its first bytes as they are stored, 64 or more if there are so many.
        compression: by its name.

    Raises:
        DamagedInputError: it isn't.
    """
    found = sniff(first)
    if found == compression:
        return
    if found == "none":
        _refuse_pointer(first)
        start = f"begins with {first[:4].hex(' ')}" if first else "is empty"
        raise DamagedInputError(f"is named as {compression}, but {start}; rename or replace it")
    raise DamagedInputError(f"is {found} by its content, but not by its name; end its name in .gz or .zst")


def _check_table(head: bytes, format: Format) -> None:  # noqa: A002 - the option's name
    if head.startswith(_FEATHER_1):
        raise DamagedInputError(f"is {_FOREIGN[_FEATHER_1]}")
    magic = b"PAR1" if format == "parquet" else b""
    if not head.startswith(magic) or not head:
        article = "an" if format == "arrow" else "a"
        raise DamagedInputError(f"is not {article} {format} file: it begins with {head[:4].hex(' ') or 'nothing'}")


def _refuse_pointer(head: bytes) -> None:
    if is_lfs_pointer(head):
        raise DamagedInputError(IS_POINTER)


def check_content(
    head: bytes,
    format: Format,  # noqa: A002 - the option's name
    *,
    is_named: bool,
    has_name: bool = True,
) -> None:
    """Check that the first bytes can be of a format.

    Args:
        head: the first bytes, unpacked.
        format: the format in which the input is read.
        is_named: whether the user named it, so that it isn't taken from the input's name.
        has_name: whether the input has a name: standard input has none.

    Raises:
        DamagedInputError: they can't; the text says what they are, and what to do.
    """
    if format != "text" or not is_named:
        _refuse_pointer(head)
    if format in ("parquet", "arrow"):
        _check_table(head, format)
        return
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise DamagedInputError(f"is {what}")
    if head[_TAR] == b"ustar":
        raise DamagedInputError(f"is a tar {_ARCHIVE}")
    for magic, what in _TABLES.items():
        if head.startswith(magic) and not is_named:
            but = ", but not by its name" if has_name else ""
            raise DamagedInputError(f"is {what} by its content{but}; add --format {what}")
    check_encoding(head, is_named=is_named)
    if format not in ("csv", "tsv"):  # which tell of it themselves
        check_line_ends(head)
