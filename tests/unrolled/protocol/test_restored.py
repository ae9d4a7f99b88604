"""A directory that was restored from an older copy: no lost shard comes back into the ledger."""

import pytest
from support.dict_ledger import DictLedger
from support.jobs import decide, log_of, make_job, waiting

from unrolled.job.names import Life
from unrolled.job.segment import Segment
from unrolled.job.shard_id import ShardId
from unrolled.protocol.ledger_update import update_ledger
from unrolled.protocol.log import Log
from unrolled.protocol.restored import replace_longer, trusted_log


@pytest.fixture
def ledger():
    return DictLedger()


def test_a_ledger_that_has_heard_of_a_longer_log_starts_again(tmp_path, ledger):
    """The log was restored from an older copy; otherwise nothing is changed, whatever the mark is."""
    job = make_job(tmp_path / "out", ended=False)
    assert not replace_longer(Log(), job.objects, ledger)
    assert ledger.known is None
    update_ledger(Log(), job.objects, ledger)
    lost = Life(ShardId(9, "ab" * 6), 0)
    del ledger.lives[Life(waiting(job)[0], 0)]
    before = ledger.lives.copy()
    for mark in (-5, 0, log_of(job).length):
        ledger.known = mark
        assert not replace_longer(Log(), job.objects, ledger)
        assert (ledger.known, ledger.lives) == (mark, before)
    assert ledger.enter(ledger.known, [(lost, 7)], log_of(job).length + 1)
    assert replace_longer(Log(), job.objects, ledger)
    assert sorted(ledger.lives) == [Life(shard, 0) for shard in waiting(job)]
    assert ledger.known == log_of(job).length


def test_a_log_that_was_kept_is_trusted_while_the_ledger_lacks_nothing_of_it(tmp_path, ledger):
    """Otherwise it is read from the start: some of it may be of a directory that was restored since."""
    job = make_job(tmp_path / "out", ended=False)
    kept = log_of(job)
    assert trusted_log(kept, job.objects, ledger).length == 0
    update_ledger(Log(), job.objects, ledger)
    assert trusted_log(kept, job.objects, ledger) is kept
    decide(job, Segment("end"))
    assert trusted_log(kept, job.objects, ledger).length == 0
    update_ledger(Log(), job.objects, ledger)
    assert trusted_log(kept, job.objects, ledger) is kept
