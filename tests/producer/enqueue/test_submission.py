"""From a submission to shards: checks first, then each row once, again and again to the same effect."""

import gc
import os
import signal
import threading
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.columns import per_token
from support.shell import UNITS, make_model, write_rows

from producer.enqueue.cutter import SHARD_ROWS, shard_limits
from producer.enqueue.pipeline import submit
from producer.enqueue.session import _rare_collections, _stop_signals
from producer.enqueue.submission import Submission, prepare
from producer.queue.shard_queue import ShardQueue
from producer.sources.options import SourceOptions
from producer.tokenization.word_level import fit
from unrolled.errors import JobError, ModelError, RequestError
from unrolled.job.manifest import read_manifest
from unrolled.patience import Patience


@pytest.fixture
def submission(tmp_path, monkeypatch):
    """Some rows of token ids, for a small model."""
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", {f"row-{number}": [1, 2, 0, 3] for number in range(100)})
    return Submission(("rows.jsonl",), tmp_path / "out", tmp_path / "model", shard_tokens=40)


@pytest.fixture
def queue(submission, broker_url):
    """The queue of the submission's job."""
    with closing(ShardQueue(prepare(submission).directory, broker_url, "test", Patience(print))) as opened:
        yield opened


def test_a_shard_of_pooled_rows_ends_at_its_rows(submission, queue):
    """However many tokens it may hold."""
    prepared = prepare(replace(submission, pooling=("mean",), shard_tokens=None, out=submission.out / "a"))
    assert prepared.shard_rows == SHARD_ROWS
    summary = submit(replace(prepared, shard_rows=30), queue, Patience(print), lambda _: None)
    assert (summary.rows, summary.shards) == (100, 4)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"layers": "9"}, "layer 9: the model has [12]; give numbers from 0 to [01], last or all"),
        ({"layers": "top"}, "give last, all, or numbers"),
        ({"pooling": ("median",)}, "give one or more of none, mean, max, last, first"),
        ({"precision": "bfloat16"}, "allowed: float32 or float16"),
    ],
)
def test_what_cannot_be_stored_is_told_before_a_directory_is_made(submission, changes, text):
    """With what is allowed."""
    with pytest.raises(RequestError, match=text):
        prepare(replace(submission, **changes))
    assert not submission.out.exists()


def test_prepare_changes_nothing_but_the_output_directory(submission, tmp_path):
    """A job is made, empty; its options are the ones that rows, cuts and files depend on."""
    prepared = prepare(submission)
    assert {path.name for path in submission.out.iterdir()} == {"job.json", "_pending", "_quarantine", "_dead", "_lock"}
    assert prepared.directory.job.inputs == ("rows.jsonl",)
    assert prepared.directory.job.options == {
        "format": None, "kind": "auto", "text_field": "text", "tokens_field": "tokens", "id_field": None,
        "max_row_bytes": 2**24, "follow": False, "shard_tokens": 40, "with_tokens": False, "special_tokens": True,
        "shard_rows": 2**16, "layers": None, "pooling": ["none"], "precision": "float32",
    }  # fmt: skip
    assert prepared.tokenizer is None
    assert prepared.model.config.output_dim == UNITS
    assert {path.name for path in tmp_path.iterdir()} == {"model", "rows.jsonl", "out"}


def test_flushing_and_reading_in_other_batches_is_the_same_job(submission):
    """What doesn't change any file doesn't make another job; what does, does."""
    job = prepare(submission).directory.job
    same = replace(submission, flush_seconds=60, source=SourceOptions(batch_rows=7, tick_seconds=1))
    assert prepare(same).directory.job == job
    for changes in (
        {"shard_tokens": 41}, {"with_tokens": True}, {"special_tokens": False}, {"layers": "all"},
        {"pooling": ("max",)}, {"precision": "float16"},
    ):  # fmt: skip
        with pytest.raises(JobError, match="other options"):
            prepare(replace(submission, **changes))


