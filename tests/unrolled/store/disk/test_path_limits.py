"""Paths that no directory can have."""

import pytest

from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs
from unrolled.errors import OptionError, RequestError
from unrolled.store.disk.path_limits import refuse_impossible

WHY = (
    r"its ~ isn't the home directory here, because the shell takes it so only at a word's beginning: write \$HOME/in/a"
)


def test_a_home_that_the_shell_has_left_is_refused(tmp_path, monkeypatch):
    """As in --out=~/out: a directory of that name would be made; one that is there may be meant."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=rf"^~/in/a: {WHY}$"):
        refuse_impossible("~/in/a")
    for given, what in (("~/in/a", "no such file or directory"), ("~/in/a*", "no file matches this pattern")):
        with pytest.raises(RequestError, match=rf"{what}; {WHY}"):
            check_inputs([given], SourceOptions())
    for place in ("./~/in/a", "~user", "a~/b"):
        refuse_impossible(place)
    (tmp_path / "~").mkdir()
    refuse_impossible("~/in/a")
