"""The ledger's name of a shard, and messages that anybody may have sent."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import PayloadError
from unrolled.job.shard_id import ShardId
from unrolled.queue.member import Member

KEY, SHARD = "0123456789abcdef", "000042-0123456789ab"
MEMBER = Member(KEY, ShardId(42, "0123456789ab"))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_round_trip():
    """A member leads to its text and to its message's values, and both lead back to it."""
    assert str(MEMBER) == f"{KEY}/{SHARD}"
    assert Member.parse(str(MEMBER)) == MEMBER
    assert MEMBER.encode() == [KEY, SHARD]
    assert Member.decode(MEMBER.encode()) == MEMBER


@pytest.mark.parametrize(
    ("key", "shard"),
    [
        (KEY, "../../etc/passwd"),
        (KEY, "000042-0123456789ab/../x"),
        (KEY, "000042-0123456789ab\n"),
        (KEY, "0000042-0123456789ab"),
        (KEY, "٠٠٠٠٤٢-0123456789ab"),
        (KEY, ["000042-0123456789ab"]),
        (KEY, "\ud800" * 100),
        (KEY.upper(), SHARD),
        (KEY + "\n", SHARD),
        (KEY + "0", SHARD),
        (None, SHARD),
        ({"a": 1}, SHARD),
    ],
)
def test_hostile(key, shard):
    """What names no shard is refused; the text repeats at most the beginning of it."""
    for refused in (lambda: Member.decode([key, shard]), lambda: Member.parse(f"{key}/{shard}")):
        with pytest.raises(PayloadError) as caught:
            refused()
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("values", [[], [KEY], [KEY, SHARD, SHARD]])
def test_other_numbers_of_values(values):
    """A message has two values."""
    with pytest.raises(PayloadError, match=f"{len(values)} value"):
        Member.decode(values)


@settings(deadline=None)
@given(ANYTHING, ANYTHING)
def test_anything(key, shard):
    """Whatever JSON brings is a member or a PayloadError."""
    try:
        member = Member.decode([key, shard])
    except PayloadError:
        return
    assert re.fullmatch(r"[0-9a-f]{16}/[0-9]{6,12}-[0-9a-f]{12}", str(member))


@settings(deadline=None)
@given(st.text(alphabet="0123456789abcdef-/.", max_size=40))
def test_only_the_one_spelling_is_a_member(text):
    """A text that is read gives that text again."""
    known = bool(re.fullmatch(r"[0-9a-f]{16}/([0-9]{6}|[1-9][0-9]{6,11})-[0-9a-f]{12}", text))
    try:
        assert str(Member.parse(text)) == text
    except PayloadError:
        assert not known
    else:
        assert known
