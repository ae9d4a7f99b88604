"""A store in a directory: what real processes, kills and full disks leave of it."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.skips import skip_here, unless

from unrolled.errors import MisplacedError, RequestError, TransientError
from unrolled.store.posix import PosixStore
from unrolled.store.store import Creation

CREATOR = """
import os, signal, sys
from unrolled.store.posix import PosixStore

fatal, done = int(sys.argv[2]), 0

def die(event, arguments):
    global done
    if event in {"open", "os.mkdir", "os.link", "os.remove"} and active:
        done += 1
        if done == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

active = False
sys.addaudithook(die)
content = b"x" * 3_000_000
store = PosixStore(sys.argv[1])
active = True
store.create("f/g/bytes", content)

def write(file):
    for at in range(0, len(content), 500_000):
        file.write(content[at : at + 500_000])

store.create("f/g/pieces", write)
active = False
print(done)
"""


def created_by_a_process(directory, fatal=0):
    """Run the creator, which kills itself before its operation of that number."""
    return subprocess.run(
        [sys.executable, "-c", CREATOR, str(directory), str(fatal)], capture_output=True, check=False, timeout=60
    )


def files(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_process_that_is_killed_leaves_whole_objects(tmp_path):
    """Before each step of creating two objects and their folders: what is visible is whole, and the rest can follow."""
    content = b"x" * 3_000_000
    (tmp_path / "all").mkdir()
    steps = int(created_by_a_process(tmp_path / "all").stdout)
    assert steps >= 8
    for fatal in range(1, steps + 1):
        directory = tmp_path / str(fatal)
        directory.mkdir()
        assert created_by_a_process(directory, fatal).returncode == -signal.SIGKILL
        store = PosixStore(directory)
        found = {name: store.read(name) for name in store.list("f/g")}
        assert found.keys() <= {"f/g/bytes", "f/g/pieces"}
        assert set(found.values()) <= {content}
        for name in ("f/g/bytes", "f/g/pieces"):
            expected = Creation.EXISTS if name in found else Creation.CREATED
            assert store.create(name, content) is expected
        for folder in ("", "f", "f/g"):
            store.sweep_leftovers(folder, older_than_seconds=0)
        assert files(directory) == {"f/g/bytes": content, "f/g/pieces": content}


def test_leftovers_are_hidden_and_swept(tmp_path):
    """A process that is killed while it writes leaves one, which no listing has."""
    script = CREATOR.replace("    file.write(", "    at and os.kill(os.getpid(), signal.SIGKILL)\n        file.write(")
    subprocess.run([sys.executable, "-c", script, str(tmp_path), "0"], check=False, timeout=60)
    (leftover,) = (name for name in files(tmp_path) if name != "f/g/bytes")
    assert Path(leftover).name.startswith(".pieces.")
    store = PosixStore(tmp_path)
    assert list(store.list("f/g")) == ["f/g/bytes"]
    assert store.sweep_leftovers("f/g", older_than_seconds=3600) == []
    assert [str(path) for path in store.sweep_leftovers("f/g", older_than_seconds=0)] == [str(tmp_path / leftover)]
    assert store.sweep_leftovers("absent", older_than_seconds=0) == []


@pytest.mark.parametrize("content", [bytes(1 << 20), lambda file: file.write(bytes(1 << 20))])
def test_a_file_over_the_limit_of_the_system(tmp_path, content):
    """What the system refuses leaves nothing, and the name is free."""
    store = PosixStore(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(TransientError, match=os.strerror(errno.EFBIG)):
            store.create("a", content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(tmp_path) == {}
    assert store.create("a", content) is Creation.CREATED


def test_a_full_disk_is_reported(tmp_path):
    """With what to do; the writer's own OSError is one of the disk."""

    def write(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(TransientError, match=f"cannot create {tmp_path}/a: No space left on device; free some space"):
        PosixStore(tmp_path).create("a", write)
    assert files(tmp_path) == {}


def test_an_answer_that_was_lost(tmp_path, monkeypatch):
    """NFS may link a file, lose the answer, ask again, and find the name taken: by one's own object."""
    link = os.link

    def link_twice(*arguments, **options):
        link(*arguments, **options)
        link(*arguments, **options)

    monkeypatch.setattr(os, "link", link_twice)
    store = PosixStore(tmp_path)
    assert store.create("a", b"1") is Creation.EXISTS
    assert files(tmp_path) == {"a": b"1"}


@pytest.fixture
def events(monkeypatch, tmp_path):
    """What is made durable and named, in order."""
    found = []
    fsync, link, mkdir = os.fsync, os.link, os.mkdir

    def recorded_fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        name = "hidden" if path.name.startswith(".") else str(path.relative_to(tmp_path))
        found.append(f"fsync {name}")
        fsync(descriptor)

    def recorded_link(temporary, name, **options):
        found.append(f"link {name}")
        link(temporary, name, **options)

    def recorded_mkdir(name, *mode, **options):
        found.append(f"mkdir {name}")
        mkdir(name, *mode, **options)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "link", recorded_link)
    monkeypatch.setattr(os, "mkdir", recorded_mkdir)
    return found


