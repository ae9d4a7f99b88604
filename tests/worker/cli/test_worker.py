"""What a worker refuses before it starts."""

import os

import pytest

from unrolled.errors import OptionError
from unrolled.telemetry import health_file
from unrolled.telemetry.health_file import HealthFile, check_health_file
from worker.cli.worker import worker


@pytest.mark.parametrize(
    ("option", "name", "found"),
    [
        ("--output-root", "absent", "does not exist"),
        ("--output-root", "file", "is not a directory"),
        ("--health-file", "absent/health", "its directory doesn't exist"),
        ("--health-file", "folder", "is a directory"),
        ("--health-file", "rows.jsonl", "exists, and no worker has written it"),
        ("--health-file", "pipe", "is a pipe, a socket or a device, and no file"),
    ],
)
def test_a_place_that_cannot_serve(tmp_path, option, name, found):
    """A supervisor would kill a worker again and again that can't touch its health file."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "rows.jsonl").write_text('{"id": "a"}\n')
    words = ["--broker", "redis://h", "--model", "m", option, str(tmp_path / name)]
    with pytest.raises(OptionError, match=rf"^{option} .*{name}: {found}; name "):
        worker.main(words, standalone_mode=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="machine: root may write anywhere")
@pytest.mark.parametrize(("name", "found"), [("new", "write in its directory"), ("file", "write it")])
def test_a_health_file_that_this_user_may_not_write(tmp_path, name, found):
    (tmp_path / "file").touch(mode=0o444)
    tmp_path.chmod(0o555)
    with pytest.raises(OptionError, match=f"{name}: this user may not {found}; name a new file in a directory that"):
        check_health_file(tmp_path / name)


def test_a_health_file_that_is_a_link_to_itself_is_no_crash(tmp_path):
    """The worker's log says that it can't be written."""
    (tmp_path / "loop").symlink_to("loop")
    check_health_file(tmp_path / "loop")


def test_a_health_file_that_is_a_link_into_no_directory(tmp_path):
    (tmp_path / "link").symlink_to("gone/file")
    with pytest.raises(OptionError, match="link: it is a link into a directory that doesn't exist; name a new file"):
        check_health_file(tmp_path / "link")


@pytest.mark.parametrize("content", ["", '{"on_board": 3}', None])
def test_a_health_file_that_a_worker_wrote_may_be_written_again(tmp_path, content):
    """An absent file, an empty one and a worker's own are accepted, before and after writing."""
    path = tmp_path / "health"
    if content is not None:
        path.write_text(content)
    check_health_file(path)
    file = HealthFile(path)
    file.write(2)
    assert path.read_text() == '{"on_board": 2}'
    file.remove()
    assert not path.exists()
    check_health_file(path)


def test_of_two_workers_that_start_at_once_one_is_refused(tmp_path):
    """Neither has written the file yet. A file that is only claimed looks old, because nobody is well yet."""
    path = tmp_path / "health"
    first, second = HealthFile(path), HealthFile(path)
    check_health_file(path)
    first.claim()
    with pytest.raises(OptionError, match="another worker writes it; name a new file"):
        second.claim()
    assert path.stat().st_mtime == 0
    first.write(1)
    assert path.stat().st_mtime > 0
    first.remove()
    second.claim()
    second.write(2)
    assert path.read_text() == '{"on_board": 2}'
    second.remove()


def test_the_health_file_of_a_worker_that_is_ending_is_waited_for(tmp_path, monkeypatch):
    """A supervisor may start the next one a moment too early."""
    path = tmp_path / "health"
    first = HealthFile(path)
    first.write(1)
    monkeypatch.setattr(health_file.time, "sleep", lambda _: first.remove())
    check_health_file(path)
    assert not path.exists()


def test_a_health_file_has_one_worker(tmp_path, monkeypatch):
    """One that hangs would look well while the other writes. A file that was removed is free."""
    monkeypatch.setattr(health_file, "HANDOVER_SECONDS", 0.2)
    path = tmp_path / "health"
    first, second = HealthFile(path), HealthFile(path)
    first.write(1)
    first.write(2)
    with pytest.raises(OptionError, match="another worker writes it; name a new file"):
        check_health_file(path)
    with pytest.raises(OSError, match="another worker writes it"):
        second.write(0)
    assert path.read_text() == '{"on_board": 2}'
    path.unlink()
    first.write(3)
    assert path.read_text() == '{"on_board": 3}'
    with pytest.raises(OSError, match="another worker writes it"):
        second.write(0)
    first.remove()
    second.write(4)
    assert path.read_text() == '{"on_board": 4}'
    second.remove()


@pytest.mark.parametrize("content", [b"[1]", b"7", b"{}", b'{"on_board": 1, "id": "a"}', b"\xff", b" " * 300, b"null"])
def test_another_file_is_no_health_file(tmp_path, content):
    """A file with any other content is refused."""
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(OptionError, match="no worker has written it"):
        check_health_file(tmp_path / "other")
