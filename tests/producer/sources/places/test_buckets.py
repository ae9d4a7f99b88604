"""Inputs in a bucket: found as files in a directory are, and read as these are, whatever the server does."""

# `format` is the inputs' own word.
# ruff: noqa: A002

import gzip
import itertools
import os
import random
import subprocess
import sys
import threading
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.bucket_server import Answer
from support.inputs import COMPRESS, FORMATS, TEXTS, TOKENS, content_of, plain, rows_of, write

from producer.sources.errors import SourceError
from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches
from unrolled import patience
from unrolled.errors import RequestError, TransientError, install_command
from unrolled.patience import Patience
from unrolled.store import read_ahead

NAMES = [
    "d/b.txt", "d/a.txt", "d/sub/c.txt", "d/sub/deep/e.txt", "d/a b%20ü#(1).txt", "d/sub.txt", "d/.hidden",
    "d/_private", "d/_sub/x.txt", "d/.sub/x.txt", "z.txt", "y.log", "sub2/[1]*.txt",
]  # fmt: skip


def fill(folder, names=NAMES):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        write(folder / name, name)


@pytest.mark.parametrize("compression", list(COMPRESS))
@pytest.mark.parametrize("format", FORMATS)
def test_every_format(folder, server, format, compression):
    """Each format gives the rows that the file gives, plain and compressed, and its bytes are counted."""
    name = f"a.{format}{compression}"
    for kind, content in (
        ("text", content_of(format, TEXTS, None, None)),
        ("tokens", content_of(format, None, TOKENS, None)),
    ):
        write(folder / name, content, COMPRESS[compression])
        options = {"batch_rows": 2, "kind": "tokens" if kind == "tokens" and format == "txt" else "auto"}
        expected = [plain(row) for row in rows_of(folder / name, **options)]
        assert expected
        chosen, counted = SourceOptions(**options), []
        url = f"s3://{server.bucket}/{name}"
        plan = check_inputs([url], chosen)
        rows = [row for batch in read_batches(plan, chosen, on_bytes=counted.append) for row in batch]
        assert [plain(row) for row in rows] == expected
        assert {row.file for row in rows} == {url}
        assert sum(counted) == plan.size_bytes == (folder / name).stat().st_size


@pytest.mark.parametrize("pattern", [
    "", "d", "d/", "*.log", "*", "d/*.txt", "d/sub", "d/sub/*", "**/[bc].txt", "d/**/*.txt", "d/*/c.txt", "*/sub/*",
    "d/*/*/?.txt", "d/.h*", "d/_*", "s*/*", "d/a b%20ü#(1).txt", "sub2/[1]*.txt", "d/sub.txt",
])  # fmt: skip
def test_a_bucket_is_read_as_a_directory(folder, server, pattern, monkeypatch):
    """The same names give the same inputs in the same order, by a prefix, by a pattern, or one by one."""
    fill(folder)
    monkeypatch.chdir(folder)
    local = list(dict.fromkeys(row.text for row in rows_of(pattern or ".")))
    assert local
    assert [row.text for row in rows_of(f"s3://{server.bucket}/{pattern}")] == local


def test_several_inputs(folder, server, tmp_path):
    """Objects, a prefix and a file on a disk, in the order of their names; what is named twice is read once."""
    fill(folder)
    beginning = f"s3://{server.bucket}"
    inputs = [
        f"{beginning}/z.txt",
        str(write(tmp_path / "local.txt", "local")),
        f"{beginning}/d/sub",
        f"{beginning}/*.txt",
    ]
    plan = check_inputs(inputs, SourceOptions())
    assert [file.label.removeprefix(f"{beginning}/") for file in plan.files] == [
        "z.txt", str(tmp_path / "local.txt"), "d/sub/c.txt", "d/sub/deep/e.txt"
    ]  # fmt: skip
    assert plan.notices == (f"{beginning}/z.txt is named more than once: read once",)


