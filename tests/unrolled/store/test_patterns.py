"""The paths that a pattern matches."""

import os
import re
from contextlib import nullcontext
from glob import glob
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.store.patterns import HIDDEN, matching_paths

NAMES = ["a", "b", "ab", ".a", "[a]", "a.txt", "b.txt"]
STEPS = ["a", "b", "*", "**", "?", "a*", "*.txt", ".*", "[ab]", ".", ""]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Three levels of directories, with files, and a link to a file."""
    top = tmp_path_factory.mktemp("tree")
    for one in NAMES[:4]:
        for two in NAMES[:5]:
            (top / one / two).mkdir(parents=True)
            for three in NAMES:
                (top / one / two / three).write_text("")
    (top / "b.txt").symlink_to("a/b/a.txt")
    return top


@given(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=5), is_absolute=st.booleans())
def test_a_pattern_matches_what_glob_does(tree, steps, is_absolute):
    """In a tree without circles and names with an underscore, it finds the same paths, spelt alike."""
    pattern = "/".join([str(tree) if is_absolute else ".", *steps])
    before = Path.cwd()
    os.chdir(tree)
    try:
        expected = glob(pattern, recursive=True)  # noqa: PTH207 - the comparison
        expected = [path for path in expected if not path.endswith("/") or Path(path).is_dir()]  # which it calls files
        found = matching_paths(pattern)
    finally:
        os.chdir(before)
    assert found == sorted(set(found))
    plain = [{re.sub("/+", "/", path).removesuffix("/") for path in paths} for paths in (found, expected)]
    assert plain[0] == plain[1]


def test_private_names(tmp_path):
    """Of other programs' unfinished files none is found, unless the pattern spells how their names begin."""
    for name in ("a.txt", "_b.txt", "_temporary/c.txt", ".d/e.txt", "f/_SUCCESS", "f/g.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    def found(pattern):
        return [os.path.relpath(path, tmp_path) for path in matching_paths(f"{tmp_path}/{pattern}")]

    assert found("**/*.txt") == ["a.txt", "f/g.txt"]
    assert found("**") == [".", "a.txt", "f", "f/g.txt"]
    assert found("*") == ["a.txt", "f"]
    assert found("_*/*") == ["_temporary/c.txt"]
    assert found("**/_*") == ["_b.txt", "_temporary", "f/_SUCCESS"]
    assert found("_temporary/*.txt") == ["_temporary/c.txt"]
    assert found("[_a]*") == ["a.txt"]


def test_links_in_circles(tmp_path):
    """A directory is gone through once, by its first path."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_text("")
    for link in ("1", "2", "3"):
        (tmp_path / "a" / link).symlink_to(tmp_path)
        (tmp_path / "a" / "b" / link).symlink_to("..")
    assert matching_paths(f"{tmp_path}/**/x") == [f"{tmp_path}/a/b/x"]


@pytest.mark.parametrize("refused", ["listdir", "lstat", "stat"])
@pytest.mark.parametrize("pattern", ["**/*.txt", "*/*.txt", "a/*", "*/f.txt"])
def test_what_may_not_be_looked_at_is_an_error(tmp_path, monkeypatch, refused, pattern):
    """Files would be left out in silence. A directory may be readable and not searchable, or the other way round."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f.txt").write_text("")
    usual = getattr(os, refused)

    def refuse(path, *arguments, **options):  # root may look at everything
        if str(path).startswith(f"{tmp_path}/a") and (refused == "listdir" or str(path).endswith("f.txt")):
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path, *arguments, **options)

    monkeypatch.setattr(os, refused, refuse)
    needs = {"listdir": pattern != "*/f.txt", "lstat": True, "stat": pattern == "**/*.txt"}
    with pytest.raises(PermissionError) if needs[refused] else nullcontext():
        assert matching_paths(f"{tmp_path}/{pattern}") == [f"{tmp_path}/a/f.txt"]


def test_other_names_that_are_left_out(tmp_path):
    """A reader's pattern finds a job whatever its directory's name is, but for hidden ones."""
    for name in ("_a", ".b", "c"):
        (tmp_path / name).mkdir()
    assert matching_paths(f"{tmp_path}/*", HIDDEN) == [f"{tmp_path}/_a", f"{tmp_path}/c"]
