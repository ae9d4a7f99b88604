"""Names that producer and workers agree on, and messages that anybody may have sent."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import PayloadError
from unrolled.queue.messages import NAMESPACE, is_member, member_of, parse_member, queue_name, transport_options

KEY, SHARD = "0123456789abcdef", "000042-0123456789ab"
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_round_trip():
    """A message's two values make the ledger's name, and nothing else does."""
    assert parse_member(KEY, SHARD) == member_of(KEY, SHARD) == f"{KEY}/{SHARD}"
    assert is_member(f"{KEY}/{SHARD}")


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
    with pytest.raises(PayloadError) as caught:
        parse_member(key, shard)
    assert len(str(caught.value)) < 1000
    assert not is_member(f"{key}/{shard}")


@settings(deadline=None)
@given(ANYTHING, ANYTHING)
def test_anything(key, shard):
    """Whatever JSON brings is a member or a PayloadError."""
    try:
        member = parse_member(key, shard)
    except PayloadError:
        return
    assert re.fullmatch(r"[0-9a-f]{16}/[0-9]{6,12}-[0-9a-f]{12}", member)


@settings(deadline=None)
@given(st.text(alphabet="0123456789abcdef-/.", max_size=40))
def test_is_member(text):
    """Only a text that parses into a member and back is one."""
    assert is_member(text) == bool(re.fullmatch(r"[0-9a-f]{16}/([0-9]{6}|[1-9][0-9]{6,11})-[0-9a-f]{12}", text))


def test_queue_and_keys():
    """A queue carries its model's name; every key of kombu's begins with the namespace."""
    assert queue_name("ab" * 32) == "shards.abababababab"
    assert transport_options("unrolled") == {"global_keyprefix": "unrolled:", "priority_steps": [0]}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("unrolled", True),
        ("a-1_b", True),
        ("", False),
        ("A", False),
        ("a:b", False),
        ("*", False),
        ("a" * 33, False),
    ],
)
def test_namespace(text, fits):
    """A namespace can't hold what means something in a key or a pattern."""
    assert bool(NAMESPACE.fullmatch(text)) is fits
