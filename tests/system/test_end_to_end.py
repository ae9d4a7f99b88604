"""The whole path, by the commands that a person types: rows in, every real token's state in published files."""

import json
import time

import numpy as np
import pytest
from support.broker import RestartableBroker
from support.jobs import log_of, published
from support.processes import eventually
from support.shell import ENGINE, Crew, end, make_model, unrolled, write_rows
from support.skips import long

import unrolled as reader
from unrolled.job import names
from unrolled.job.offer import Offer
from unrolled.model.directory import open_model
from unrolled.protocol.opening import open_job
from unrolled.queue.broker import Broker
from worker.engines.fused.library import why_unavailable


def random_rows(count, vocabulary, longest, seed=0):
    """Ragged rows with zeros anywhere: at the start, inside, at the end, and nothing else in some."""
    rng = np.random.default_rng(seed)
    rows = {}
    for number in range(count):
        tokens = rng.integers(1, vocabulary + 1, rng.integers(0, longest + 1))
        tokens[rng.random(tokens.size) < rng.choice([0, 0.3, 0.95])] = 0
        rows[f"row-{number}"] = tokens.tolist()
    return rows


@pytest.mark.parametrize("engine", ["fused", "tensorflow"])
def test_the_files_equal_the_reference_model(tmp_path, engine):
    """1,000 random ragged rows: `run_lstm` on the padded batch agrees at every set bit of the mask, to 1e-5."""
    from worker.models.language_model import LanguageModel  # noqa: PLC0415 - TensorFlow takes seconds, and the other tests don't use it

    if engine == "fused" and why_unavailable():
        pytest.skip(why_unavailable())
    make_model(tmp_path / "model", units=24, vocabulary=300)
    rows = random_rows(1000, 300, 40)
    write_rows(tmp_path / "rows.jsonl", rows)
    done = unrolled("run", "rows.jsonl", "--model", "model", "--out", "out", "--shard-tokens", "4000",
                    "--with-tokens", "--engine", engine, cwd=tmp_path, timeout=100)  # fmt: skip
    assert done.returncode == 0, done.stderr
    model = LanguageModel.from_directory(open_model(tmp_path / "model"))
    seen = []
    real_steps = 0
    for batch in reader.open(tmp_path / "out").batches(max_rows=250):
        outputs, masks = reader.to_padded(batch)
        time_steps = max(len(rows[name]) for name in batch.ids)
        padded = np.array([rows[name] + [0] * (time_steps - len(rows[name])) for name in batch.ids], np.int32)
        expected, binary_sequences = model.run_lstm(padded, is_training=False)
        np.testing.assert_array_equal(masks, binary_sequences.numpy().astype(bool))
        np.testing.assert_allclose(outputs[masks], expected.numpy()[masks], rtol=0, atol=1e-5)
        seen += batch.ids
        real_steps += masks.sum()
    assert list(seen) == list(rows)
    assert real_steps == sum(np.count_nonzero(tokens) for tokens in rows.values()) > 5000


def two_workers_one_killed(folder, count, shard_tokens):
    """Two workers and a producer at a stand-alone server; one worker is killed midway. Gives the seconds it takes."""
    make_model(folder / "model")
    write_rows(folder / "rows.jsonl", random_rows(count, 50, 20))
    out = folder / "out"
    began = time.monotonic()
    with RestartableBroker(port=0) as server, Crew() as crew:
        settings = {"broker": server.url, "model": folder / "model"}
        more = {"engine": ENGINE, "lease_seconds": 2, "concurrency": 2}
        workers = [crew.worker(folder / f"{name}.log", **settings, **more) for name in ("first", "second")]
        offer = Offer(open_model(folder / "model").fingerprint, ENGINE, "float32")
        ledger = Broker(server.url).ledger("unrolled", offer)
        enqueue = crew.start(
            "enqueue",
            folder / "rows.jsonl",
            "--out",
            out,
            "--shard-tokens",
            shard_tokens,
            "--engine",
            ENGINE,
            **settings,
        )
        eventually(lambda: (out / names.JOB).exists() or enqueue.poll() is not None, "the job")
        job = open_job(out)
        rows_of = {}

        def both_worked():
            rows_of.update({name: facts["rows"] for name, facts in ledger.workers().items() if facts["rows"]})
            return len(rows_of) == len(workers) or enqueue.poll() not in (None, 0)

        eventually(both_worked, "both workers to compute something", 60)
        before = len(published(job))
        workers[0].kill()
        _, said = enqueue.communicate(timeout=600)
        assert enqueue.returncode == 0, said
        shards = len(log_of(job).entries)
        assert before < shards, "the kill came too late"
        wait = unrolled("wait", out, "--timeout", "500", broker=server.url, timeout=510)
        seconds = time.monotonic() - began
        assert wait.returncode == 0, wait.stderr
        status = json.loads(unrolled("status", out, "--json", broker=server.url).stdout)
        assert (status["rows_published"], status["dead"]) == (count, 0)
        workers[0].wait()
        assert end(workers[1]) == 0
    verify = unrolled("verify", out, "--json", timeout=300)
    assert verify.returncode == 0
    found = json.loads(verify.stdout)
    assert (found["rows_in"], found["rows_out"], found["problems"]) == (count, count, [])
    print(f"{count:,} rows, {shards} shards, {before} published before the kill: {seconds:.1f} s")  # noqa: T201 - figures of the long form


def test_two_workers_one_of_which_is_killed(tmp_path):
    """20,000 rows: both work, `kill -9` of one midway changes nothing in the outcome."""
    two_workers_one_killed(tmp_path, 20_000, 2_000)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@long("minutes long")
def test_two_workers_one_of_which_is_killed_long(tmp_path):
    """The same with 200,000 rows."""
    two_workers_one_killed(tmp_path, 200_000, 10_000)