def test_the_default_is_the_same_job_as_its_value(submission):
    """A person who names the default resumes what was begun without."""
    job = prepare(replace(submission, shard_tokens=None, out=submission.out / "a")).directory.job
    named = replace(submission, shard_tokens=shard_limits(per_token(UNITS))[0], out=submission.out / "a")
    assert prepare(named).directory.job == job


def test_what_is_wrong_is_told_before_a_directory_is_made(submission, tmp_path):
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
    assert not submission.out.exists()


def test_every_row_is_cut_once(submission, queue):
    """A second run of the submission cuts nothing again."""
    seen = []
    summary = submit(prepare(submission), queue, Patience(print), lambda so_far: seen.append(so_far.shards))
    assert (summary.rows, summary.tokens, summary.shards, summary.sent) == (100, 300, 10, 10)
    assert seen == list(range(1, 11))
    manifest = read_manifest(submission.out)
    again = submit(prepare(submission), queue, Patience(print), lambda _: None)
    assert (again.rows, again.shards, again.sent) == (100, 10, 0)
    assert read_manifest(submission.out) == manifest


def test_the_bytes_read_add_up_to_the_input(submission, queue):
    """So that a share of it can be shown."""
    counts = []
    prepared = prepare(submission)
    submit(prepared, queue, Patience(print), lambda _: None, counts.append)
    assert sum(counts) == prepared.plan.size_bytes


def test_one_producer_at_a_time(submission, queue):
    """The second one gets an error; ids that a dead one left on disk are removed."""
    prepared = prepare(submission)
    with prepared.directory.lock(), pytest.raises(JobError, match="another `unrolled enqueue` is writing"):
        submit(prepared, queue, Patience(print), lambda _: None)
    stale = submission.out / "_ids" / "ids.sqlite3"
    stale.parent.mkdir()
    stale.write_bytes(b"half")
    submit(prepared, queue, Patience(print), lambda _: None)
    assert not stale.parent.exists()


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_elsewhere_than_on_a_live_input_signals_are_left_alone():
    """Ctrl-C interrupts as always."""
    before = handlers()
    with _stop_signals(live=False) as stopped:
        assert handlers() == before
    assert not stopped.is_set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_a_live_input_and_the_second_interrupts(number):
    """Afterwards every handler is what it was."""
    heard = []
    original = signal.signal(number, lambda *_: heard.append("interrupt"))
    try:
        before = handlers()
        with _stop_signals(live=True) as stopped:
            os.kill(os.getpid(), number)
            assert (stopped.is_set(), heard) == (True, [])
            os.kill(os.getpid(), number)
            assert heard == ["interrupt"]
        assert handlers() == before
    finally:
        signal.signal(number, original)


def test_rare_collections_end():
    """Whoever queues a job from a longer program finds its collector as it was."""
    before = gc.get_threshold()
    with _rare_collections():
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


def test_a_stopped_live_input_loses_nothing_that_was_read(submission, queue, tmp_path, monkeypatch):
    """One read of the pipe gives many batches; the stop comes at the first shard, and all of them are cut."""
    lines = b'{"tokens": [1, 2, 3]}\n' * 10_000
    (tmp_path / "stream").write_bytes(lines)
    source = SourceOptions(format="jsonl", follow=True, batch_rows=10)
    live = replace(submission, inputs=("-",), source=source, shard_tokens=300, flush_seconds=600, out=tmp_path / "live")
    stopped = threading.Event()
    with (tmp_path / "stream").open("rb") as stream:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stream))
        summary = submit(prepare(live), queue, Patience(print), lambda _: stopped.set(), stopped=stopped)
        taken = os.lseek(stream.fileno(), 0, os.SEEK_CUR)
    assert 0 < taken < len(lines)
    assert summary.rows == lines[:taken].count(b"\n") > 1000
    assert read_manifest(live.out).rows == summary.rows
