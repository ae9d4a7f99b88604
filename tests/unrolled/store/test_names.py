"""Names of objects, which are hostile until checked."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import RequestError
from unrolled.store.names import check_folder, check_name, check_own_name, folder_of

pieces = st.sampled_from(["", ".", "..", "/", "a", "part-0.parquet", "\0", "\n", "\udc80", " ", "~", "ä", "-", "%2e"])
hostile = st.lists(pieces, max_size=8).map("".join) | st.text(max_size=30)


def is_taken(check, name):
    try:
        check(name)
    except RequestError:
        return False
    return True


@given(hostile)
def test_what_is_taken_stays_inside(name):
    """It has as many steps as slashes say, and none leads up; ours are a part of what may be read."""
    if is_taken(check_name, name):
        path = PurePosixPath("/store") / name
        assert path.parts == ("/", "store", *name.split("/"))
        assert ".." not in path.parts
        assert name.encode().decode() == name
    if is_taken(check_own_name, name):
        assert is_taken(check_name, name)
        assert not any(step.startswith(".") for step in name.split("/"))


@pytest.mark.parametrize("check", [check_name, check_own_name])
def test_the_longest_names(check):
    """A step to which a hidden file's ending is added, and a name in a bucket with a prefix."""
    longest = 180 if check is check_own_name else 255
    assert is_taken(check, "x" * longest)
    assert not is_taken(check, "x" * (longest + 1))
    assert is_taken(check, "/".join(["x" * 99] * 9))
    assert not is_taken(check, "/".join(["x" * 99] * 9) + "x" * 2)


def test_the_text_of_a_refusal_is_short():
    """However long the name is, and plain whatever is in it."""
    with pytest.raises(RequestError) as caught:
        check_own_name("\x1b[31m\n" * 1_000_000)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_folders():
    """The top of a store is one, and has no name."""
    check_folder("")
    assert [folder_of(name) for name in ("a", "f/a", "f/g/a")] == ["", "f", "f/g"]
    with pytest.raises(RequestError):
        check_folder("../x")
