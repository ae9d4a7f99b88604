"""From a submission to shards: checks first, then each row once; repeating it changes nothing."""

import gc
import gzip
import io
import os
import signal
import sys
import threading
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file
from support.jobs import log_of
from support.processes import let_echoes_end
from support.shell import UNITS, make_model, write_rows

from producer.enqueue.cutter import SHARD_ROWS, shard_limits
from producer.enqueue.pipeline import submit
from producer.enqueue.session import _rare_collections
from producer.enqueue.stop_signals import stop_signals
from producer.enqueue.submission import Submission, prepare
from producer.queue.shard_queue import ShardQueue
from producer.sources.options import SourceOptions
from producer.sources.reading import read_batches
from producer.tokenization import tokenize
from producer.tokenization.word_level import fit
from unrolled.errors import JobError, ModelError, OptionError, RequestError
from unrolled.model import directory
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.weights import new_weights
from unrolled.patience import Patience


@pytest.fixture
def submission(tmp_path, monkeypatch):
    """Some rows of token ids, for a small model."""
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", {f"row-{number}": [1, 2, 0, 3] for number in range(100)})
    return Submission(("rows.jsonl",), str(tmp_path / "out"), tmp_path / "model", shard_tokens=40)


@pytest.fixture
def queue(submission, broker_url):
    """The queue of the submission's job."""
    with closing(ShardQueue(broker_url, "test", prepare(submission).job.job.offer, Patience(print))) as opened:
        yield opened


def queued(prepared, queue, each=lambda _: None, *more, **options):
    return submit(prepared, queue.of_job(prepared.job), each, *more, **options)


def test_weights_that_are_not_finite_are_refused_first(submission):
    """No directory is made, so the mended model can have it."""
    place = submission.model / "model.safetensors"
    whole, broken = load_file(place), load_file(place)
    broken["lstm.0.bias"][0] = np.nan
    save_file(broken, place)
    with pytest.raises(ModelError, match=r"lstm\.0\.bias has NaN or infinity"):
        prepare(submission)
    assert not Path(submission.out).exists()
    save_file(whole, place)
    prepare(submission)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["the cat"] * 9}, "rows.parquet.gz holds text, but .* has no tokenizer.json"),
        ({"tokens": [[9999]] * 9}, "none of its first 9 rows can be used; row 0: token 9999"),
    ],
)
def test_a_compressed_table_of_which_no_row_can_be_used(submission, columns, message):
    """It is unpacked first; else all of its rows would go to quarantine, and the directory would be spent."""
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    Path("rows.parquet.gz").write_bytes(gzip.compress(sink.getvalue()))
    with pytest.raises((ModelError, RequestError), match=message):
        prepare(replace(submission, inputs=("rows.parquet.gz",)))
    assert not Path(submission.out).exists()


def test_a_shard_of_pooled_rows_ends_at_its_rows(submission, queue):
    """However many tokens it may hold."""
    prepared = prepare(replace(submission, pooling=("mean",), shard_tokens=None, out=submission.out + "-a"))
    assert prepared.shard_rows == SHARD_ROWS
    summary = queued(replace(prepared, shard_rows=30), queue)
    assert (summary.rows, summary.shards) == (100, 4)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"layers": "9"}, "layer 9: the model has [12]; give numbers from 0 to [01], last or all"),
        ({"layers": "top"}, "give last, all, or numbers"),
        ({"pooling": ("median",)}, "give one or more of none, mean, max, last, first"),
        ({"precision": "bfloat16"}, "allowed: float32 or float16"),
        ({"empty_rows": "zeros"}, "empty_rows is zeros, but no pooled vectors are stored; leave it out"),
    ],
)
def test_what_cannot_be_stored_is_reported_before_a_directory_is_made(submission, changes, text):
    """With what is allowed."""
    with pytest.raises(RequestError, match=text):
        prepare(replace(submission, **changes))
    assert not Path(submission.out).exists()


