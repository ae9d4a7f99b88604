"""What every store does, whatever is behind it."""

import gzip
import io
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unrolled.errors import RequestError
from unrolled.store.place import check_creates_once
from unrolled.store.store import Creation, Store

NAMES = ["a", "part-000000-0123456789ab.parquet", "_unrolled/log/000000.jsonl", "_unrolled/dead/a+b=c.1.json"]
HOSTILE = ["", "/", "/etc/passwd", "a//b", "a/", "..", "../a", "a/../b", "./a", "a/.", "a\0b", "a\nb", "\udc80",
           "x" * 256, "a/" * 500 + "a"]  # fmt: skip
#: Not what this product calls an object; people may.
FOREIGN = [".hidden", "a/.b", "-a", "a b", "a%41", "ä", "a?b", "a#b", "x" * 200]


def names(store, folder=""):
    return sorted(store.list(folder))


def test_it_has_the_methods_of_a_store(store):
    """So one can be given where a store is wanted."""
    assert isinstance(store, Store)


@pytest.mark.parametrize("name", NAMES)
def test_an_object_is_created_once(store, name):
    """The first content stays, whatever is created later, until it is deleted."""
    assert store.read(name) is None
    assert store.create(name, b"first") is Creation.CREATED
    assert store.create(name, b"second") is Creation.EXISTS
    assert store.create(name, lambda file: file.write(b"third")) is Creation.EXISTS
    assert store.read(name) == b"first"
    store.delete(name)
    assert store.read(name) is None
    assert store.create(name, b"fourth") is Creation.CREATED
    assert store.read(name) == b"fourth"


@pytest.mark.parametrize("size", [0, 1, 4096, 3_000_001])
def test_content_is_written_by_pieces_or_at_once(store, size):
    """Both names open one object."""
    content = os.urandom(size)

    def write(file):
        for start in range(0, size, 700_000):
            assert file.write(memoryview(content)[start : start + 700_000]) == len(content[start : start + 700_000])

    assert store.create("at-once", content) is Creation.CREATED
    assert store.create("by-pieces", write) is Creation.CREATED
    assert store.read("at-once") == content
    assert store.read("by-pieces") == content


def test_a_writer_that_fails_creates_nothing(store):
    """Its error goes through as it is, and the name is free."""

    def write(file):
        file.write(b"x" * 2_000_000)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.create("f/a", write)
    assert store.read("f/a") is None
    assert names(store, "f") == []
    assert store.create("f/a", b"whole") is Creation.CREATED


@pytest.mark.parametrize(("start", "stop"), [(0, None), (0, 4), (3, 7), (3, None), (9, 100), (10, 20), (10, None),
                                             (50, 60), (5, 5), (6, 5), (0, 0)])  # fmt: skip
def test_ranges_are_slices(store, start, stop):
    """As of bytes: shorter beyond the end, empty after it."""
    store.create("a", b"0123456789")
    assert store.read("a", start, stop) == b"0123456789"[start:stop]
    assert store.read("absent", start, stop) is None


def test_ranges_of_an_empty_object_are_empty(store):
    """The object exists."""
    store.create("empty", b"")
    assert [store.read("empty"), store.read("empty", 0, 5), store.read("empty", 5)] == [b"", b"", b""]
    with store.open("empty") as file:
        assert file.read() == b""


def test_a_listing_has_a_folder_and_not_what_is_in_its_folders(store):
    """So the parts can be listed without all that is below `_unrolled`."""
    for name in ("b", "a", "f/x", "f/y", "f/g/z", "fg/x"):
        store.create(name, name.encode())
    assert names(store) == ["a", "b"]
    assert names(store, "f") == ["f/x", "f/y"]
    assert names(store, "f/g") == ["f/g/z"]
    assert names(store, "absent") == []


def test_a_folder_that_was_emptied_is_empty(store):
    """And takes objects again."""
    store.create("f/a", b"1")
    store.delete("f/a")
    assert names(store, "f") == []
    assert store.create("f/a", b"2") is Creation.CREATED


def test_deleting_what_is_absent_is_fine(store):
    """As the second of two who delete an object would find."""
    store.create("a", b"1")
    for name in ("a", "a", "absent", "no-folder/absent"):
        store.delete(name)
    assert names(store) == []