needs_proc = unless(sys.platform == "linux", "only Linux names the file of a descriptor in /proc")


@needs_proc
def test_an_object_is_durable_when_it_is_created(tmp_path, events):
    """Content before name, name before answer, and folders before what is in them is promised."""
    store = PosixStore(tmp_path)
    store.create("f/g/a", b"1")
    assert events == ["mkdir f", "fsync .", "mkdir g", "fsync f", "fsync hidden", "link a", "fsync f/g"]
    events.clear()
    store.create("f/g/b", lambda file: file.write(b"2"))
    assert events == ["fsync hidden", "link b", "fsync f/g"]


@needs_proc
def test_what_another_has_created_is_durable_when_it_is_found(tmp_path, events):
    """He may have died between naming the object, or making the folder, and syncing it."""
    PosixStore(tmp_path).create("f/g/a", b"1")
    events.clear()
    store = PosixStore(tmp_path)
    assert store.create("f/g/a", b"2") is Creation.EXISTS
    assert events == ["fsync .", "fsync f", "fsync f/g"]
    events.clear()
    store.sync("f/g")
    assert events == ["fsync f/g"]
    events.clear()
    PosixStore(tmp_path).sync("f/g")
    assert events == ["fsync .", "fsync f", "fsync f/g"]


@needs_proc
def test_a_folder_that_was_removed_is_made_again(tmp_path, events):
    """And its name made durable again."""
    store = PosixStore(tmp_path)
    store.create("f/a", b"1")
    store.delete("f/a")
    (tmp_path / "f").rmdir()
    events.clear()
    store.create("f/a", b"2")
    assert events == ["mkdir f", "fsync .", "fsync hidden", "link a", "fsync f"]


@needs_proc
def test_a_directory_is_made_durably(tmp_path, events):
    """With those it is in; only when that is asked for."""
    PosixStore(tmp_path / "x/y", make=True)
    assert [event for event in events if event.startswith("fsync")] == ["fsync .", "fsync x"]
    assert (tmp_path / "x/y").is_dir()


def test_a_missing_directory_has_to_come_back(tmp_path):
    """Its disk isn't mounted: it must not be made in another place, and nothing is known to be absent."""
    store = PosixStore(tmp_path / "gone")
    for operation in (
        lambda: store.create("f/a", b"1"),
        lambda: store.read("f/a"),
        lambda: store.open("f/a"),
        lambda: list(store.list("f")),
        lambda: store.delete("f/a"),
        lambda: store.sync("f"),
        lambda: store.sweep_leftovers("f", older_than_seconds=0),
    ):
        with pytest.raises(TransientError, match=r"gone.*bring the directory back"):
            operation()
    assert not (tmp_path / "gone").exists()


