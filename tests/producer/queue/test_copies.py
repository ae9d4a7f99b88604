"""A copy of a job's directory: it has the job's key, and so has its queue."""

import shutil

import pytest
from support.jobs import log_of
from support.shell import ENGINE, Crew, make_model, unrolled, write_rows

import unrolled as unrolled_package
from producer.jobs.verify import verify_job
from unrolled.protocol.opening import open_job
from unrolled.queue.broker import Broker


@pytest.mark.parametrize("command", ["enqueue", "wait"])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_copy_of_a_job_that_is_finished_meanwhile_goes_on_by_itself(tmp_path, broker, command, is_known):
    """Nothing is computed at the original any more, so there is nothing to be in the way of, whatever Redis knows."""
    write_rows(tmp_path / "in.jsonl", {str(number): [1, 2, 3] for number in range(40)})
    model = make_model(tmp_path / "model").path
    common = {"broker": broker.url, "model": model, "engine": ENGINE}

    def enqueue(out):
        done = unrolled("enqueue", tmp_path / "in.jsonl", "--shard-tokens", "30", out=out, **common)
        assert done.returncode == 0, done.stderr
        return done

    enqueue(tmp_path / "original")
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    with Crew() as crew:
        crew.worker(tmp_path / "worker.log", lease_seconds=2, **common)
        assert unrolled("wait", tmp_path / "original", "--timeout", "60", broker=broker.url).returncode == 0
        if is_known:  # a worker that looks after the job enters it again when `wait` has had Redis forget it
            original = open_job(tmp_path / "original")
            ledger = Broker(broker.url).ledger("unrolled", original.job.offer)
            ledger.enter(original.key, original.address, ledger.mark(original.key), [], log_of(original).length)
            assert ledger.place_of(original.key) == original.address
        if command == "enqueue":
            assert "4 shards; 4 are from another run, and this run queued 4\n" in enqueue(tmp_path / "copy").stdout
        done = unrolled("wait", tmp_path / "copy", "--timeout", "60", broker=broker.url)
        assert done.returncode == 0, done.stderr
    for name in ("original", "copy"):
        assert verify_job(open_job(tmp_path / name)).problems == ()
        assert len(unrolled_package.open(tmp_path / name)) == 40
