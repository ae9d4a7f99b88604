"""Files that are missing from a log: no job is called finished without them, and no decision takes their place."""

from contextlib import suppress

import pytest
from support.jobs import decide, finished_job, make_job, publish_shard, record_death, waiting

from producer.jobs import decisions
from unrolled.errors import JobError, TransientError
from unrolled.job.inputs import Inputs
from unrolled.job.names import LOG, segment_name
from unrolled.job.segment import Segment
from unrolled.patience import at_once
from unrolled.protocol.completion import standing
from unrolled.protocol.gaps import missing_segment, refuse_gap
from unrolled.protocol.log import Log
from unrolled.protocol.objects import Objects
from unrolled.reading.outcome import failed_rows
from unrolled.store.posix import PosixStore

GAP = "isn't there, but later segments of the log are; restore it from a copy"


def segments(path):
    return {file.name: file.read_bytes() for file in (path / LOG).iterdir()}


class LateStore(PosixStore):
    """A store that shows some names late.

    Attributes:
        unread: names that can't be read as often as given.
        unlisted: names that aren't listed as often as given.
    """

    def __init__(self, path, unread=(), unlisted=()):
        super().__init__(path)
        self.unread, self.unlisted = dict(unread), dict(unlisted)

    def read(self, name, *span):
        """See `Store.read`."""
        if self.unread.get(name, 0):
            self.unread[name] -= 1
            return None
        return super().read(name, *span)

    def list(self, folder=""):
        """See `Store.list`."""
        hidden = {name for name, times in self.unlisted.items() if times}
        self.unlisted = {name: max(0, times - 1) for name, times in self.unlisted.items()}
        return [name for name in super().list(folder) if name not in hidden]


def patient(_what, action):
    """Tries again at once, a few times."""
    for _ in range(3):
        with suppress(TransientError):
            return action()
    return action()


def test_a_job_with_a_gap_is_not_finished(tmp_path):
    """What can be read of the log seems to be a complete job; the rest is what was lost."""
    job = finished_job(tmp_path)
    decide(job, Segment("append", inputs=Inputs.named(["a", "b"])))
    decide(job, Segment("end"))
    assert standing(Log(), job.objects, live=False).complete
    lost = segment_name(max(int(name.split(".")[0]) for name in segments(tmp_path)) - 1)
    content = (tmp_path / lost).read_bytes()
    (tmp_path / lost).unlink()
    with pytest.raises(JobError, match=f"{lost}: {GAP}, or else use a new output directory, and `unrolled discard`"):
        standing(Log(), job.objects, live=False)
    (tmp_path / lost).write_bytes(content)
    assert standing(Log(), job.objects, live=False).complete


def test_a_discarded_job_has_nothing_to_lose(tmp_path):
    """`discard` closes the first gap, and where another is left, nothing says that a file should be restored."""
    job = finished_job(tmp_path)
    decide(job, Segment("begin", run="b" * 16))
    for number in (0, 1):
        (tmp_path / segment_name(number)).unlink()
    decisions.discard(job.objects, None)
    log = Log()
    refuse_gap(log, job.objects)
    assert log.discarded


@pytest.mark.parametrize("decision", [
    lambda job: decisions.retry(job.objects, None, failed_rows, failed=True),
    lambda job: decisions.cancel(job.objects, None),
], ids=["retry", "cancel"])  # fmt: skip
def test_no_decision_takes_the_place_of_a_lost_file(tmp_path, decision):
    """The gap would be closed, and the rows that the file named forgotten by a job that is complete after that."""
    job = make_job(tmp_path)
    one, two, three = waiting(job)
    publish_shard(job, one, failed={1: "bad"})
    record_death(job, two)
    publish_shard(job, three)
    (tmp_path / segment_name(0)).rename(tmp_path / "saved")
    before = segments(tmp_path)
    with pytest.raises(JobError, match=f"{segment_name(0)}: {GAP}"):
        decision(job)
    assert segments(tmp_path) == before
    (tmp_path / "saved").rename(tmp_path / segment_name(0))
    assert decision(job)
    assert len(segments(tmp_path)) == len(before) + 2


@pytest.mark.parametrize("name", ["9.jsonl", "000009", "000009 copy.jsonl", "٠٠٠٠٠٩.jsonl"])
def test_files_of_other_names_are_no_segments(tmp_path, name):
    """A copy that a user has put beside the log doesn't make it one with a gap."""
    job = finished_job(tmp_path)
    (tmp_path / LOG / name).touch()
    assert standing(Log(), job.objects, live=False).complete


def test_a_segment_that_is_seen_late_is_not_missing(tmp_path):
    """It is listed, and can be read a moment later; or another is listed that was created after it."""
    finished_job(tmp_path)
    length = len(segments(tmp_path))
    for unread, unlisted in (
        ({segment_name(0): 2}, {}),
        ({segment_name(length - 1): 1}, {segment_name(length - 1): 1}),
        ({segment_name(0): 2}, {segment_name(0): 1}),
    ):
        log = Log()
        assert missing_segment(log, Objects(LateStore(tmp_path, unread, unlisted), patient)) is None
        assert log.length == (length if segment_name(length - 1) not in unlisted else length - 1)
    with pytest.raises(TransientError, match=f"{segment_name(0)} exists, and can't be seen yet"):
        refuse_gap(Log(), Objects(LateStore(tmp_path, {segment_name(0): 9}), at_once))
