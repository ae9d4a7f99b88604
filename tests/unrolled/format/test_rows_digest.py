"""The digest of a shard's rows."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from support.ragged_rows import ragged

from unrolled.format.rows_digest import RowsDigest, rows_digest

rows = st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.integers(0, 3))))


def digest_of(pairs):
    return rows_digest([row_id for row_id, _ in pairs], ragged([tokens for _, tokens in pairs]))


def shape(pairs):
    return [(row_id, [token != 0 for token in tokens]) for row_id, tokens in pairs]


@given(rows, st.lists(st.integers(0, 20), max_size=3))
def test_portions_do_not_count(pairs, cuts):
    """Rows may be added in any portions, because row groups are the writer's choice."""
    digest = RowsDigest()
    bounds = sorted({0, len(pairs), *(cut for cut in cuts if cut < len(pairs))})
    for start, stop in pairwise(bounds):
        tokens = ragged([row for _, row in pairs[start:stop]])
        digest.update([row_id for row_id, _ in pairs[start:stop]], tokens.lengths, tokens.values != 0)
    assert digest.hexdigest() == digest_of(pairs)


@given(rows, rows)
def test_other_rows_have_another_digest(one, other):
    """Digests are equal if ids and masks are equal and in one order, whatever the ids of the real tokens are."""
    assert (digest_of(one) == digest_of(other)) == (shape(one) == shape(other))


def test_borders_between_rows_count():
    """The same letters and bits, divided differently, are other rows."""
    assert digest_of([("ab", [1, 0]), ("c", [1])]) != digest_of([("a", [1, 0]), ("bc", [1])])
    assert digest_of([("a", [1, 0]), ("b", [1])]) != digest_of([("a", [1]), ("b", [0, 1])])


def test_the_digest_is_fixed():
    """Logs contain the digest, so a release must not change it."""
    assert digest_of([("a", [5, 0, 7]), ("ä#1", [])]) == "6f92935cab6f5a404a6a016630b9ef9f"
