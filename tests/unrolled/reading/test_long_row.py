"""Rows that are longer than a row group."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.jobs import decide, job_of
from support.shell import environment
from support.skips import unless

import unrolled
from producer.enqueue.shard import make_shard
from producer.jobs.verify import verify_job
from producer.sources.rows import Row
from unrolled.errors import FileFormatError
from unrolled.format import vector_pages
from unrolled.format.output_spec import OutputSpec
from unrolled.job.names import part_object
from unrolled.job.segment import Segment
from unrolled.protocol.opening import create_job
from unrolled.protocol.spooling import spool
from unrolled.reading.part_file import Part
from unrolled.store.place import open_store
from worker.parquet import shard_file
from worker.shards.part_content import part_content
from worker.shards.shard_rows import decode_rows

UNITS = 64
REPOSITORY = Path(__file__).parents[3]


def job_with(path, lengths, **options):
    """A complete job of one shard with rows of these lengths, each with a token of padding in it."""
    spec = OutputSpec(**options)
    job = create_job(path, job_of(options=spec.to_options()))
    rows = [Row("in", n, f"in#{n}", np.r_[0, np.ones(length, np.int32)]) for n, length in enumerate(lengths)]
    spooled = make_shard(0, job.job.id, rows)
    spool(job.objects, spooled)
    decide(job, Segment("shards", (spooled.entry,)))
    decide(job, Segment("end"))
    columns = spec.columns(SimpleNamespace(layer_dims=(UNITS, UNITS)))
    decoded = decode_rows(spooled.rows, spooled.entry.shard, 9)
    random = np.random.default_rng(0)
    outputs = [
        random.integers(-99, 99, (column.vectors(len(lengths), sum(lengths)), UNITS)).astype(np.float32)
        for column in columns
    ]
    job.objects.create(
        part_object(spooled.entry.shard), part_content(job.job, spooled.entry.shard, decoded, outputs, spec, columns)
    )
    return job, outputs


@pytest.fixture
def small_groups(monkeypatch):
    """Row groups and pages are small, so that short rows are long."""
    monkeypatch.setattr(shard_file, "ROW_GROUP_BYTES", 10_000)
    monkeypatch.setattr(shard_file, "PAGE_BYTES", 3_000)
    monkeypatch.setattr(vector_pages, "READ_BYTES", 1_000)


def arrays_of(out):
    return [
        (row.id, row.length, row.mask.tolist(), None if row.tokens is None else row.tokens.tolist(), row.vectors)
        for row in unrolled.open(out)
    ]


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("options", [{"with_tokens": True}, {"layers": (0, 1), "pooling": ("none", "max")}])
def test_a_long_row_is_read_as_pyarrow_reads_it(tmp_path, precision, options):
    """Every value, wherever pages and reads end; rows beside it, too."""
    job, _ = job_with(tmp_path, [3, 400, 0, 1, 120, 1000], precision=precision, **options)
    (path,) = tmp_path.glob("*.parquet")
    part = Part(open_store(tmp_path), path.name)
    assert len(part.groups) > 2
    for found, wanted in zip(part.record_batches(), part.record_batches_as_stored(), strict=True):
        assert found.equals(wanted)
    assert verify_job(job).problems == ()


@pytest.mark.usefixtures("small_groups")
def test_some_columns_of_a_long_row(tmp_path):
    """Only these are read, in the schema's order or in that which was asked for."""
    _, (outputs,) = job_with(tmp_path, [1000])
    dataset = unrolled.open(tmp_path)
    assert dataset.to_arrow(["length", "id"]).to_pylist() == [{"length": 1000, "id": "in#0"}]
    (vectors,) = dataset.to_arrow(["outputs"])["outputs"].to_pylist()
    np.testing.assert_array_equal(np.array(vectors, np.float32), outputs)
    np.testing.assert_array_equal(dataset["in#0"].outputs, outputs)
    np.testing.assert_array_equal(dataset.to_arrow(["max"])["max"].to_pylist()[0], outputs.max(axis=0))


