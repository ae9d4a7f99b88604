"""Jobs take turns in a worker's pool."""

from concurrent.futures import Future
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from support.columns import per_token
from support.ragged_rows import ragged

from worker.pool.waiting import Waiting, WaitingShards

COLUMNS, OTHERS = per_token(2), per_token(3)
#: Of the jobs, "d" stores other columns.
JOBS = "abcd"
LARGEST = 9


def shard(job, tokens, number):
    columns = OTHERS if job == "d" else COLUMNS
    return Waiting(job, ragged([[1] * tokens]), columns, Future(), float(number), None)


@given(
    st.lists(st.one_of(st.tuples(st.sampled_from(JOBS), st.integers(0, LARGEST)), st.sampled_from([None, "columns"])))
)
def test_each_shard_leaves_once_in_its_jobs_order(steps):
    """Whatever comes and goes in between; of other columns than are asked for, none is found."""
    queue, inside, clock = WaitingShards(), {job: [] for job in JOBS}, count()
    for step in steps:
        if isinstance(step, tuple):
            waiting = shard(*step, next(clock))
            queue.add(waiting)
            inside[waiting.job].append(waiting)
        else:
            found = queue.next(OTHERS if step else None)
            assert (found is None) == (not (inside["d"] if step else any(inside.values())))
            if found:
                assert found is inside[found.job].pop(0)
                assert found.job == "d" or not step
                queue.remove(found)
        assert len(queue) == sum(map(len, inside.values())) == len(list(queue))


@given(st.data())
def test_jobs_get_equal_shares(data):
    """While two jobs have shards, their shares differ by less than two shards, whatever was computed before."""
    queue, clock = WaitingShards(), count()
    sizes = st.integers(1, LARGEST)
    for size in data.draw(st.lists(sizes, max_size=20)):
        queue.add(shard("a", size, next(clock)))
        if data.draw(st.booleans()):
            queue.remove(queue.next())
    for job in "ab":
        for size in data.draw(st.lists(sizes, min_size=20, max_size=20)):
            queue.add(shard(job, size, next(clock)))
    shares = {"a": 0, "b": 0}
    while {waiting.job for waiting in queue} == {"a", "b"}:
        found = queue.next()
        queue.remove(found)
        shares[found.job] += found.tokens
        assert abs(shares["a"] - shares["b"]) <= 2 * LARGEST


def test_a_job_that_comes_has_the_next_turn():
    """It isn't given what it would have had before, nor made to wait for what others had."""
    queue, clock = WaitingShards(), count()
    for _ in range(10):
        queue.add(shard("a", 5, next(clock)))
    for _ in range(4):
        queue.remove(queue.next())
    for _ in range(3):
        queue.add(shard("b", 5, next(clock)))
    order = []
    while found := queue.next():
        order.append(found.job)
        queue.remove(found)
    assert "".join(order) == "bababaaaa"


@given(st.integers(1, 8), st.lists(st.integers(1, LARGEST), min_size=1, max_size=4))
def test_no_job_waits_for_ever(others, sizes):
    """Not even if all others are jobs that have just come, each with one shard."""
    queue, clock = WaitingShards(), count()
    queue.add(shard("a", LARGEST, next(clock)))
    queue.add(shard("a", LARGEST, next(clock)))
    turns = []
    for number in range(40 * (others + 1)):
        while sum(waiting.job != "a" for waiting in queue) < others:
            queue.add(shard(f"new {next(clock)}", sizes[number % len(sizes)], next(clock)))
        found = queue.next()
        queue.remove(found)
        turns.append(found.job)
        if found.job == "a":
            queue.add(shard("a", LARGEST, next(clock)))
    assert turns.count("a") >= 2


def test_nothing_is_remembered_of_jobs_that_have_left():
    """A worker that runs for months sees many jobs."""
    queue = WaitingShards()
    for number in range(100):
        queue.add(shard(f"job {number}", 3, number))
        queue.remove(queue.next())
        queue.rest()
    assert not queue._ranks
