"""Rows of token ids on disk."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.token_stores import stored

from unrolled.errors import JobError, TransientError
from unrolled.training.token_store import TokenStoreWriter, open_token_store

ROWS = st.lists(st.lists(st.integers(1, 60_000), min_size=1, max_size=9), max_size=30)


@given(rows=ROWS, vocab_size=st.sampled_from([60_000, 70_000]), block=st.integers(1, 40))
def test_rows_come_back_and_blocks_hold_each_once(tmp_path_factory, rows, vocab_size, block):
    """Whatever their lengths, and whether ids take two bytes or four."""
    store = stored(tmp_path_factory.mktemp("store"), rows, vocab_size)
    found = []
    for start, stop in store.blocks(block):
        assert stop > start
        ids, bounds = store.read(start, stop)
        found += [ids[a:b].tolist() for a, b in pairwise(bounds)]
    assert found == rows


def resident_file_bytes():
    """Pages of files that this process has in its memory."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="machine: Linux tells it")
def test_what_was_read_leaves_the_memory(tmp_path):
    """A store of 32 MiB is read in blocks of one, and no more than a few of them are ever mapped."""
    tokens = 2**24
    (tmp_path / "rows.tokens").write_bytes(np.arange(tokens).astype("<u2").tobytes())
    (tmp_path / "rows.ends").write_bytes(np.arange(64, tokens + 1, 64, dtype="<i8").tobytes())
    store = open_token_store(tmp_path, "rows", 60_000, tokens // 64, tokens)
    before, most, total = resident_file_bytes(), 0, 0
    for start, stop in store.blocks(2**19):
        ids, bounds = store.read(start, stop)
        assert len(ids) == bounds[-1]
        total += len(ids)
        most = max(most, resident_file_bytes() - before)
    assert total == tokens
    assert most < 2**23


def test_a_small_vocabulary_takes_two_bytes_a_token(tmp_path):
    """Up to 65,535."""
    stored(tmp_path, [[1, 2, 3]], 65_535)
    assert (tmp_path / "rows.tokens").stat().st_size == 6
    stored(tmp_path, [[1, 2, 3]], 65_536)
    assert (tmp_path / "rows.tokens").stat().st_size == 12


def test_files_of_another_length_are_refused(tmp_path):
    """With both numbers, and what to do."""
    stored(tmp_path, [[1, 2, 3]])
    (tmp_path / "rows.tokens").write_bytes(b"\0" * 5)
    with pytest.raises(JobError, match=r"rows.tokens: has 5 bytes, not 6; remove"):
        open_token_store(tmp_path, "rows", 9, 1, 3)
    (tmp_path / "rows.tokens").unlink()
    with pytest.raises(JobError, match=r"rows.tokens: can't be read"):
        open_token_store(tmp_path, "rows", 9, 1, 3)


def test_a_directory_that_is_not_there(tmp_path):
    """Is told with its name."""
    with pytest.raises(TransientError, match="none: the corpus's token ids can't be kept there"):
        TokenStoreWriter(tmp_path / "none", "rows", 9)
