"""Segments of a job's log: every bit of one is checked, for anybody who may write to the store may have written it."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import JobError
from unrolled.job.inputs import Inputs
from unrolled.job.names import Life
from unrolled.job.segment import MOST_BYTES, MOST_ENTRIES, Entry, Segment
from unrolled.job.shard_id import ShardId

COUNTS = st.integers(0, 2**32 - 1)
HASHES, INDICES = st.from_regex(r"[0-9a-f]{12}", fullmatch=True), st.integers(0, 10**12 - 1)
SHARDS = st.builds(ShardId, INDICES, HASHES, st.integers(0, 64))


def entries(*, retried):
    """Entries of the input, or of a retry: with the index of its source, and one retry more."""
    made = st.builds(
        Entry, st.builds(ShardId, INDICES, HASHES), COUNTS, COUNTS, COUNTS, COUNTS,
        st.from_regex(r"[0-9a-f]{32}", fullmatch=True), st.none(), st.text(st.characters(exclude_categories=["Cs"])),
        st.integers(0, 2**63 - 1),
    )  # fmt: skip
    return st.builds(_as_retry, made, HASHES, st.integers(0, 63)) if retried else made


def _as_retry(entry, hashed, retries):
    source = ShardId(entry.shard.index, hashed, retries)
    return entry._replace(shard=ShardId(entry.shard.index, entry.shard.hash, retries + 1), source=source)


SEGMENTS = st.one_of(
    st.builds(Segment, st.just("shards"), st.lists(entries(retried=False), max_size=3).map(tuple)),
    st.builds(
        Segment,
        st.just("retry"),
        st.lists(entries(retried=True), max_size=3).map(tuple),
        st.dictionaries(SHARDS, st.integers(1, 9), max_size=3).map(
            lambda lives: tuple(Life(shard, number) for shard, number in lives.items())
        ),
    ),
    st.builds(Segment, st.just("begin"), run=st.from_regex(r"[0-9a-f]{16}", fullmatch=True)),
    st.builds(Segment, st.just("append"), inputs=st.lists(st.text(max_size=9), max_size=9).map(Inputs.named)),
    st.sampled_from(["end", "cancel", "resume", "discard"]).map(Segment),
)


@given(SEGMENTS)
def test_what_is_written_is_read(segment):
    """Any segment is read as it was written, and always has the same bytes."""
    assert Segment.decode("000000.jsonl", segment.encode()) == segment
    assert Segment.decode("000000.jsonl", segment.encode()).encode() == segment.encode()


ENTRY = Entry(ShardId(3, "0123456789ab"), 2, 5, 6, 0, "00" * 16, None, "a.txt", 7)
SOUND = Segment("shards", (ENTRY,)).encode()


def changed(number, **values):
    """The bytes of a sound segment with values of one line changed, or left out where they are None."""
    lines = [json.loads(line) for line in SOUND.splitlines()]
    lines[number] |= values
    for name in [name for name, value in values.items() if value is None and name != "source"]:
        del lines[number][name]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a segment of a job's log: it lacks 'format_version'"),
        (b"\xff", "not a segment"),
        (b"[]\n", "not a segment"),
        (b"[" * 100_000, "not a segment"),
        (SOUND[:-30], "not a segment"),
        (SOUND.splitlines()[0], "0 entries follow a head that counts 1"),
        (changed(0, segment=None), "it lacks 'segment'"),
        (changed(0, format_version=2), "format version 2; this release reads 1"),
        (changed(0, segment="delete"), "segment is delete; allowed: shards, end"),
        (changed(0, segment="cancel"), "a segment of kind cancel has entries"),
        (changed(0, segment="retry"), "source doesn't fit"),
        (changed(0, run="0" * 16), "belongs to a begin"),
        (changed(0, inputs=Inputs.named(["a"]).to_json()), "inputs belong to an append"),
        (changed(0, segment="append"), "a segment of kind append has entries"),
        (b'{"format_version": 1, "segment": "append", "entries": 0}', "inputs belong to an append"),
        (changed(0, inputs=3), "not a segment"),
        (changed(0, inputs={"digest": "x", "count": 1, "first": []}), "64 hexadecimal digits are expected"),
        (changed(0, inputs={"digest": "0" * 64, "count": -1, "first": []}), "a count is expected"),
        (changed(0, lives={"000003-0123456789ab": 1}), "belong to a retry"),
        (changed(1, rows=-1), "rows is -1; a count is expected"),
        (changed(1, rows=True), "rows is True; a count is expected"),
        (changed(1, tokens=2**32), "a count is expected"),
        (changed(1, position=2**63), "a count is expected"),
        (changed(1, shard="000003r-0123456789ab"), "the source of 000003r-0123456789ab is None; that of a retry has"),
        (changed(1, source="000004-0123456789ab"), "the source of 000003-0123456789ab is 000004-0123456789ab"),
        (changed(1, shard="../../etc/passwd"), "shard id"),
        (changed(1, shard=3), "a text is expected"),
        (changed(1, digest="x"), "32 hexadecimal digits"),
        (changed(1, file=3), "a text is expected"),
        (changed(1, file=None), "has or lacks file"),
        (changed(1, more=1), "has or lacks more"),
        (Segment("shards", (ENTRY,) * (MOST_ENTRIES + 1)).encode(), "1,001 entries; at most 1,000 are allowed"),
        (SOUND + b" " * MOST_BYTES, "at most 33,554,432 are a segment's"),
    ],
)
def test_what_is_no_segment_is_refused(content, reason):
    """The text names the object, what was found, and what to do."""
    with pytest.raises(JobError, match=reason) as refused:
        Segment.decode("OUT/_unrolled/log/000000.jsonl", content)
    assert "OUT/_unrolled/log/000000.jsonl" in str(refused.value)


def test_the_largest_segment_that_a_producer_writes_is_read():
    """Its shards' files have names as long as a path may be, of characters that JSON writes in six."""
    largest = Segment("shards", (ENTRY._replace(file="\x01" * 4096),) * MOST_ENTRIES)
    assert Segment.decode("000000.jsonl", largest.encode()) == largest


@given(st.data())
def test_no_flipped_bit_makes_another_kind_of_error(data):
    """A damaged segment is refused, or says something else that is well formed; nothing else is raised."""
    content = bytearray(SOUND)
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(JobError):
        Segment.decode("000000.jsonl", bytes(content))
