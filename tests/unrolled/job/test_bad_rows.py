"""Lists of bad rows: what is written is read, and no change passes."""

import pytest

from unrolled.errors import PayloadError
from unrolled.job.bad_rows import decode_bad_rows, encode_bad_rows

JOB = "0123456789abcdef"
ROWS = [
    {"file": "a.txt", "position": 3, "id": None, "reason": "empty line"},
    {"file": "ä\u2028.txt", "position": 4, "id": 'x"}\n', "reason": "not UTF-8", "growth": 1},
]


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS])
def test_what_is_written_is_read(rows):
    """One line for each row, and equal bytes for equal rows."""
    lines = encode_bad_rows(JOB, 7, rows)
    assert [line.count(b"\n") for line in lines] == [1] * len(rows)
    assert lines == encode_bad_rows(JOB, 7, rows)
    found = decode_bad_rows(JOB, 7, b"".join(lines))
    assert [{name: value for name, value in row.items() if name != "sha256"} for row in found] == rows


def test_no_row_is_no_list():
    """A shard without bad rows has no list."""
    assert encode_bad_rows(JOB, 7, []) == []


def test_any_change_is_noticed():
    """Each flipped bit, each cut, lines in another order, more bytes, and the list of another job or shard."""
    first, last = encode_bad_rows(JOB, 7, ROWS)
    whole = first + last
    changed = [
        whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :] for at in range(len(whole)) for bit in range(8)
    ]
    changed += [whole[:end] for end in range(len(whole))]
    changed += [last + first, last, whole * 2, whole + b" ", whole + b"\n", b"\n" + whole]
    changed += [b"".join(encode_bad_rows(job, index, ROWS)) for job, index in ((JOB, 8), ("f" * 16, 7))]
    for content in changed:
        with pytest.raises(PayloadError):
            decode_bad_rows(JOB, 7, content)


@pytest.mark.parametrize("row", [{"file": "a.txt"}, {}, [1], "text", 5, None])
def test_a_sealed_list_that_lacks_a_field_is_refused(row):
    """Anyone who can write the file can seal it, so its content is checked, too."""
    lines = encode_bad_rows(JOB, 7, [row, ROWS[0]])
    with pytest.raises(PayloadError):
        decode_bad_rows(JOB, 7, b"".join(lines))
