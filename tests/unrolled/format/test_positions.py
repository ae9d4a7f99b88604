"""The tokens of a row whose vectors are stored."""

import contextlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ragged_rows import ragged

from unrolled.errors import OptionError, RequestError
from unrolled.format.positions import Positions, parse_positions

BLANKS = (1, 4)
FORWARD, BACKWARD, BOTH = (
    Positions("word-ends", blanks=BLANKS, direction=direction) for direction in ("forward", "backward", "bidirectional")
)
rows_of_ids = st.lists(st.lists(st.integers(1, 5), max_size=12), max_size=8)


def chosen(rule, lists):
    """For each row the numbers of the chosen tokens."""
    rows = ragged(lists)
    found = rule.chosen(rows)
    return [np.flatnonzero(found[a:b]).tolist() for a, b in zip(rows.offsets[:-1], rows.offsets[1:], strict=True)]


def words(row):
    """(begin, end) of each run of letters."""
    text = "".join(" " if one in BLANKS else "x" for one in row)
    return [match.span() for match in re.finditer("x+", text)]


@given(rows_of_ids)
def test_one_vector_for_each_word(lists):
    """It is at the blank after the word in the order of reading, or at the word's last letter if the row ends there."""
    assert chosen(FORWARD, lists) == [
        [end if end < len(row) else end - 1 for _, end in words(row)] for row in lists
    ]  # fmt: skip
    assert chosen(BACKWARD, lists) == [[max(begin - 1, 0) for begin, _ in words(row)] for row in lists]


@given(rows_of_ids)
def test_words_that_are_read_from_both_ends(lists):
    """The first half of a vector is from where a forward model has read the word, the second from the other end."""
    rows = ragged(lists)
    vectors = np.random.default_rng(0).random((len(rows.values), 6), np.float32)
    ahead, back = (rule.choose(rows, vectors) for rule in (FORWARD, BACKWARD))
    both = BOTH.choose(rows, vectors)
    np.testing.assert_array_equal(both, np.hstack([ahead[:, :3], back[:, 3:]]))
    assert chosen(BOTH, lists) == chosen(FORWARD, lists)
    np.testing.assert_array_equal(ahead, vectors[FORWARD.chosen(rows)])


@given(rows_of_ids, st.integers(1, 14))
def test_every_and_last(lists, count):
    """Counted from the row's first token; the last ones of a short row are all of it."""
    numbers = [range(len(row)) for row in lists]
    assert chosen(Positions("every", count), lists) == [[n for n in row if (n + 1) % count == 0] for row in numbers]
    assert chosen(Positions("last", count), lists) == [list(row)[-count:] for row in numbers]


@pytest.mark.parametrize(
    ("text", "named"),
    [("all", ("all", None)), ("word-ends", ("word-ends", None)), ("every:5", ("every", 5)), ("last:1", ("last", 1))],
)
def test_rules_as_users_name_them(text, named):
    """A rule's text is what `str` gives."""
    assert parse_positions(text) == named
    if named[1]:
        assert str(Positions(*named)) == text


@pytest.mark.parametrize(
    "text", ["", "every", "every:0", "every:-1", "last:1.5", "last:99999999999", "words", "every:2 "]
)
def test_another_text_is_refused(text):
    """The error lists the rules."""
    with pytest.raises(OptionError, match="every:N or last:K, with a number from 1 to 2,147,483,647"):
        parse_positions(text)


@pytest.mark.parametrize("rule", [FORWARD, BACKWARD, BOTH, Positions("every", 3), Positions("last", 1)])
def test_json_keeps_a_rule(rule):
    """job.json and the metadata of a part contain it."""
    assert Positions.from_json(rule.to_json()) == rule


_VALUES = st.none() | st.booleans() | st.integers() | st.sampled_from(["word-ends", "every", "last", "forward"])
_LISTS = st.lists(st.integers(-1, 3) | st.booleans(), max_size=3)
_NAMES = st.sampled_from(["rule", "count", "blanks", "direction", "x"])


@given(st.dictionaries(_NAMES, _VALUES | _LISTS) | st.none() | st.integers() | st.text(max_size=3))
def test_hostile_json_is_read_or_refused(found):
    """A rule that was read can be applied."""
    with contextlib.suppress(RequestError):
        Positions.from_json(found).chosen(ragged([[1, 2, 3], []]))
