"""The inputs of a job, by their names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.job.inputs import Inputs

NAMES = st.lists(st.text(max_size=4), max_size=12)


@given(NAMES, NAMES)
def test_inputs_go_on_where_the_names_do(first, second):
    """Whether the earlier names are known by their digest alone, as in an object."""
    earlier, later = Inputs.from_json(Inputs.named(first).to_json()), Inputs.named(second)
    assert later.continues(earlier) == (second[: len(first)] == first)
    assert Inputs.named([*first, *second]).continues(earlier)


def test_a_digest_of_names_joined_otherwise_is_another():
    """No separator in a name makes it two names."""
    assert Inputs.named(["a, b"]) != Inputs.named(["a", "b"])


@pytest.mark.parametrize("count", [-1, True, "1", None])
def test_counts_are_checked(count):
    """Segments and job.json are hostile until checked."""
    with pytest.raises(TypeError, match="a count is expected"):
        Inputs.from_json(Inputs.named(["a"]).to_json() | {"count": count})


@pytest.mark.parametrize(
    ("mine", "asked", "said"),
    [
        ("ab", "a", "a, b; this command asks for a"),
        (
            "abcde",
            "abcdf",
            "a, b, c and 2 more; this command asks for a, b, c and 2 more; the 5th is e, and this command asks for f",
        ),
        ("abcd", "abcde", "a, b, c and 1 more; this command asks for a, b, c and 2 more"),
        ("abx", "abc", "a, b, x; this command asks for a, b, c"),
        (
            "abcdefghi",
            "abcdefghj",
            "a, b, c and 6 more; this command asks for a, b, c and 6 more; they differ in what isn't shown",
        ),
    ],
)
def test_what_differs_is_shown(mine, asked, said):
    """Also where it isn't among the first names; of those of an object, only a few are known."""
    assert Inputs.from_json(Inputs.named(mine).to_json()).beside(Inputs.named(asked)) == said