def test_a_listing_of_many_pages(folder, server):
    """Each page is one request, and a check of an input's beginning is one more."""
    fill(folder, [f"many/{number:05}.txt" for number in range(1100)])
    plan = check_inputs([f"s3://{server.bucket}/many"], SourceOptions())
    assert [file.label[-9:] for file in plan.files] == [f"{number:05}.txt" for number in range(1100)]
    listings = [request for request in server.requests if "list-type" in request.path]
    assert len(listings) == 2
    assert len(server.requests) < 1100 + 10


@pytest.mark.parametrize("given", ["d", "d*/**", "**/*.*", "d/*", "*/*/*.*"])
def test_what_is_no_input(folder, server, given):
    """A job's output is left out, with a notice; objects that only represent folders aren't read."""
    fill(folder, ["d/a.txt", "d/out/_unrolled/job.json", "d/out/part-000000-0123456789ab.parquet", "d/out2/b.txt"])
    server_folder = folder / "d" / "c"
    server_folder.mkdir()
    plan = check_inputs([f"s3://{server.bucket}/{given}"], SourceOptions())
    names = [file.label.rpartition("/d/")[2] for file in plan.files]
    assert names == ["a.txt", "out2/b.txt"][given == "*/*/*.*" :]
    assert plan.notices == (f"s3://{server.bucket}/d/out is the output directory of a job: left out",)


@pytest.mark.parametrize("given", ["d", "d*/**", "**/*.*", "d/*"])
def test_the_files_of_a_model_are_no_input(folder, server, given):
    """They are no rows; what else is beside them is read."""
    fill(folder, ["d/model/config.json", "d/model/model.safetensors", "d/model/a.txt", "d/other/config.json"])
    plan = check_inputs([f"s3://{server.bucket}/{given}"], SourceOptions(format="text"))
    assert [file.label.rpartition("/d/")[2] for file in plan.files] == ["model/a.txt", "other/config.json"]
    assert plan.notices[:1] == (f"s3://{server.bucket}/d/model has a model, whose files are left out",)


@pytest.mark.parametrize(("url", "message"), [
    ("s3://BUCKET/none.txt", "no such object, and none below s3://BUCKET/none.txt/"),
    ("s3://BUCKET/none/", "no object below it to read"),
    ("s3://BUCKET/*.no", "no object matches this pattern"),
    ("s3://BUCKET/out", "is the output directory of a job; to read objects in it, name them, such as its parts: 's3://BUCKET/out/*.parquet'"),
    ("s3://BUCKET/out/", "is the output directory of a job; to read objects in it, name them, such as its parts: 's3://BUCKET/out/*.parquet'"),
    ("s3://BUCKET/no/**", "no object matches this pattern"),
    ("s3://BUCKET/**/*.typo", "no object to read matches this pattern (s3://BUCKET/out is the output directory"),
    ("s3://BUCKET/model/**/*", "to read matches this pattern (s3://BUCKET/model/inner has a model, whose"),
    ("s3://BUCKET/model/", "all that could be read is left out: s3://BUCKET/model/inner has a model"),
    ("s3://no-such-bucket/a.txt", "404 NoSuchBucket; make the bucket, or correct its name"),
    ("s3://no-such-bucket/*.txt", "404 NoSuchBucket; make the bucket, or correct its name"),
    ("hdfs://host/a.txt", "hdfs:// is not a place for objects; allowed: a path, s3://, gs://, az://"),
    ("https://host/a.txt", "https:// is not a place for objects"),
    ("file:///data/a.txt", "file:// is not a place for objects"),
    ("s3://a/b.txt", "'a' is not the name of a bucket"),
    ("s3://key:secret-word@BUCKET/a.txt", "no name, password or query"),
    ("s3://BUCKET/a.txt?X-Amz-Signature=secret-word", "no name, password or query"),
    ("s3://BUCKET/bad.csv", "input s3://BUCKET/bad.csv: has no column 'text' or 'tokens'"),
    ("s3://BUCKET/bad.gz", "input s3://BUCKET/bad.gz: is named as gzip, but begins with 62 61 64 2e"),
    ("s3://BUCKET/bad.parquet", "input s3://BUCKET/bad.parquet: is not a parquet file"),
])  # fmt: skip
def test_refusals(folder, server, url, message):
    """The text says what was found and what is allowed, and has no secret in it."""
    fill(folder, ["bad.gz", "bad.parquet", "out/_unrolled/job.json"])
    fill(folder, ["model/inner/config.json", "model/inner/model.safetensors"])
    write(folder / "bad.csv", "a,b\n1,2\n")
    with pytest.raises((RequestError, TransientError)) as caught:
        check_inputs([url.replace("BUCKET", server.bucket)], SourceOptions())
    assert message.replace("BUCKET", server.bucket) in str(caught.value)
    assert str(caught.value).count("are left out") <= 1
    assert "secret" not in str(caught.value)


