"""A shard's rows: one name for one content, and nothing of it lost on the way to a retry."""

import json

import numpy as np
import pytest

from unrolled.errors import PayloadError
from unrolled.job import names, payload
from unrolled.job.shard_id import ShardId
from unrolled.protocol.objects import Objects
from unrolled.protocol.spooling import Place, entry_of, make_retry, make_rows, select_rows, spool
from unrolled.store.memory import MemoryStore
from unrolled.tokenization.ragged import Ragged

JOB = "0123456789abcdef"
PLACE = Place(7, "rows.txt", 40)
IDS = ["a", "b", "ü"]
TOKENS = Ragged.from_lengths(np.array([5, 0, 6, 7], np.int32), [3, 0, 1])
BAD = [b'{"row": 43}\n']


def made(**changes):
    given = {"job": JOB, "place": PLACE, "ids": IDS, "tokens": TOKENS, "bad": BAD} | changes
    return make_rows(**given)


def test_the_entry_says_what_is_in_the_rows():
    """And can be read off them again, so that rows without a segment aren't lost."""
    entry = made().entry
    assert (entry.shard.index, entry.shard.retries, entry.source) == (7, 0, None)
    assert (entry.rows, entry.tokens, entry.size, entry.quarantined) == (3, 3, 4, 1)
    assert (entry.file, entry.position) == ("rows.txt", 40)
    assert entry_of(made().rows) == entry


def test_the_same_rows_have_the_same_name():
    """Two producers that cut the same input write the same objects."""
    assert made() == made()


@pytest.mark.parametrize(
    "change",
    [
        {"job": "f" * 16},
        {"place": Place(8, "rows.txt", 40)},
        {"place": Place(7, "other.txt", 40)},
        {"place": Place(7, "rows.txt", 41)},
        {"ids": ["a", "b", "u"]},
        {"tokens": Ragged.from_lengths(np.array([5, 0, 6, 8], np.int32), [3, 0, 1])},
        {"tokens": Ragged.from_lengths(np.array([5, 0, 6, 7], np.int32), [2, 1, 1])},
        {"bad": []},
        {"bad": [b'{"row": 44}\n']},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_differs_makes_another_name(change):
    """So no object is ever another's."""
    assert made(**change).entry.shard.hash != made().entry.shard.hash


def test_bad_rows_are_durable_before_the_rows():
    """Once a shard's rows exist, its quarantine can't be lost."""
    store, order = MemoryStore(), []

    def steadily(_, action):
        done = action()
        order.append([name for folder in (names.QUARANTINE, names.ROWS) for name in store.list(folder)])
        return done

    spooled = made()
    spool(Objects(store, steadily), spooled)
    shard = spooled.entry.shard
    quarantine, rows = names.quarantine_object(shard), names.rows_object(shard)
    assert order == [[quarantine], [quarantine, rows]]
    assert (store.read(quarantine), store.read(rows)) == (BAD[0], spooled.rows)


def test_chosen_rows_keep_their_ids_and_tokens():
    """With the facts of all, padding included."""
    chosen = payload.decode(select_rows(made().rows, [0, 2]))
    assert chosen.ids.to_pylist() == ["a", "ü"]
    assert (chosen.tokens.values.tolist(), chosen.tokens.lengths.tolist()) == ([5, 0, 6, 7], [3, 1])
    assert chosen.facts["index"] == 7
    assert payload.decode(select_rows(made().rows, [])).tokens.rows == 0


def test_chosen_rows_keep_their_vectors():
    """Those that they name, also when they are retried; the numbers of the others go away."""
    table = np.arange(8, dtype=np.float32).reshape(4, 2)
    tokens = Ragged.from_lengths(np.array([4, 0, 2, 1, 3], np.int32), [3, 0, 2], table)
    chosen = payload.decode(select_rows(made(tokens=tokens).rows, [0, 1]))
    found = payload.decode(make_retry(made().entry.shard, payload.encode(chosen)).rows).tokens
    assert found.lengths.tolist() == [3, 0]
    assert found.vectors[found.values[found.values > 0] - 1].tolist() == [[6, 7], [2, 3]]
    assert len(found.vectors) == 2
    assert (found.values > 0).tolist() == [True, False, True]


@pytest.mark.parametrize("row", [-1, 3, 2**40])
def test_a_row_that_is_not_there_is_refused(row):
    """A part that calls it failed is another shard's."""
    with pytest.raises(PayloadError, match="the part is not this shard's"):
        select_rows(made().rows, [0, row])


def test_a_retry_is_a_shard_of_its_own():
    """At the place of its source, with its failed rows, and without the quarantine, which its source has counted."""
    source = made().entry.shard
    failed = select_rows(made().rows, [2])
    retry = make_retry(source, failed)
    entry = retry.entry
    assert (entry.source, entry.shard.index, entry.shard.retries) == (source, 7, 1)
    assert (entry.rows, entry.tokens, entry.size, entry.quarantined) == (1, 1, 1, 0)
    assert payload.decode(retry.rows).ids.to_pylist() == ["ü"]
    assert make_retry(source, failed) == retry
    assert retry.quarantine == b""
    again = make_retry(entry.shard, select_rows(retry.rows, [0])).entry
    assert (again.source, again.shard.retries) == (entry.shard, 2)
    assert make_retry(ShardId(7, "f" * 12), failed).entry.shard != entry.shard


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"index": -1},
        {"index": True},
        {"retries": "0"},
        {"job": "../x"},
        {"file": None},
        {"source": 3},
        {"tokens": 10**12},
    ],
)
def test_rows_with_strange_facts_are_refused(facts):
    """They are from outside, however sound their digest is."""
    found = payload.decode(made().rows)
    changed = json.loads(json.dumps(found.facts | facts)) if facts else {}
    content = payload.encode(payload.Payload(found.ids, found.tokens, changed))
    with pytest.raises(PayloadError, match="facts are not those of a shard"):
        entry_of(content)