@pytest.mark.usefixtures("small_groups")
def test_a_damaged_page_is_noticed(tmp_path):
    """By its checksum, wherever the bit is in the values or the levels."""
    _, (outputs,) = job_with(tmp_path, [400])
    (path,) = tmp_path.glob("*.parquet")
    sound = path.read_bytes()
    column = pq.read_metadata(path).row_group(0).column(3)
    begin, size = column.data_page_offset, column.total_compressed_size
    for at in range(begin + 40, begin + size - 1, size // 50):
        damaged = bytearray(sound)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        try:
            (row,) = unrolled.open(tmp_path)
        except FileFormatError:
            continue
        # A bit of a header that says nothing of the values.
        np.testing.assert_array_equal(row.outputs, outputs)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("how", [{}, {"compression": "NONE"}, {"compression": "NONE", "use_dictionary": False}])
def test_a_part_that_another_program_has_rewritten_is_read(tmp_path, how):
    """Compressed, with a dictionary, or in pages of another version: pyarrow reads what this reader doesn't know."""
    _, (outputs,) = job_with(tmp_path, [400])
    (path,) = tmp_path.glob("*.parquet")
    about = pq.read_metadata(path).metadata
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata(about), path, data_page_version="2.0", **how)
    (row,) = unrolled.open(tmp_path)
    np.testing.assert_array_equal(row.outputs, outputs)


PEAK = """
import sys
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
{imports}
before = peak()
{action}
print(peak() - before, file=sys.stderr)
"""
VERIFY = """
from producer.jobs.verify import verify_job
from unrolled.protocol.opening import open_job
verify_job(open_job(sys.argv[1]))
"""
ACTIONS = {
    "open": ("import unrolled\nlist(unrolled.open(sys.argv[1]))", "for row in unrolled.open(sys.argv[2]): row.outputs"),
    "verify": (
        VERIFY,
        "assert not verify_job(open_job(sys.argv[2])).problems",
    ),
    "show": (
        "from producer.cli.root import cli\ncli(['show', sys.argv[1]], standalone_mode=False)",
        "cli(['show', sys.argv[2]], standalone_mode=False)",
    ),
}


@pytest.fixture(scope="module")
def huge(tmp_path_factory):
    """A job with a row of 64 MB, one with many rows of 256 MB together, and one with a short row."""
    places = {name: tmp_path_factory.mktemp(name) for name in ("short", "long", "many")}
    job_with(places["short"], [9])
    job_with(places["long"], [9, 250_000])
    job_with(places["many"], [250] * 4000)
    return places


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="machine: the system doesn't say how much was used")
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("which", "most"), [("long", 2 * 64_000_000), ("many", 240_000_000)])
def test_memory_is_bounded_by_a_row_group_or_twice_a_row(huge, action, which, most):
    """Of a process of its own, beyond what it needs for a job with one short row."""
    imports, done = ACTIONS[action]
    program = PEAK.format(imports=imports, action=done)
    command = [sys.executable, "-c", program, str(huge["short"]), str(huge[which])]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert int(found.stderr.split()[-1]) < most


def test_a_part_knows_its_long_rows(huge):
    """A row of 64 MB has a row group to itself, so the test above tests it."""
    (path,) = huge["long"].glob("*.parquet")
    assert Part(open_store(path.parent), path.name).groups == [1, 1]


LITTLE_MEMORY = """
import resource, sys
import unrolled, unrolled.format.seal

rows = iter(unrolled.open(sys.argv[1]))
next(rows)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
limit = 1024 * int(status["VmData"].split()[0]) + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    next(rows)
except Exception as error:
    print(type(error).__name__, error)
"""


@unless(sys.platform == "linux", "Linux limits the memory that a process may write to")
@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_row_that_does_not_fit_into_memory_is_not_called_damaged(tmp_path, is_damaged):
    """Nobody should remove a sound part for that; of a damaged one, the seal tells."""
    tokens = 200_000
    job_with(tmp_path, [3, tokens])
    (path,) = tmp_path.glob("*.parquet")
    if is_damaged:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    words = [sys.executable, "-c", LITTLE_MEMORY, tmp_path, str(tokens * UNITS * 4 // 2)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env=environment() | {"ARROW_DEFAULT_MEMORY_POOL": "system"}
    )
    said = f"{path}: damaged, or not a Parquet file (" if is_damaged else f"{path} can't be read: "
    assert done.stdout.startswith(f"{'FileFormatError' if is_damaged else 'MemoryError'} {said}"), done
