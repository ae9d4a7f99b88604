"""Rows of token ids on disk."""

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.token_stores import stored

from unrolled.errors import JobError, TransientError
from unrolled.training.token_store import TokenStore, TokenStoreWriter

ROWS = st.lists(st.lists(st.integers(1, 60_000), min_size=1, max_size=9), min_size=1, max_size=30)


@settings(deadline=None)  # the first call imports pandas
@given(rows=ROWS, vocab_size=st.sampled_from([60_000, 70_000]), block=st.integers(1, 40))
def test_rows_come_back_and_blocks_hold_each_once(tmp_path_factory, rows, vocab_size, block):
    """For any lengths, and for ids of two or four bytes; a block ends with the row that fills it."""
    store = stored(tmp_path_factory.mktemp("store"), rows, vocab_size, block_tokens=block)
    found = []
    for number in range(store.blocks):
        ids, bounds = store.read([number])
        assert bounds[-2] < block
        found += [ids[a:b].tolist() for a, b in pairwise(bounds)]
    assert found == rows
    ids, bounds = store.read(range(store.blocks))
    assert [ids[a:b].tolist() for a, b in pairwise(bounds)] == rows


def resident_bytes():
    """The memory of this process."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="machine: only Linux shows it")
def test_what_was_read_leaves_the_memory(tmp_path):
    """A store of 64 MiB is read in blocks of one, and no more than a few of them are ever in memory."""
    rows = np.arange(1, 2**19 + 1, dtype=np.int32).reshape(-1, 64)
    with TokenStoreWriter(tmp_path, "rows", 2**20, 2**18) as writer:
        for _ in range(32):
            writer.add(rows)
    store = TokenStore(tmp_path, "rows", 2**20)
    before, most, total = resident_bytes(), 0, 0
    for block in range(store.blocks):
        ids, _ = store.read([block])
        total += len(ids)
        most = max(most, resident_bytes() - before)
    assert total == 2**24
    assert most < 2**23


def test_a_small_vocabulary_takes_two_bytes_a_token(tmp_path):
    """Up to 65,535."""
    ids, _ = stored(tmp_path, [[1, 2, 3]], 65_535).read([0])
    assert ids.dtype == np.uint16
    ids, _ = stored(tmp_path, [[1, 2, 3]], 65_536).read([0])
    assert ids.dtype == np.int32


def test_another_vocabulary_and_no_file_are_refused(tmp_path):
    """With what was found, and what to do."""
    with TokenStoreWriter(tmp_path, "empty", 9):
        pass
    with pytest.raises(JobError, match=r"empty.arrow: can't be read \(it has no rows\)"):
        TokenStore(tmp_path, "empty", 9)
    stored(tmp_path, [[1, 2, 3]])
    with pytest.raises(JobError, match=r"its columns are 'tokens: large_list<item: uint16>.*; remove .* and fit again"):
        TokenStore(tmp_path, "rows", 70_000)
    (tmp_path / "rows.arrow").unlink()
    with pytest.raises(JobError, match=r"rows.arrow: can't be read \(.*No such file"):
        TokenStore(tmp_path, "rows", 60_000)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    """A file that is cut at any length is refused when it is opened."""
    stored(tmp_path, [[1, 2, 3], [4, 5]])
    whole = (tmp_path / "rows.arrow").read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / "rows.arrow").write_bytes(whole[:size])
        with pytest.raises(JobError, match=r"rows.arrow: can't be read"):
            TokenStore(tmp_path, "rows", 60_000)


def test_a_file_with_any_byte_changed_is_read_or_refused(tmp_path):
    """A damaged file gives rows or a JobError, never another error."""
    stored(tmp_path, [[1, 2, 3], [4, 5]])
    whole = (tmp_path / "rows.arrow").read_bytes()
    for at, bits in product(range(len(whole)), (0x01, 0x80, 0xFF)):
        (tmp_path / "rows.arrow").write_bytes(whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :])
        try:
            store = TokenStore(tmp_path, "rows", 60_000)
            ids, bounds = store.read(range(store.blocks))
        except JobError:
            continue
        assert bounds[-1] == len(ids)


@pytest.mark.parametrize("offsets", [[0, 2, 3, 9], [0, 2, 1, 5], [-1, 2, 3, 5], [0, 2, 2**40, 5], [1, 2, 3, 5]])
def test_offsets_that_point_elsewhere(offsets, tmp_path):
    """They are refused, unless they stay within the ids; pyarrow itself wouldn't write them."""
    stored(tmp_path, [[1, 2], [3], [4, 5]])
    good, bad = (np.array(numbers, "<i8").tobytes() for numbers in ([0, 2, 3, 5], offsets))
    whole = (tmp_path / "rows.arrow").read_bytes()
    assert whole.count(good) == 1
    (tmp_path / "rows.arrow").write_bytes(whole.replace(good, bad))
    store = TokenStore(tmp_path, "rows", 60_000)
    if offsets == [1, 2, 3, 5]:
        ids, bounds = store.read([0])
        assert (ids.tolist(), bounds.tolist()) == ([2, 3, 4, 5], [0, 1, 2, 4])
        return
    with pytest.raises(JobError, match=r"can't be read"):
        store.read([0])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [([[1, 60_001]], r"not in 1..60000"), ([[0, 1]], r"not in 1..60000"), ([[1, None]], r"can't be read")],
)
def test_ids_that_no_embedding_has_are_refused(rows, reason, tmp_path):
    """Ids above the vocabulary, 0 and null are refused; a null row is an empty one."""
    schema = pa.schema([("tokens", pa.large_list(pa.uint16()))])
    for number, content in enumerate(([[1, 2], None, [3]], rows)):
        with pa.OSFile(str(tmp_path / f"{number}.arrow"), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.record_batch([pa.array(content, schema.field(0).type)], schema=schema))
    assert TokenStore(tmp_path, "0", 60_000).read([0])[1].tolist() == [0, 2, 2, 3]
    with pytest.raises(JobError, match=reason):
        TokenStore(tmp_path, "1", 60_000).read([0])


def test_a_directory_that_is_not_there(tmp_path):
    """The error names it."""
    with pytest.raises(TransientError, match="none: the corpus's token ids can't be written there"):
        TokenStoreWriter(tmp_path / "none", "rows", 9)
