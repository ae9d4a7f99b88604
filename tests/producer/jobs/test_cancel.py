"""A job is taken out of the queue, and comes back by the command that made it."""

import json
import shutil

import pytest
from click.testing import CliRunner
from support.processes import NAMESPACE, make_rows, open_site

from producer.cli.root import cli
from producer.jobs.cancel import cancel_job
from unrolled.errors import JobError
from unrolled.queue.entering import enter_waiting
from unrolled.queue.ledger import Counts


@pytest.fixture
def site(tmp_path, broker):
    with open_site(tmp_path, broker.url) as site:
        yield site


def run(broker, *arguments):
    """One command, as a shell would give it."""
    return CliRunner().invoke(cli, [*map(str, arguments), "--broker", broker.url, "--namespace", NAMESPACE])


def test_only_the_job_itself_is_taken_out(site, broker):
    """Another job of the model stays; nothing of the cancelled one is left in Redis but messages that say nothing."""
    mine, other = site.enqueue(make_rows(6)), site.enqueue(make_rows(4), name="other")
    held = min(mine.waiting())
    site.ledger.claim(f"{mine.key}/{held}", "a worker")
    result = run(broker, "cancel", mine.path)
    assert result.output.startswith(f"{mine.path}: 3 waiting shard(s) are taken out of the queue\n")
    assert site.ledger.counts() == Counts(shards=2, running=0, tokens=20)
    assert site.ledger.members(other.key)[0] == other.waiting()
    assert site.ledger.job_directory(mine.key) is None
    assert not site.ledger.remove(f"{mine.key}/{held}")  # its worker is done with it, and that is all right
    assert mine.waiting()  # the rows themselves stay


def test_nothing_enters_it_again_but_enqueue(site, broker):
    """Neither a restarted server nor a waiting person brings it back; the same enqueue does, and it completes."""
    rows = make_rows(4)
    directory = site.enqueue(rows)
    assert cancel_job(directory, broker.url, NAMESPACE) == 2
    assert enter_waiting(site.ledger, directory, lambda *_: pytest.fail("sent")) == 0
    result = run(broker, "wait", directory.path)
    assert (result.exit_code, site.ledger.counts().shards) == (1, 0)
    assert "was cancelled, and 2 shard(s) wait; the same `unrolled enqueue` command continues" in result.output
    status = json.loads(run(broker, "status", directory.path, "--json").output)
    assert status["cancelled"]
    assert len(status["diagnosis"]) == 1
    assert "run its `unrolled enqueue` command first" in run(broker, "retry", directory.path).output
    directory.resume()
    assert enter_waiting(site.ledger, directory, lambda *_: None) == 2
    assert json.loads(run(broker, "status", directory.path, "--json").output)["cancelled"] is False


def test_the_same_enqueue_brings_it_back(site, broker, tmp_path):
    """The command line, from text to published files, with a cancel in between."""
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"tokens": [1, 2, n]}) + "\n" for n in range(1, 9)))
    command = ["enqueue", tmp_path / "in.jsonl", "--model", site.model.path, "--out", tmp_path / "o"]
    command += ["--shard-tokens", 6]
    assert run(broker, *command).exit_code == 0
    assert run(broker, "cancel", tmp_path / "o").exit_code == 0
    with_worker = site.worker()
    with_worker.wait_ready()
    assert run(broker, "wait", tmp_path / "o").exit_code == 1
    assert run(broker, *command).exit_code == 0
    result = run(broker, "wait", tmp_path / "o", "--timeout", 30)
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "8 rows are published, in 4 files")


def test_a_directory_that_is_gone(site, broker):
    """Its key alone is enough, whatever the model."""
    directory = site.enqueue(make_rows(4))
    shutil.rmtree(directory.path)
    result = run(broker, "cancel", "--key", directory.key, "--json")
    assert json.loads(result.output) == {"cancelled": 2}
    assert site.ledger.counts() == Counts(0, 0, 0)


def test_a_job_at_work_is_not_cancelled(site, broker):
    """A running producer would enter more shards."""
    directory = site.enqueue(make_rows(4))
    with directory.lock(), pytest.raises(JobError, match="another `unrolled enqueue`"):
        cancel_job(directory, broker.url, NAMESPACE)
    assert site.ledger.counts().shards == 2
    assert not directory.cancelled.exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "name the job by its directory OUT, or by --key"),
        (("out", "--key", "0" * 16), "name the job by its directory OUT, or by --key"),
        (("--key", "../../etc"), "16 hex digits are expected"),
        (("nowhere",), "no job here"),
    ],
)
def test_what_names_no_job_is_refused(broker, arguments, text):
    """The text says what is allowed."""
    result = run(broker, "cancel", *arguments)
    assert result.exit_code in (1, 2)
    assert text in result.output
