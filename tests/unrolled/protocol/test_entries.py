"""The shards of a job in columns, against a dictionary and a list."""

import random

import numpy as np
import pytest

from unrolled.job.segment import Entry
from unrolled.job.shard_id import ShardId
from unrolled.job.shard_keys import KEY, key_of
from unrolled.protocol import entries as module
from unrolled.protocol.entries import Counts, Entries, ShardSet


def entry(shard, number=0):
    source = ShardId(shard.index, "ab" * 6, shard.retries - 1) if shard.retries else None
    return Entry(shard, number, number + 1, 2**32 - 1, number % 3, "00" * 16, source, "f", number)


def drawn(rng):
    """Few indices, hashes whose first half is one of two, and retries: much is nearly equal."""
    hashed = rng.choice(["00000000", "ffffffff"]) + f"{rng.randrange(16):04x}"
    return ShardId(rng.randrange(4), hashed, rng.choice([0, 0, 1, 2]))


@pytest.mark.parametrize("recent", [1, 7, 1 << 14])
def test_against_a_dictionary(monkeypatch, recent):
    """Whatever was added, and whenever a shard is looked for."""
    monkeypatch.setattr(module, "_MOST_RECENT", recent)
    rng = random.Random(recent)
    entries, known = Entries(), {}
    for number in range(300):
        shard = drawn(rng)
        assert entries.add(entry(shard, number)) == (shard not in known)
        known.setdefault(shard, number)
        for wanted in (drawn(rng), shard):
            number_of = {each: place for place, each in enumerate(known)}
            assert entries.number(wanted) == number_of.get(wanted)
            assert (wanted in entries) == (wanted in known)
        if number % 10 == 0:
            keys = [drawn(rng) for _ in range(rng.choice([0, 5, 50]))]
            found = entries.numbers(np.array([key_of(key) for key in keys], KEY))
            assert found.tolist() == [number_of.get(key, -1) for key in keys]
    assert list(entries) == list(known)
    assert {shard: counts.rows for shard, counts in entries.items()} == known
    assert list(entries.inputs) == [shard for shard in known if not shard.retries]
    assert entries.inputs[1:3] == list(entries.inputs)[1:3]


def test_one_shard():
    """Its counts, and what is said of one that the job doesn't have."""
    entries, shard = Entries(), ShardId(7, "0123456789ab")
    entries.add(entry(shard, 5))
    assert entries[shard] == entries.at(0) == Counts(shard, 5, 6, 2**32 - 1, 2)
    with pytest.raises(KeyError):
        entries[ShardId(8, "0123456789ab")]
    with pytest.raises(IndexError):
        entries.inputs[1]
    assert (None in entries, len(entries.inputs)) == (False, 1)


def test_sets_of_shards():
    """Behave as other sets, also where the job has got more shards since."""
    entries, shards = Entries(), [ShardId(number, f"{number:012x}") for number in range(5)]
    for shard in shards[:4]:
        entries.add(entry(shard))
    found = ShardSet(entries, entries.marks(shards[1:3] + shards[4:]))
    entries.add(entry(shards[4]))
    assert found == {shards[1], shards[2]}
    assert found - {shards[1]} == found & {shards[2]} == frozenset({shards[2]})
    assert (len(found), shards[4] in found, "x" in found) == (2, False, False)
