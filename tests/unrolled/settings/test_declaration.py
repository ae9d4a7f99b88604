"""Options that are declared once: checks, and the way through the environment and back."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import OptionError
from unrolled.settings.declaration import (
    check,
    declared,
    flag_of,
    from_environ,
    kind_of,
    option,
    to_environ,
    variable_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """One option of each kind."""

    share: float = option(0.5, "A share.", above=0, below=1)
    name: str = option(help="A name.")
    way: str = option("fast", "A way.", choices=("fast", "slow"))
    threads: int | None = option(None, "Threads.", least=1, most=8, unset="all cores")
    weight: float = option(1.0, "A weight.", above=0, most=2)
    place: Path | None = option(None, "A place.")
    twice: bool = option(default=False, help="A switch.")

    def __post_init__(self):
        check(self)


def test_required_options_come_first():
    """In a help text too; the others keep their order."""
    assert list(declared(Sizes)) == ["name", "share", "way", "threads", "weight", "place", "twice"]
    assert {name: kind_of(field) for name, (field, _) in declared(Sizes).items()} == {
        "name": str, "share": float, "way": str, "threads": int, "weight": float, "place": Path, "twice": bool,
    }  # fmt: skip


def test_names_follow_from_the_field():
    """The flag and the variable."""
    assert (flag_of("lease_seconds"), variable_of("lease_seconds")) == ("--lease-seconds", "UNROLLED_LEASE_SECONDS")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"share": 0.0}, "--share is 0.0; allowed: above 0, below 1"),
        ({"share": 1.0}, "--share is 1.0; allowed: above 0, below 1"),
        ({"share": float("nan")}, "--share is nan; allowed: above 0, below 1"),
        ({"way": "odd"}, "--way is odd; allowed: fast or slow"),
        ({"threads": 0}, "--threads is 0; allowed: 1 to 8"),
        ({"threads": 9}, "--threads is 9; allowed: 1 to 8"),
        ({"weight": 2.5}, "--weight is 2.5; allowed: above 0, up to 2"),
    ],
)
def test_a_value_out_of_its_range(changes, text):
    """The error names the flag, the value and what is allowed."""
    with pytest.raises(OptionError) as caught:
        Sizes(name="x", **changes)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({}, "UNROLLED_NAME is not set; it is needed: A name."),
        ({"UNROLLED_NAME": ""}, "UNROLLED_NAME is not set; it is needed: A name."),
        ({"UNROLLED_NAME": "x", "UNROLLED_THREADS": "lots"}, "UNROLLED_THREADS: 'lots' is not a whole number"),
        ({"UNROLLED_NAME": "x", "UNROLLED_SHARE": "half"}, "UNROLLED_SHARE: 'half' is not a number"),
        ({"UNROLLED_NAME": "x", "UNROLLED_THREADS": "9"}, "--threads is 9; allowed: 1 to 8"),
        (
            {"UNROLLED_NAME": "x", "UNROLLED_TWICE": "perhaps"},
            "UNROLLED_TWICE: 'perhaps' is not 1 or true or yes or on or 0 or false or no or off",
        ),
    ],
)
def test_a_variable_that_can_not_be_used(environ, text):
    """The error names the variable."""
    with pytest.raises(OptionError) as caught:
        from_environ(Sizes, environ)
    assert str(caught.value) == text


def test_an_empty_variable_is_none():
    """Compose files pass a variable on that is not set as an empty one."""
    assert from_environ(Sizes, {"UNROLLED_NAME": "x", "UNROLLED_THREADS": "", "OTHER": "y"}) == Sizes(name="x")


@given(
    st.builds(
        Sizes,
        name=st.text(min_size=1),
        share=st.floats(0, 1, exclude_min=True, exclude_max=True),
        way=st.sampled_from(["fast", "slow"]),
        threads=st.none() | st.integers(1, 8),
        weight=st.floats(0, 2, exclude_min=True),
        place=st.none() | st.just(Path("/data")),
        twice=st.booleans(),
    )
)
def test_options_come_back_from_their_variables(sizes):
    """Every value survives the way to another process."""
    assert from_environ(Sizes, to_environ(sizes)) == sizes
