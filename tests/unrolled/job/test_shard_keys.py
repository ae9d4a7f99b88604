"""Shards in the names of a folder, thousands at a time."""

from hypothesis import given
from hypothesis import strategies as st

from unrolled.job import names
from unrolled.job.shard_id import ShardId
from unrolled.job.shard_keys import FIRST_RETRY, key_of, parse_names, shard_of

SHARDS = st.builds(
    ShardId,
    st.one_of(st.integers(0, 10**6), st.integers(0, 10**12 - 1)),
    st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
    st.sampled_from([0, 0, 0, 1, 2, 64]),
)
#: A change of a name, by which it mostly is no shard's any more.
CHANGES = st.tuples(st.integers(0, 60), st.sampled_from(["", "x", "0", "F", "é", "r", "-", "/", "\ud800", "\n"]))


@given(SHARDS)
def test_a_key_leads_back_to_its_shard(shard):
    """And says whether it is one of the input."""
    assert shard_of(*key_of(shard)) == shard
    assert (key_of(shard)[1] < FIRST_RETRY) == (shard.retries == 0)


@given(
    st.lists(SHARDS, max_size=6),
    st.lists(st.tuples(SHARDS, CHANGES), max_size=6),
    st.booleans(),
    st.sampled_from([1, 40]),
)
def test_names_are_read_as_one_by_one(shards, changed, is_part, repeated):
    """Whatever stands between them, and however long the numbers are."""
    form, named, read = ("part-", ".parquet"), names.part_object, names.parts_in
    if not is_part:
        form, named, read = (f"{names.ROWS}/", ".rows"), names.rows_object, names.shards_in
    found = [named(shard) for shard in shards]
    for shard, (place, text) in changed:
        found.append(named(shard)[:place] + text + named(shard)[place + 1 :])
    found *= repeated
    keys, others = parse_names(found, *form)
    one_by_one = {name: next(read([name])) for name in found if list(read([name])) and name.startswith(form[0])}
    one_by_one = {name: shard for name, shard in one_by_one.items() if name.endswith(form[1])}
    assert sorted(shard_of(*key) for key in keys.tolist()) == sorted(one_by_one[n] for n in found if n in one_by_one)
    assert sorted(others) == sorted(name for name in found if name not in one_by_one)