def test_prepare_changes_nothing_but_the_output_directory(submission, tmp_path):
    """A job is made, empty; its options are the ones that rows, cuts and files depend on."""
    prepared = prepare(submission)
    assert [str(path.relative_to(submission.out)) for path in Path(submission.out).rglob("*")] == [
        "_unrolled", "_unrolled/job.json",
    ]  # fmt: skip
    job = prepared.job.job
    assert (job.inputs.first, job.engine, job.arithmetic, job.live) == (("rows.jsonl",), "fused", "float32", False)
    assert job.options == {
        "format": None, "kind": "auto", "text_field": "text", "tokens_field": "tokens", "id_field": None,
        "id_first_word": False, "header": True, "quotes": None, "columns": None, "max_row_bytes": 2**24,
        "follow": False, "shard_tokens": 40, "with_tokens": False, "special_tokens": True,

        "shard_rows": 2**16, "layers": None, "pooling": ["none"], "precision": "float32", "positions": None,
        "empty_rows": "null",
    }  # fmt: skip
    assert prepared.tokenizer is None
    assert prepared.model.config.output_dim == UNITS
    assert {path.name for path in tmp_path.iterdir()} == {"model", "rows.jsonl", "out"}


@pytest.mark.parametrize(("row", "reason"), [
    ('{"tokens": [77, 78]}', "token 77 at position 0"),
    ('{"text": "x"}', "holds text, but .* has no tokenizer"),
    ('{"tokens": [1.5]}', "1.5"),
])  # fmt: skip
def test_rows_of_which_none_can_be_used_cost_no_directory(submission, row, reason):
    """Such as ids of another vocabulary: a thousand of them are enough to say so."""
    Path("rows.jsonl").write_text(f"{row}\n" * 2000)
    with pytest.raises((RequestError, ModelError), match=f"rows.jsonl.*{reason}"):
        prepare(submission)
    assert not Path(submission.out).exists()


def test_another_spelling_is_no_other_job(submission, tmp_path):
    """Nor is a directory in place of its only file."""
    Path("corpus").mkdir()
    Path("rows.jsonl").rename("corpus/rows.jsonl")
    names = ["corpus/rows.jsonl", "corpus", "./corpus/", "corpus/*.jsonl", str(tmp_path / "corpus"), "corpus/../corpus"]
    jobs = {prepare(replace(submission, inputs=(name,))).job.job.id for name in names}
    assert len(jobs) == 1
    write_rows(tmp_path / "corpus/more.jsonl", {"a": [1]})
    with pytest.raises(JobError, match="holds a job with other inputs"):
        prepare(replace(submission, inputs=("corpus",)))


def test_flushing_and_reading_in_other_batches_is_the_same_job(submission):
    """What doesn't change any file doesn't make another job; what does, does."""
    job = prepare(submission).job.job
    same = replace(submission, flush_seconds=60, source=SourceOptions(batch_rows=7, tick_seconds=1))
    assert prepare(same).job.job == job
    for changes in (
        {"shard_tokens": 41}, {"with_tokens": True}, {"special_tokens": False}, {"layers": "all"},
        {"pooling": ("max",)}, {"pooling": ("max",), "empty_rows": "zeros"}, {"precision": "float16"},
        {"positions": "every:2"}, {"engine": "tensorflow"}, {"arithmetic": "bfloat16"},
    ):  # fmt: skip
        with pytest.raises(JobError, match="other options"):
            prepare(replace(submission, **changes))


def test_the_default_is_the_same_job_as_its_value(submission):
    """A person who names the default resumes what was begun without."""
    job = prepare(replace(submission, shard_tokens=None, out=submission.out + "/a")).job.job
    named = replace(submission, shard_tokens=shard_limits(4 * UNITS, 0)[0], out=submission.out + "/a")
    assert prepare(named).job.job == job


def test_a_model_decides_what_rows_contain(submission, tmp_path):
    """Vectors for a model that reads them, and nothing else; an option for the other kind is refused."""
    (tmp_path / "rows.jsonl").write_text('{"vectors": [[1, 2]]}\n')
    config = ModelConfig(0, 9, None, (LayerConfig(2),), vector_dim=2)
    save_model(tmp_path / "sensor", config, new_weights(config, 0))
    of_vectors = replace(submission, model=tmp_path / "sensor", shard_tokens=None)
    prepared = prepare(of_vectors)
    assert prepared.submission.source.kind == "vectors"
    assert prepared.shard_tokens == 2**18
    for source, pattern in (
        (SourceOptions(kind="tokens"), "--kind tokens: .*sensor reads vectors of 2 numbers, not text or token ids"),
        (SourceOptions(text_field="body"), "--text-field body"),
    ):
        with pytest.raises(OptionError, match=pattern):
            prepare(replace(of_vectors, source=source))
    with pytest.raises(OptionError, match="--with-tokens: the model reads vectors"):
        prepare(replace(of_vectors, with_tokens=True))
    with pytest.raises(RequestError, match="fields found: 'vectors'; the model reads text or token ids, not vectors"):
        prepare(replace(submission, out=submission.out + "-a"))
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(RequestError, match=r"options that say how .* is read, such as --vectors-field, or the file"):
        prepare(replace(of_vectors, out=submission.out + "-b"))
    for source in (SourceOptions(kind="vectors"), SourceOptions(vectors_field="frames")):
        with pytest.raises(OptionError, match=r"--.*vectors.* is given, but .*model reads token ids"):
            prepare(replace(submission, source=source))