def test_any_folder_can_be_synced(store):
    """Also one that doesn't exist yet."""
    store.create("f/g/a", b"1")
    for folder in ("", "f", "f/g", "absent", "absent/g"):
        store.sync(folder)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leads_out_is_refused(store, name):
    """By every operation, before it does anything."""
    with pytest.raises(RequestError, match="can't be the name"):
        store.create(name, b"1")
    for operation in (store.read, store.open, store.delete):
        with pytest.raises(RequestError, match="can't be the name"):
            operation(name)
    if name:
        with pytest.raises(RequestError, match="can't be the name"):
            list(store.list(name))
        with pytest.raises(RequestError, match="can't be the name"):
            store.sync(name)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_name_can_be_read_alone(store, name):
    """Nothing is created or deleted under a name that this product would not give."""
    for operation in (lambda: store.create(name, b"1"), lambda: store.delete(name)):
        with pytest.raises(RequestError, match="can't be the name"):
            operation()
    assert store.read(name) is None
    assert store.open(name) is None


def test_one_of_many_creators_wins(store):
    """Threads that create one name at once: one learns that it did, and its content is the object's."""
    contents = {number: bytes([number]) * 50_000 for number in range(8)}
    barrier = threading.Barrier(len(contents))

    def create(number):
        barrier.wait()
        return store.create("f/a", contents[number] if number % 2 else lambda file: file.write(contents[number]))

    with ThreadPoolExecutor(len(contents)) as threads:
        answers = dict(zip(contents, threads.map(create, contents), strict=True))
    assert Counter(answers.values()) == {Creation.CREATED: 1, Creation.EXISTS: 7}
    (winner,) = (number for number, answer in answers.items() if answer is Creation.CREATED)
    assert store.read("f/a") == contents[winner]
    assert names(store, "f") == ["f/a"]


def test_a_reader_sees_the_whole_or_nothing(store):
    """However often it looks while objects are created."""
    content = os.urandom(300_000)
    done = threading.Event()
    seen = []

    def look():
        while not done.is_set():
            seen.extend(store.read(f"f/{number}") for number in range(10))
            seen.extend(store.read(name) for name in store.list("f"))

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(10):
        store.create(f"f/{number}", content if number % 2 else lambda file: file.write(content))
    done.set()
    reader.join()
    assert set(seen) <= {None, content}
    assert names(store, "f") == [f"f/{number}" for number in range(10)]


def test_pyarrow_reads_a_part_where_it_is(store):
    """Its footer, and single columns and row groups, by ranges."""
    table = pa.table({"id": [str(number) for number in range(1000)], "value": [number / 2 for number in range(1000)]})
    written = io.BytesIO()
    pq.write_table(table, written, row_group_size=100)
    store.create("part.parquet", lambda file: file.write(written.getbuffer()))
    with store.open("part.parquet") as file, pq.ParquetFile(file) as part:
        assert part.num_row_groups == 10
        assert part.read_row_group(3, columns=["value"]).equals(table.slice(300, 100).select(["value"]))
        assert part.read().equals(table)


def test_a_compressed_object_is_read_as_a_stream(store):
    """As a file, through a buffer."""
    lines = [f"line {number}\n".encode() for number in range(10_000)]
    store.create("a.gz", gzip.compress(b"".join(lines)))
    with store.open("a.gz") as file, gzip.open(io.BufferedReader(file, 1 << 16)) as stream:
        assert list(stream) == lines


def test_an_open_file_seeks_as_files_do(store):
    """From the beginning, from the position, from the end, and beyond it."""
    store.create("a", b"0123456789")
    with store.open("a") as file:
        assert file.seek(2) == 2
        assert (file.read(3), file.tell()) == (b"234", 5)
        assert file.seek(-1, io.SEEK_END) == 9
        assert file.read(10) == b"9"
        assert file.seek(-4, io.SEEK_CUR) == 6
        assert file.read() == b"6789"
        assert file.read(1) == b""
    assert file.closed
    assert store.open("absent") is None


def test_a_store_proves_that_it_creates_once(store):
    """And leaves nothing behind."""
    check_creates_once(store)
    assert names(store, "_unrolled/probe") == []


def test_its_text_is_its_place(store):
    """For texts that people read."""
    assert str(store) in repr(store)
