"""What a worker refuses before it starts."""

import pytest

from unrolled.errors import OptionError
from worker.cli.worker import worker


@pytest.mark.parametrize(
    ("option", "name", "found"),
    [
        ("--output-root", "absent", "does not exist"),
        ("--output-root", "file", "is not a directory"),
        ("--health-file", "absent/health", "its directory doesn't exist"),
        ("--health-file", "folder", "is a directory"),
    ],
)
def test_a_place_that_cannot_serve(tmp_path, option, name, found):
    """A supervisor would kill a worker again and again that can't touch its health file."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    words = ["--broker", "redis://h", "--model", "m", option, str(tmp_path / name)]
    with pytest.raises(OptionError, match=rf"^{option} .*{name}: {found}; name "):
        worker.main(words, standalone_mode=False)