def test_a_model_decides_whether_rows_bring_initial_states(submission, tmp_path):
    """Their field has a usual name, is a part of the job, and bounds a shard's rows; other models have none."""
    (tmp_path / "rows.jsonl").write_text('{"tokens": [1], "initial_state": [1, 2]}\n')
    config = ModelConfig(9, 9, 2, (LayerConfig(2, "gru", given_state=True),))
    save_model(tmp_path / "decoder", config, new_weights(config, 0))
    decoding = replace(submission, model=tmp_path / "decoder")
    prepared = prepare(decoding)
    assert prepared.job.job.options["initial_state_field"] == "initial_state"
    with pytest.raises(RequestError, match="has no 'h' for its initial state; fields found: 'tokens', 'initial_state'"):
        prepare(replace(decoding, source=SourceOptions(initial_state_field="h"), out=submission.out + "-h"))
    with pytest.raises(RequestError, match=r"that say how .* is read, such as --initial-state-field, or the file"):
        prepare(replace(decoding, source=SourceOptions(initial_state_field="h"), out=submission.out + "-h"))
    with pytest.raises(OptionError, match=r"--initial-state-field is given, but .* reads no initial states"):
        prepare(replace(submission, source=SourceOptions(initial_state_field="h")))
    assert shard_limits(8, 0, 0, 2**15) == (2**18, 2**11)


def test_what_is_wrong_is_reported_before_a_directory_is_made(submission, tmp_path):
    """Model, inputs, tokenizer: each by its own error."""
    (tmp_path / "text.txt").write_text("one\n")
    with pytest.raises(ModelError, match="does not exist"):
        prepare(replace(submission, model=tmp_path / "none"))
    with pytest.raises(RequestError, match="no such file"):
        prepare(replace(submission, inputs=("none",)))
    with pytest.raises(ModelError, match=r"text\.txt holds text, but .* has no tokenizer\.json"):
        prepare(replace(submission, inputs=("text.txt",)))
    make_model(
        tmp_path / "large", vocabulary=40, tokenizer_json=fit([" ".join(map(str, range(50)))], 50).tokenizer.to_str()
    )
    with pytest.raises(ModelError, match=r"the model's vocab_size allows 1\.\.40"):
        prepare(replace(submission, model=tmp_path / "large"))
    assert not Path(submission.out).exists()


def test_a_tokenizer_that_is_replaced_meanwhile_is_noticed(submission, tmp_path, monkeypatch):
    """After the fingerprint was taken, before it is read: its ids would be stored as those of another model."""
    one, other = (fit([" ".join(words)], 50).tokenizer.to_str() for words in (["a", "b"], ["b", "a", "b"]))
    model = make_model(tmp_path / "text", tokenizer_json=one)
    load = directory.load_tokenizer

    def replaced(path, vocab_size):
        path.write_text(other)
        return load(path, vocab_size)

    monkeypatch.setattr(directory, "load_tokenizer", replaced)
    with pytest.raises(ModelError, match="changed after the model was opened"):
        prepare(replace(submission, model=model.path))
    assert not Path(submission.out).exists()


def test_every_row_is_cut_once(submission, queue):
    """The same submission cuts nothing again, whatever has happened to the shards meanwhile."""
    seen = []
    summary = queued(prepare(submission), queue, lambda so_far: seen.append(so_far.shards))
    assert (summary.rows, summary.tokens, summary.shards, summary.sent) == (100, 300, 10, 10)
    assert seen == list(range(1, 11))
    before = log_of(prepare(submission).job).length
    again = queued(prepare(submission), queue)
    assert (again.rows, again.shards, again.known, again.sent) == (100, 10, 10, 0)
    assert log_of(prepare(submission).job).length == before


def test_the_bytes_read_add_up_to_the_input(submission, queue):
    """So that a share of it can be shown."""
    told = []
    prepared = prepare(submission)
    queued(prepared, queue, lambda _: None, told.append)
    assert sum(told) == prepared.plan.size_bytes


