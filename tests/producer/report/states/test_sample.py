"""A sample is a function of the job, not of the order in which its parts are read."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from producer.report.states.sample import Points, Sample
from unrolled.job.shard_id import ShardId

SHARDS = [ShardId(number, f"{number * 7919:012x}", number % 2) for number in range(6)]


def points_of(shard, start, chosen, keys):
    order = np.array([[shard.index, shard.retries, start + at] for at in chosen], np.int64).reshape(-1, 3)
    count = len(chosen)
    texts = np.array([f"{shard}/{start + at}" for at in chosen], np.object_)
    return Points(
        keys, order, np.zeros((count, 2), np.float32), texts, np.ones(count, np.int32), np.full(count, -1, np.int32),
        np.full(count, None, np.object_), np.full(count, shard, np.object_),
    )  # fmt: skip


def sample_of(pieces, most):
    sample = Sample(most, 2)
    for shard, start, count in pieces:
        chosen, keys = sample.wanted(shard, start, np.ones(count, np.bool_))
        sample.add(points_of(shard, start, chosen, keys))
    return sample.points().ids.tolist()


@given(st.permutations([(shard, start, 50) for shard in SHARDS for start in (0, 50)]), st.integers(1, 700))
def test_the_order_does_not_matter(pieces, most):
    """Any order of the pieces gives the same points, in the order of the job."""
    found = sample_of(pieces, most)
    assert found == sample_of([(shard, 0, 100) for shard in SHARDS], most)
    assert len(found) == len(set(found)) == min(most, 600)
    places = [tuple(map(int, (text[:6], text.rpartition("/")[2]))) for text in found]
    assert places == sorted(places)


def test_every_shard_has_its_share():
    """No part of the job is left out, and no two jobs have the same rows drawn."""
    found = sample_of([(shard, 0, 10_000) for shard in SHARDS], 6_000)
    counts = [sum(text.startswith(f"{shard}/") for text in found) for shard in SHARDS]
    assert all(850 < count < 1150 for count in counts)
    rows = [{text.rpartition("/")[2] for text in found if text.startswith(f"{shard}/")} for shard in SHARDS]
    assert len(rows[0] & rows[1]) < 400