def test_refused_credentials(folder, server):
    """They are named as the reason, and not shown."""
    fill(folder, ["a.txt"])
    server.faults["GET"] = [Answer.FORBIDDEN] * 9
    server.faults["HEAD"] = [Answer.FORBIDDEN] * 9
    with pytest.raises(TransientError, match="403; let these credentials list and read there") as caught:
        check_inputs([f"s3://{server.bucket}/a.txt"], SourceOptions())
    assert "secret-of-a-test" not in str(caught.value)


def test_without_obstore_the_extra_is_named():
    """A local input needs none of it."""
    script = (
        "import sys; sys.modules['obstore'] = None\n"
        "from producer.sources.options import SourceOptions\n"
        "from producer.sources.reading import check_inputs\n"
        "try:\n    check_inputs(['s3://bucket/a.txt'], SourceOptions())\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    missing = "RequestError s3://bucket needs obstore, which is missing"
    assert done.stdout == f"{missing}: {install_command('cloud')}\n"


def texts_of(folder, name, rows=40_000):
    """An object of about 3 MB, which takes several ranges."""
    chance = random.Random(1)
    texts = [f"{chance.random()} {at}" * 3 for at in range(rows)]
    table = pa.table({"text": texts})
    if name.endswith(".parquet"):
        pq.write_table(table, folder / name, row_group_size=5_000, use_dictionary=False, compression="none")
    elif name.endswith(".arrow"):
        with pa.ipc.new_file(folder / name, table.schema) as writer:
            writer.write_table(table, max_chunksize=5_000)
    else:
        write(
            folder / name, "\n".join(texts), partial(gzip.compress, compresslevel=1) if name.endswith(".gz") else bytes
        )
    return texts


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.parquet", "a.arrow"])
def test_a_server_that_goes_wrong_costs_time_only(folder, server, name, monkeypatch):
    """Overload, cut connections and half answers: each row arrives once, and each trouble is said once."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
    texts = texts_of(folder, name)
    options, lines = SourceOptions(), []
    plan = check_inputs([f"s3://{server.bucket}/{name}"], options)
    server.faults["GET"] = [
        Answer.SLOW_DOWN, Answer.LOST_REQUEST, None, Answer.HALF_ANSWER, Answer.BROKEN
    ]  # fmt: skip
    rows = [
        row.text for batch in read_batches(plan, options, steadily=Patience(lines.append).until_done) for row in batch
    ]
    assert rows == texts
    assert server.faults["GET"] == []
    url = f"s3://{server.bucket}/{name}"
    assert lines[0].startswith(f"can't read {url}: cannot read {url}: ")
    assert len([line for line in lines if "can't" in line]) <= 4


def test_a_trouble_that_stays_ends_a_command_that_is_not_patient(folder, server):
    """The rows before it have been read."""
    texts_of(folder, "a.txt")
    options, rows = SourceOptions(), []
    plan = check_inputs([f"s3://{server.bucket}/a.txt"], options)
    server.faults["GET"] = [None, *[Answer.SLOW_DOWN] * 9]
    batches = read_batches(plan, options)
    with pytest.raises(TransientError, match="503 SlowDown; check that the bucket can be reached"):
        rows.extend(itertools.chain.from_iterable(batches))
    assert rows


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.parquet", "a.arrow"])
@pytest.mark.parametrize("change", ["replaced", "longer", "gone"])
def test_an_object_that_changes_meanwhile_is_an_error(folder, server, name, change):
    """Never a mixture of two versions, also where the server ignores If-Match as this one does."""
    texts = texts_of(folder, name)
    options, rows = SourceOptions(), []
    plan = check_inputs([f"s3://{server.bucket}/{name}"], options)
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if change != "gone":
        write(folder / name, content[::-1] + (b"x" if change == "longer" else b""))
    found = (row.text for batch in read_batches(plan, options) for row in batch)
    with pytest.raises(SourceError, match="is gone" if change == "gone" else "has changed since this command found it"):
        rows.extend(found)
    assert rows == texts[: len(rows)]


def test_ranges_ask_for_one_version(folder, server, monkeypatch):
    """A server that knows If-Match is asked to refuse, which saves the bytes of another version."""
    texts_of(folder, "a.txt")
    asked = []
    handler = server._server.RequestHandlerClass
    monkeypatch.setattr(
        handler, "do_GET", lambda self, plain=handler.do_GET: (asked.append(self.headers.get("If-Match")), plain(self))
    )
    plan = check_inputs([f"s3://{server.bucket}/a.txt"], SourceOptions())
    list(read_batches(plan, SourceOptions()))
    first, *others = [etag for etag in asked if etag is not None]
    assert first.startswith('"')
    assert len(others) >= 2
    assert set(others) == {first}


def test_memory_is_bounded_by_the_ranges(monkeypatch):
    """However slow the reader, few ranges are fetched ahead, and each range once."""
    monkeypatch.setattr(read_ahead, "FIRST_BYTES", 1 << 10)
    monkeypatch.setattr(read_ahead, "MOST_BYTES", 1 << 12)
    content = os.urandom(1 << 18)
    fetched, lock = [], threading.Lock()

    def fetch(start, stop):
        with lock:
            fetched.append((start, stop))
        return content[start:stop]

    file = read_ahead.ReadAhead(len(content), fetch, lambda _, action: action(), "x")
    read = b""
    while piece := file.read(700):
        read += piece
        ahead = max(stop for _, stop in fetched) - len(read)
        assert ahead <= (read_ahead.RANGES_AHEAD + 1) * read_ahead.MOST_BYTES
    assert read == content
    assert min(fetched) == (0, 1 << 10)
    assert [start for start, _ in sorted(fetched)[1:]] == [stop for _, stop in sorted(fetched)[:-1]]


PEAK = """
import re, sys
from pathlib import Path
from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches
options = SourceOptions()
rows = sum(map(len, read_batches(check_inputs(sys.argv[1:], options), options)))
print(rows, re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is read from /proc")
@pytest.mark.parametrize(("name", "sizes"), [("a.txt.gz", (1, 7)), ("a.parquet", (4, 24))])
def test_memory_does_not_grow_with_the_object(folder, server, name, sizes):
    """A process that reads 60 or 200 MB more, many times what its read-ahead holds, needs no memory for it.

    A proportional part would be all of it; allocators account for less than half.
    """
    lines = [random.Random(at).randbytes(1000).hex() for at in range(5_000)]
    text = "".join(f"{line}\n" for line in lines).encode()
    table = pa.table({"text": lines})
    peaks = []
    for times in sizes:
        if name == "a.parquet":
            with pq.ParquetWriter(folder / name, table.schema, compression="none", use_dictionary=False) as writer:
                for _ in range(times):
                    writer.write_table(table, row_group_size=2_500)
        else:
            write(folder / name, (gzip.compress(text, 1) if name.endswith(".gz") else text) * times)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, f"s3://{server.bucket}/{name}"], capture_output=True, text=True, check=True
        )
        rows, peak = map(int, done.stdout.split())
        assert rows == times * len(lines)
        peaks.append(peak >> 10)
    assert peaks[1] - peaks[0] < (sizes[1] - sizes[0]) * len(text) / 2**21, peaks