def test_no_write_follows_a_symbolic_link_out_of_the_directory(tmp_path):
    """A folder that is one is refused."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a").write_bytes(b"theirs")
    (tmp_path / "elsewhere/.a.tmp").write_bytes(b"theirs")
    (tmp_path / "store").mkdir()
    (tmp_path / "store/f").symlink_to(tmp_path / "elsewhere")
    store = PosixStore(tmp_path / "store")
    for operation in (
        lambda: store.create("f/b", b"1"),
        lambda: store.delete("f/a"),
        lambda: store.sync("f"),
        lambda: store.sweep_leftovers("f", older_than_seconds=0),
    ):
        with pytest.raises(TransientError, match="must be a directory and no symbolic link"):
            operation()
    assert files(tmp_path / "elsewhere") == {"a": b"theirs", ".a.tmp": b"theirs"}


def test_a_link_in_place_of_an_object_is_one(tmp_path):
    """It isn't followed to create its target, nor replaced; where it can be read it is."""
    (tmp_path / "there").write_bytes(b"1")
    (tmp_path / "a").symlink_to(tmp_path / "there")
    (tmp_path / "b").symlink_to(tmp_path / "absent")
    store = PosixStore(tmp_path)
    assert store.create("a", b"2") is Creation.EXISTS
    assert store.create("b", b"2") is Creation.EXISTS
    assert store.read("a") == b"1"
    for read in (store.read, store.open):
        with pytest.raises(MisplacedError, match=r"b: it is a symbolic link to .*/absent, which doesn't exist; bring"):
            read("b")
    assert not (tmp_path / "absent").exists()


def test_what_is_no_file_does_not_hold_a_reader(tmp_path):
    """Opening a FIFO for reading would wait for a writer."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    store = PosixStore(tmp_path)
    for name in ("fifo", "directory"):
        for operation in (store.read, store.open):
            with pytest.raises(TransientError, match=f"{name}: it is not a file"):
                operation(name)
    assert list(store.list()) == []


def test_a_disk_without_links(tmp_path, monkeypatch):
    """An exFAT one has none; the kernel renames without replacing."""

    def no_link(*_, **__):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_link)
    store = PosixStore(tmp_path)
    if os.major(tmp_path.stat().st_dev) == 0:
        skip_here("its temporary directory is not on a block device")
    assert store.create("a", b"1") is Creation.CREATED
    (tmp_path / "b").write_bytes(b"theirs")
    monkeypatch.setattr("unrolled.store.posix._is_there", lambda *_: False)  # it is created just after the look
    assert store.create("b", b"2") is Creation.EXISTS
    assert files(tmp_path) == {"a": b"1", "b": b"theirs"}


def test_a_network_file_system_without_links_is_refused(monkeypatch):
    """There a kernel can't know that it replaces nothing."""

    def no_link(*_, **__):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or os.major(shared_memory.stat().st_dev) != 0:
        skip_here("it has no shared memory as a file system")
    directory = shared_memory / f"unrolled-{os.getpid()}"
    directory.mkdir()
    try:
        monkeypatch.setattr(os, "link", no_link)
        with pytest.raises(RequestError, match="no hard links; use a directory on a local disk"):
            PosixStore(directory).create("a", b"1")
        assert files(directory) == {}
    finally:
        directory.rmdir()


def test_a_large_listing_is_read_as_it_goes(tmp_path):
    """The first names arrive before the last are read."""
    for number in range(3000):
        (tmp_path / f"{number:06d}").touch()
    listing = PosixStore(tmp_path).list()
    first = next(listing)
    for path in tmp_path.iterdir():
        path.unlink()
    assert first not in set(listing)


def test_a_name_like_an_option_is_shown_as_a_path(tmp_path, monkeypatch):
    """Commands that are advised with it would take it for an option."""
    monkeypatch.chdir(tmp_path)
    assert [str(PosixStore(Path(name), make=True)) for name in ("-out", "./-out", "out")] == ["./-out", "./-out", "out"]
