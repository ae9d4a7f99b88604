"""The ledger's name of a life of a shard, and messages that anybody may have sent."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import PayloadError
from unrolled.job.names import Life
from unrolled.job.shard_id import ShardId
from unrolled.queue.member import Member

KEY, LIFE = "0123456789abcdef", "000042rr-0123456789ab.3"
MEMBER = Member(KEY, Life(ShardId(42, "0123456789ab", 2), 3))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_round_trip():
    """A member leads to its text and to its message's values, and both lead back to it."""
    assert str(MEMBER) == f"{KEY}/{LIFE}"
    assert Member.parse(str(MEMBER)) == MEMBER
    assert MEMBER.encode() == [KEY, LIFE]
    assert Member.decode(MEMBER.encode()) == MEMBER
    assert MEMBER.shard == MEMBER.life.shard


def test_a_member_is_no_mark():
    """A job's mark is in the same set as its shards, under the job's key alone: no member is spelled like that."""
    with pytest.raises(PayloadError, match="two are expected"):
        Member.parse(KEY)


@pytest.mark.parametrize(
    ("key", "life"),
    [
        (KEY, "../../etc/passwd"),
        (KEY, "000042-0123456789ab"),
        (KEY, "000042-0123456789ab.0/../x"),
        (KEY, "000042-0123456789ab.00"),
        (KEY, "000042-0123456789ab.-1"),
        (KEY, "000042-0123456789ab.1e9"),
        (KEY, "000042-0123456789ab.1000000000"),
        (KEY, "000042-0123456789ab.0\n"),
        (KEY, "0000042-0123456789ab.0"),
        (KEY, "٠٠٠٠٤٢-0123456789ab.0"),
        (KEY, "000042-0123456789ab.\u0660"),
        (KEY, ["000042-0123456789ab.0"]),
        (KEY, "\ud800" * 100),
        (KEY.upper(), LIFE),
        (KEY + "\n", LIFE),
        (KEY + "0", LIFE),
        (None, LIFE),
        ({"a": 1}, LIFE),
    ],
)
def test_hostile(key, life):
    """What names no life of a shard is refused; the text repeats at most the beginning of it."""
    for refused in (lambda: Member.decode([key, life]), lambda: Member.parse(f"{key}/{life}")):
        with pytest.raises(PayloadError) as caught:
            refused()
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("values", [[], [KEY], [KEY, LIFE, LIFE]])
def test_other_numbers_of_values(values):
    """A message has two values."""
    with pytest.raises(PayloadError, match=f"{len(values)} value"):
        Member.decode(values)


@settings(deadline=None)
@given(ANYTHING, ANYTHING)
def test_anything(key, life):
    """Any JSON value gives a member or a PayloadError."""
    try:
        member = Member.decode([key, life])
    except PayloadError:
        return
    assert re.fullmatch(r"[0-9a-f]{16}/[0-9]{6,12}r*-[0-9a-f]{12}\.[0-9]+", str(member))


@settings(deadline=None)
@given(
    st.text(alphabet="0123456789abcdefr-/.", max_size=40)
    | st.from_regex(r"[0-9a-f]{16}/[0-9]{5,13}r{0,2}-[0-9a-f]{12}\.[0-9]{1,10}", fullmatch=True)
)
def test_only_the_one_spelling_is_a_member(text):
    """A text that is read gives that text again."""
    life = r"([0-9]{6}|[1-9][0-9]{6,11})r{0,64}-[0-9a-f]{12}\.(0|[1-9][0-9]{0,8})"
    known = bool(re.fullmatch(rf"[0-9a-f]{{16}}/{life}", text))
    try:
        assert str(Member.parse(text)) == text
    except PayloadError:
        assert not known
    else:
        assert known
