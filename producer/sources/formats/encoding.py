"""Whether the beginning of an input is text in UTF-8, or something else that is known."""

import codecs

from producer.sources.errors import DamagedInputError

#: Characters that texts don't have, or seldom: all below a space but tab, line feed, form feed, return and escape.
_CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n\f\r\x1b")
#: Of a binary file, a tenth of the bytes are control characters if they are random, and more if there is a structure.
#: A short text may have a few.
_BINARY_SHARE, _SOME, _MANY = 1 / 20, 4, 32
#: Of UTF-16 in Latin letters, every other byte is zero.
_WIDE_SHARE = 1 / 4
#: A text in another encoding has this many lines, and this share of all, that are no UTF-8.
_FEWEST_LINES, _LINES_SHARE = 3, 1 / 20
#: So many carriage returns aren't stray ones: at least these, and one in so many bytes.
_FEWEST_RETURNS, _LINE_BYTES = 3, 4096
#: Signs in Windows-1252 that are control characters in ISO-8859-1: the euro, dots, quotes and dashes.
_WINDOWS = b"\x80\x85\x91\x92\x93\x94\x96\x97"
#: The letters of both but a y with two dots, and signs that texts have: spaces, quotes, degrees. Random bytes are so in
#: less than 6 of 10 cases.
_LETTERS = bytes({*range(0xC0, 0xFF)} - {0xD7, 0xF7}) + _WINDOWS + b"\xa0\xa7\xab\xb0\xbb\xdf"
_LETTERS_SHARE = 0.8


def check_encoding(head: bytes, *, is_named: bool) -> None:
    """Check the first bytes of an input whose format is text, JSON lines, FASTA, CSV or TSV.

    A few wrong bytes make a few rows bad; nothing is said of them here.

    Args:
        head: the first bytes, unpacked.
        is_named: whether the user named the format: UTF-8 may then be full of control characters, but for NUL.

    Raises:
        DamagedInputError: they are binary, or text in another encoding; the text says how to convert it.
    """
    zeros = [head[start::2].count(0) for start in (0, 1)]
    if max(zeros) > _WIDE_SHARE * len(head) and min(zeros) <= max(zeros) / 10:
        name = "UTF-16BE" if zeros[0] > zeros[1] else "UTF-16LE"
        raise DamagedInputError(f"is UTF-16 text; convert it (iconv -f {name} -t UTF-8)")
    controls = len(head) - len(head.translate(None, _CONTROLS))
    lines = head.split(b"\n")[:-1]  # the last one may end within a character
    if controls > _BINARY_SHARE * len(head) and controls >= (_SOME if 0 in head else _MANY):
        is_text = 0 not in head and sum(map(_is_utf8, lines)) >= (1 - _LINES_SHARE) * len(lines)
        if not (is_named and is_text and (lines or _is_utf8(head, is_cut=True))):
            advice = "convert them to UTF-8" if is_named else "or name the format with --format"
            raise DamagedInputError(f"is not text: it begins with {head[:8].hex(' ')}; give text files, {advice}")
    if head.isascii():
        return
    wrong = [line for line in lines if not line.isascii() and not _is_utf8(line)]
    right = any(not line.isascii() and _is_utf8(line) for line in lines)
    if len(wrong) < _FEWEST_LINES or len(wrong) < _LINES_SHARE * len(lines) or right:
        return
    high = b"".join(wrong).translate(None, bytes(range(0x80)))
    if len(high) - len(high.translate(None, _LETTERS)) >= _LETTERS_SHARE * len(high):
        name = "WINDOWS-1252" if len(high) > len(high.translate(None, _WINDOWS)) else "ISO-8859-1"
        raise DamagedInputError(f"is not UTF-8; it looks like {name}: convert it (iconv -f {name} -t UTF-8)")


def check_line_ends(head: bytes) -> None:
    """Check that the first bytes of a text have lines: one that ends them as old Macs did would be one long row.

    Raises:
        DamagedInputError: there are carriage returns, and no line feed.
    """
    if b"\n" not in head and head.count(b"\r") >= max(_FEWEST_RETURNS, len(head) / _LINE_BYTES):
        raise DamagedInputError("ends its lines in carriage returns alone; end them in line feeds (tr '\\r' '\\n')")


def _is_utf8(line: bytes, *, is_cut: bool = False) -> bool:
    """Whether bytes are UTF-8, of which the last character may be cut off."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(line, final=not is_cut)
    except UnicodeDecodeError:
        return False
    return True
