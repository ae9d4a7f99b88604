"""Duplicate ids."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.enqueue.seen_ids import SeenIds
from producer.sources.rows import BadRow, Row, automatic_id
from unrolled.errors import TransientError

NOTHING = np.zeros(0, np.int32)


def row(file, position, row_id=None):
    return Row(file, position, automatic_id(file, position) if row_id is None else row_id, NOTHING)


def test_first_wins():
    """The second row of an id is bad and names the first, within a batch and across batches."""
    with SeenIds(["a", "b"]) as seen:
        first, second = seen.unique([[row("a", 0, "x"), row("a", 1, "x")], [row("b", 7, "x"), row("b", 8, "y")]])
    assert [type(found) for found in first + second] == [Row, BadRow, BadRow, Row]
    assert first[1].reason == "duplicate id; a row 0 has it"
    assert (second[0].file, second[0].position, second[0].id) == ("b", 7, "x")


def test_same_row_again():
    """A row that is read again is no duplicate of itself."""
    with SeenIds(["a"]) as seen:
        batch = [row("a", 0, "x"), row("a", 1, "y")]
        assert [seen.checked(batch), seen.checked(batch)] == [batch, batch]


def test_id_like_an_automatic_one():
    """An id that a row without one could get is refused, even if there is no such row: rows are read in a stream.

    A row's own automatic id is its own, and look-alikes are free.
    """
    with SeenIds(["a", "b#1"]) as seen:
        batch = [
            row("a", 0, "a#0"),
            row("a", 1, "a#7"),
            row("a", 2, "b#1#0"),
            row("a", 3, "c#1"),
            row("a", 4, "a#x"),
            row("a", 5, "a#07"),
            row("a", 6, "a#00"),
            row("a", 7, "a#0"),
            row("a", 8, "a#"),
        ]
        found = seen.checked(batch)
    assert [type(each) for each in found] == [Row, BadRow, BadRow, Row, Row, Row, Row, BadRow, Row]
    kept = "ids of the form <input>#<number> are kept for rows without an id; give this row another one"
    assert {each.reason for each in found if isinstance(each, BadRow)} == {kept}


def test_bad_rows_and_ticks_pass():
    """What is bad already doesn't take an id, and empty batches stay empty."""
    bad = BadRow("a", 0, "x", "reason")
    with SeenIds(["a"]) as seen:
        assert list(seen.unique([[bad], [], [row("a", 1, "x")]])) == [[bad], [], [row("a", 1, "x")]]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["p", "q", "é", "a#1", "a#0", None]), max_size=6), max_size=6))
def test_published_ids_are_unique(batches):
    """Whatever the ids, no id is left twice, every row is accounted for, and each first row is kept."""
    position = 0
    source = []
    for ids in batches:
        source.append([row("a", position + at, row_id) for at, row_id in enumerate(ids)])
        position += len(ids)
    with SeenIds(["a"]) as seen:
        found = [each for batch in seen.unique(source) for each in batch]
    kept = [each.id for each in found if isinstance(each, Row)]
    assert len(set(kept)) == len(kept)
    assert [each.position for each in found] == list(range(position))
    assert {row_id for ids in batches for row_id in ids} & {"p", "q", "é"} == set(kept) & {"p", "q", "é"}


def test_leaves_nothing(tmp_path):
    """No name is left on the disk even while the ids are in use, so a process that is killed leaves nothing either."""
    with SeenIds(["a"], str(tmp_path)) as seen:
        batches = [[row("a", at, f"id {at}") for at in range(first, first + 1000)] for first in range(0, 2000, 500)]
        found = [each for batch in seen.unique(batches) for each in batch]
        assert list(tmp_path.iterdir()) == []
    assert sum(isinstance(each, Row) for each in found) == 4000


def test_directory_that_cannot_be_used(tmp_path):
    """A directory that can't be written to is an error that may pass."""
    with pytest.raises(TransientError, match="ids can't be kept"):
        SeenIds(["a"], str(tmp_path / "missing"))


def test_a_limit_of_the_size_of_files_is_named():
    """No room on the disk helps against it."""
    code = """if True:
        import resource
        from producer.enqueue.seen_ids import SeenIds
        from producer.sources.rows import Row
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))
        with SeenIds(["a"]) as seen:
            for first in range(0, 100_000, 1000):
                list(seen.unique([[Row("a", at, f"id {at}", None) for at in range(first, first + 1000)]]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    advice = "check the disk and the limit `ulimit -f` (100,000 bytes), then run the same command again"
    assert done.stderr.endswith(f"; {advice}\n")


def test_no_directory_for_temporary_files():
    """Python finds none in which it can write; what to do is told all the same."""
    code = """if True:
        import resource
        from producer.enqueue.seen_ids import SeenIds
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        SeenIds(["a"])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "TransientError: ids can't be kept ([Errno 2] No usable temporary directory found in [" in done.stderr
    assert done.stderr.endswith("(`ulimit -f`), then run the same command again\n")


def test_a_full_disk_is_waited_for(tmp_path):
    """Where rows can't be read again: every id that was kept before is known afterwards, and no row is turned away."""
    failures = []

    def steadily(_, action):
        while True:
            try:
                return action()
            except TransientError as error:
                failures.append(str(error))
                seen._database.execute("PRAGMA max_page_count = 1000000")  # there is room again

    starts = range(0, 6_000, 2_000)
    batches = [[row("a", place, f"id {place % 3_000}") for place in range(start, start + 2_000)] for start in starts]
    with SeenIds(["a"], str(tmp_path), steadily) as seen:
        checked = [seen.checked(batches[0])]
        (pages,) = seen._database.execute("PRAGMA page_count").fetchone()
        seen._database.execute(f"PRAGMA max_page_count = {pages}")
        checked += [seen.checked(batch) for batch in batches[1:]]
        assert seen._database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert len(failures) == 1
    assert "full" in failures[0]
    rows = [found for batch in checked for found in batch]
    assert [isinstance(found, Row) for found in rows] == [place < 3_000 for place in range(6_000)]


def test_more_files_than_two_to_the_21():
    """The place of a row in any of them fits into what SQLite takes, up to the last one."""
    with SeenIds(["first"]) as seen:
        last = 2**27 - 1
        seen._numbers["last"] = last
        seen._labels = _Labels(last)
        assert seen.checked([row("last", 2**36 - 1, "x"), row("first", 0, "y")]) == [
            row("last", 2**36 - 1, "x"),
            row("first", 0, "y"),
        ]
        (again,) = seen.checked([row("first", 1, "x")])
    assert again.reason == f"duplicate id; last row {2**36 - 1} has it"


class _Labels:
    """As a list of very many labels."""

    def __init__(self, last):
        self._last = last

    def __getitem__(self, number):
        return "last" if number == self._last else "first"