def test_an_arithmetic_that_the_engine_lacks_is_refused(submission):
    """Before a directory is made."""
    with pytest.raises(RequestError, match="that engine has float32"):
        prepare(replace(submission, engine="tensorflow", arithmetic="bfloat16"))
    assert not Path(submission.out).exists()


def test_nothing_is_left_of_the_ids(submission, queue, tmp_path, monkeypatch):
    """They have no name even while rows are queued: a run that is killed leaves nothing. No store has any of them."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)
    seen = []
    queued(prepare(submission), queue, lambda _: seen.append(list(scratch.iterdir())))
    assert seen
    assert not any(seen)


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


def test_elsewhere_than_on_a_live_input_signals_are_left_alone():
    """Ctrl-C interrupts as always."""
    before = handlers()
    with stop_signals(Patience(print), live=False) as stopped:
        assert handlers() == before
    assert not stopped.is_set()


@pytest.mark.parametrize(
    ("number", "interrupts"),
    [(signal.SIGINT, ["interrupt"]), (signal.SIGTERM, ["interrupt"]), (signal.SIGHUP, [])],
)
def test_the_first_signal_ends_a_live_input_and_the_second_interrupts(number, interrupts):
    """Its echo doesn't, nor a second SIGHUP. Afterwards every handler is what it was."""
    heard = []
    original = signal.signal(number, lambda *_: heard.append("interrupt"))
    try:
        before = handlers()
        with stop_signals(Patience(print), live=True) as stopped:
            os.kill(os.getpid(), number)
            assert (stopped.is_set(), heard) == (True, [])
            os.kill(os.getpid(), number)
            assert heard == []
            let_echoes_end()
            os.kill(os.getpid(), number)
            assert heard == interrupts
        assert handlers() == before
    finally:
        signal.signal(number, original)


def test_rare_collections_end():
    """A longer program that queues a job finds its garbage collector as it was."""
    before = gc.get_threshold()
    with _rare_collections():
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


def test_a_stopped_live_input_loses_nothing_that_was_read(submission, queue, tmp_path, monkeypatch):
    """One read of the pipe gives many batches; the stop is asked for at the first shard, and all of them are cut.

    Of an input that goes on and on, as much is read as a pipe holds.
    """
    lines = b'{"tokens": [1, 2, 3]}\n' * 60_000
    (tmp_path / "stream").write_bytes(lines)
    source = SourceOptions(format="jsonl", follow=True, batch_rows=10)
    live = replace(
        submission, inputs=("-",), source=source, shard_tokens=3_000, flush_seconds=600, out=str(tmp_path / "live")
    )
    stopped = threading.Event()
    with (tmp_path / "stream").open("rb") as stream:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream))
        summary = queued(prepare(live), queue, lambda _: stopped.set(), stopped=stopped)
        taken = os.lseek(stream.fileno(), 0, os.SEEK_CUR)
    assert 1 << 20 < taken < len(lines)
    assert summary.rows == lines[:taken].count(b"\n") > 100
    log = log_of(prepare(live).job)
    assert sum(entry.rows for entry in log.entries.values()) == summary.rows
    assert log.ended


def test_a_live_input_that_can_not_be_read_makes_no_job(submission, tmp_path, monkeypatch):
    """Of a job that is there, nothing is taken from the input before all else is sure."""
    source = SourceOptions(format="jsonl", follow=True)
    live = replace(submission, inputs=("-",), source=source, out=str(tmp_path / "live"))
    for content, is_refused in ((b"\x1f\x8b\x08\0", True), (b'{"tokens": [1]}\n', False), (b"\x1f\x8b\x08\0", False)):
        (tmp_path / "stream").write_bytes(content)
        with (tmp_path / "stream").open("rb") as stream:
            monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream))
            if is_refused:
                with pytest.raises(RequestError, match="--follow reads what isn't compressed"):
                    prepare(live)
            else:
                prepare(live)
        assert (tmp_path / "live").exists() != is_refused


