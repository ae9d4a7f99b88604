"""The manifest: every line durable, a torn one survived, anything else refused with its place."""

import json
from dataclasses import asdict, replace

import pytest

from unrolled.errors import JobError, TransientError
from unrolled.job.manifest import NAME, Entry, Manifest, ManifestWriter, read_manifest
from unrolled.job.shard_id import ShardId


def entry(index):
    return Entry(ShardId(index, "0123456789ab"), 10 + index, 100, index, "d" * 32, "a.txt", 20 * index)


ENTRIES = tuple(entry(index) for index in range(3))


def as_line(each, **fields):
    return json.dumps({**asdict(each), "shard": str(each.shard), **fields}).encode()


LINES = [as_line(each) for each in ENTRIES]
END = json.dumps({"end": {"shards": 3, "rows": 36}}).encode()


def write(directory, *entries, end=None):
    writer = ManifestWriter(directory)
    for each in entries:
        writer.append(each)
    if end:
        writer.end(shards=end[0], rows=end[1])
    writer.close()


def test_round_trip(tmp_path):
    """What was written is read, in order, with its sums."""
    assert read_manifest(tmp_path) == Manifest((), ended=False)
    write(tmp_path, *ENTRIES[:2])
    assert read_manifest(tmp_path) == Manifest(ENTRIES[:2], ended=False)
    write(tmp_path, ENTRIES[2], end=(3, 36))
    found = read_manifest(tmp_path)
    assert found == Manifest(ENTRIES, ended=True)
    assert (found.rows, found.tokens) == (36, 300)
    assert (tmp_path / NAME).read_bytes() == b"\n".join([*LINES, END, b""])


def test_goes_on_after_its_end(tmp_path):
    """A live input's manifest continues after an end; only the last line says whether it has ended."""
    write(tmp_path, *ENTRIES[:2], end=(2, 22))
    write(tmp_path, ENTRIES[2])
    assert read_manifest(tmp_path) == Manifest(ENTRIES, ended=False)


def test_torn_at_every_byte(tmp_path):
    """Wherever a crash cut the last line, it doesn't count, and the next one takes its place."""
    whole = b"\n".join([*LINES[:2], b""])
    for last, after in ((LINES[2], ENTRIES[2]), (END, ENTRIES[2])):
        for size in range(len(last) + 1):
            (tmp_path / NAME).write_bytes(whole + last[:size])
            assert read_manifest(tmp_path) == Manifest(ENTRIES[:2], ended=False)
            write(tmp_path, after)
            assert read_manifest(tmp_path) == Manifest(ENTRIES, ended=False)
    for size in range(len(LINES[0]) + 1):
        (tmp_path / NAME).write_bytes(LINES[0][:size])
        assert read_manifest(tmp_path) == Manifest((), ended=False)


def changed(**fields):
    return as_line(ENTRIES[1], **fields)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "Expecting value"),
        (b"garbage", "Expecting value"),
        (b"\xff\xff", "can't decode"),
        (b"\0" * 50, "Expecting value"),
        (b"[]", "an object is expected"),
        (b"3", "not iterable"),
        (b'"the end"', "an object is expected"),
        (b"{}", "shard id ''"),
        (b"[" * 100_000, "recursion"),
        (LINES[0], "shard 000000-0123456789ab is at place 1"),
        (LINES[2], "shard 000002-0123456789ab is at place 1"),
        (changed(shard="000001-../../etc/x"), "shard id"),
        (changed(shard=1), "shard is '1'; a text is expected"),
        (changed(file=None), "file is 'None'; a text is expected"),
        (changed(rows=-1), "rows is '-1'; a count is expected"),
        (changed(rows=True), "rows is 'True'; a count is expected"),
        (changed(tokens=1.5), "tokens is '1.5'; a count is expected"),
        (changed(more="x"), "unexpected keyword argument"),
        (END, "the end counts {'shards': 3, 'rows': 36}, the lines before it {'shards': 1, 'rows': 10}"),
        (b'{"end": null}', "the end counts None"),
        (b'{"end": {"shards": 1, "rows": 10}, "x": 1}', "end is \"{'shards': 1"),
        (LINES[1].decode().encode("utf-16"), "can't decode"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_garbage(tmp_path, line, reason):
    """A line that is none, is out of order or miscounts is refused with the path and its number."""
    (tmp_path / NAME).write_bytes(b"\n".join([LINES[0], line, LINES[1], b""]))
    with pytest.raises(JobError) as caught:
        read_manifest(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / NAME}, line 2: not a manifest line: ")
    assert str(caught.value).endswith("; use a new output directory")
    assert reason in str(caught.value)


def test_unreadable(tmp_path):
    """What can't be read or written just now is a passing trouble."""
    (tmp_path / NAME).mkdir()
    with pytest.raises(TransientError, match="can't be read now"):
        read_manifest(tmp_path)
    with pytest.raises(TransientError, match="cannot write"):
        ManifestWriter(tmp_path)


def test_full_disk(tmp_path, monkeypatch):
    """A line that a full disk took half of is taken back when it is tried again."""
    writer = ManifestWriter(tmp_path)
    writer.append(ENTRIES[0])
    real = writer._file

    class FullDisk:
        """The real file, with room for 20 bytes."""

        room = 20

        def write(self, line):
            if not self.room:
                raise OSError(28, "No space left on device")
            self.room -= (count := real.write(line[: self.room]))
            return count

        def __getattr__(self, name):
            return getattr(real, name)

    monkeypatch.setattr(writer, "_file", FullDisk())
    with pytest.raises(TransientError, match="No space left on device"):
        writer.append(ENTRIES[1])
    assert read_manifest(tmp_path) == Manifest(ENTRIES[:1], ended=False)
    monkeypatch.setattr(writer, "_file", real)
    writer.append(ENTRIES[1])
    writer.append(replace(ENTRIES[2], file="é\n\ud800"))
    writer.close()
    assert read_manifest(tmp_path).entries == (*ENTRIES[:2], replace(ENTRIES[2], file="é\n\ud800"))