def test_what_a_live_input_has_given_in_vain_is_reported(submission, queue, tmp_path, monkeypatch):
    """A failure that nothing is ready for, here the tokenizer's: the rows that are on no disk are counted."""
    (tmp_path / "stream").write_bytes(b'{"tokens": [1, 2, 3]}\n' * 100)
    source = SourceOptions(format="jsonl", follow=True, batch_rows=10)
    live = replace(
        submission, inputs=("-",), source=source, shard_tokens=60, flush_seconds=600, out=str(tmp_path / "live")
    )
    said = []
    monkeypatch.setattr(queue, "say", said.append)

    def fails(ids, vocab_size, *, calls=[], real=tokenize.checked_ids):  # noqa: B006 - counts the calls
        calls.append(1)
        if len(calls) == 5:
            raise MemoryError
        return real(ids, vocab_size)

    monkeypatch.setattr(tokenize, "checked_ids", fails)
    prepared = prepare(live)
    with (tmp_path / "stream").open("rb") as stream:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream))
        with pytest.raises(MemoryError):
            queued(prepared, queue)
    assert sum(entry.rows for entry in log_of(prepare(live).job).entries.values()) == 40
    assert said == ["10 rows of the stream were read, but may not be on disk, and can't be read again"]


BAD, GOOD = '{"tokens": ["x"]}', '{"tokens": [1, 2]}'


@pytest.fixture
def piped(monkeypatch):
    """Makes a pipe with lines standard input; it stays open until the end of the test, or is closed behind them."""
    with ExitStack() as stack:

        def make(lines, *, ended=True):
            ours, theirs = os.pipe()
            file, pipe = os.fdopen(ours), os.fdopen(theirs, "wb", 0)
            monkeypatch.setattr(sys, "stdin", file)

            def write():
                with suppress(BrokenPipeError):
                    left = "".join(f"{line}\n" for line in lines).encode()
                    while left:
                        left = left[pipe.write(left) :]
                if ended:
                    pipe.close()

            writer = threading.Thread(target=write, daemon=True)
            writer.start()
            for end in (pipe.close, writer.join, file.close):  # the last one first: a writer that waits goes on
                stack.callback(end)
            return writer

        yield make


@pytest.mark.parametrize(
    ("lines", "chosen", "message"),
    [
        ([GOOD] * 50, {}, "^- looks like JSON lines, but .* no tokenizer.json; give --format jsonl, which reads the"),
        (
            [GOOD] * 50,
            {"kind": "tokens"},
            "^input -: none of its first 50 rows .* - looks like JSON lines: give --form",
        ),
        ([BAD] * 9000, {"format": "jsonl"}, "^input -: none of its first 1,000 rows can be used; row 0: "),
        ([BAD], {"format": "jsonl"}, "^input -: its only row can't be used; row 0: "),
        (["5 x", "7 9999"], {"kind": "tokens"}, "^input -: none of its first 2 rows can be used; row 0: "),
        (["the cat"], {"kind": "tokens"}, "If - has texts, give --kind text; if it has ids, correct the file$"),
        (
            ['{"tokens": ["the", "cat"]}'],
            {"format": "jsonl"},
            "If - has lists of words, join each list into one text, .*; if it has ids, write them as integers$",
        ),
        (
            ["the cat"],
            {"max_row_bytes": 3, "kind": "tokens"},
            "Give a larger --max-row-bytes, or shorten the rows of -$",
        ),
    ],
)
def test_standard_input_of_which_no_row_can_be_used_is_refused(submission, piped, lines, chosen, message):
    """As files are, before a directory is spent on it; JSON lines are named."""
    piped(lines)
    with pytest.raises(RequestError, match=message):
        prepare(replace(submission, inputs=("-",), source=SourceOptions(**chosen)))
    assert not Path(submission.out).exists()


def test_what_was_looked_at_of_standard_input_is_read_too(submission, piped):
    """Each row once, in order, though the first ones are bad and more than a buffer holds; and from a named file."""
    lines = [BAD] * 900 + [GOOD] * 30_000
    piped(lines)
    asked = replace(submission, inputs=("-",), source=SourceOptions(format="jsonl"))
    rows = [row for batch in read_batches(prepare(asked).plan, asked.source) for row in batch]
    assert [row.position for row in rows] == list(range(len(lines)))


def test_standard_input_whose_good_rows_are_late_is_not_refused(submission, piped, monkeypatch):
    """A program may write a line that is no row, and start its work then."""
    monkeypatch.setattr("producer.sources.pipes._LOOK_SECONDS", 0.1)
    piped([BAD], ended=False).join()
    asked = replace(submission, inputs=("-",), source=SourceOptions(format="jsonl"))
    assert prepare(asked).plan.stdin.is_late
