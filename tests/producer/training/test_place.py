"""The directory of a training: held by one command at a time, and left as it was found, or not at all."""

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.processes import eventually
from support.trainings import asked, is_open, write

from producer.training import place
from producer.training.place import clear, held
from producer.training.process import fit_model
from unrolled.errors import JobError, OptionError, RequestError, TransientError
from unrolled.model.files import LOCK_FILE, PLAN_FILE
from unrolled.store.lock import lock_file
from unrolled.training.plan import SCRATCH

OF_TRAININGS = (
    PLAN_FILE, "diverged", "log", "tokenizer.json", "train.arrow", "validation.arrow", "checkpoint.safetensors",
    "best-3.safetensors", ".checkpoint.safetensors.host-7-0a.tmp",
)  # fmt: skip


@pytest.fixture
def scratch(tmp_path):
    return tmp_path / "deep" / "model" / SCRATCH


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refuse(tmp_path, scratch):
    """A command whose corpus can't be used."""
    with pytest.raises(RequestError, match="2 of 3 rows can't be used"):
        fit_model(asked([write(tmp_path / "bad.jsonl", [[1, 2], [99], [99]])], scratch.parent), "cpu", None, print)


def test_a_plan_keeps_all_and_without_it_nothing_stays(scratch, tmp_path):
    """A training that is interrupted is resumed; after the last file the directory goes, and those made for it."""
    with held(scratch):
        for name in OF_TRAININGS:
            (scratch / name).write_bytes(b"7")
    assert names(scratch) == sorted((*OF_TRAININGS, LOCK_FILE))
    with held(scratch):
        clear(scratch)
    assert names(tmp_path / "deep") == ["model"]  # the second command hasn't made it
    assert names(scratch.parent) == []


def begin(scratch, error, content=b"half of it"):
    """A command that writes, alone, and fails."""
    with held(scratch):
        (scratch / "train.arrow").write_bytes(content)
        assert (scratch / "train.arrow").read_bytes() == content
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_nothing(scratch, tmp_path, error):
    with pytest.raises(error):
        begin(scratch, error)
    assert names(tmp_path) == []


def test_a_refused_command_leaves_nothing_though_another_made_the_directory(scratch, tmp_path):
    """Whoever has made it: without a plan, what is there is nothing."""
    scratch.mkdir(parents=True)
    for name in (LOCK_FILE, "train.arrow"):
        (scratch / name).write_bytes(b"of a command that was killed")
    refuse(tmp_path, scratch)
    assert names(scratch.parent) == []


def test_many_refused_commands_at_once_leave_nothing(scratch, tmp_path):
    """None takes away what another one needs, and none is told of another one's end."""

    def refused(number):
        for _ in range(50):
            with pytest.raises(ValueError, match="corpus"):
                begin(scratch, ValueError("corpus"), b"%d" % number)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(refused, range(3)))
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.name == SCRATCH] == []


def test_a_command_that_waited_for_a_removed_directory_makes_it_again(scratch):
    """A lock on a file that has no name any more holds nothing."""

    def second():
        with held(scratch) as lock:
            return os.path.samestat(os.fstat(lock.fileno()), (scratch / LOCK_FILE).stat())

    with ThreadPoolExecutor(1) as threads:
        with held(scratch):
            found = threads.submit(second)
            eventually(lambda: is_open(scratch / LOCK_FILE, 2), "the second command at the lock")
        assert found.result()


def test_the_lock_ends_with_the_last_process_that_holds_it(scratch, monkeypatch):
    """The process that trains inherits it: if the command is killed, no other one begins before that process ends."""
    monkeypatch.setattr(place, "LOCK_SECONDS", 0.0)
    wait = [sys.executable, "-c", "input()"]
    with held(scratch) as lock:
        (scratch / PLAN_FILE).touch()
        process = subprocess.Popen(wait, stdin=subprocess.PIPE, pass_fds=[lock.fileno()])
    with pytest.raises(JobError, match="model: another training is running there; wait"), held(scratch):
        pass
    process.communicate(b"\n")
    with held(scratch):
        pass


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "head.safetensors"])
def test_files_of_another_model_stay(tmp_path, name):
    """All names that a model has; without a plan, they aren't this training's."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / name).write_bytes(b"mine")
    request = asked([write(tmp_path / "a.jsonl", [[1, 2]] * 9)], tmp_path / "model")
    with pytest.raises(JobError, match=f"contains the {name} of another model; choose another --out, or remove it"):
        fit_model(request, "cpu", None, print)
    assert names(tmp_path / "model") == [name]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"mine": 1}', "contains the training.json of another model; choose another --out, or remove it"),
        ('{"mine"', r"can't be read \(.*\); remove it, and the model beside it .*, and train again; or choose another"),
        ("[1]", "is not the record of a training; remove it, and the model beside it"),
    ],
)
def test_a_record_of_no_training_stays(tmp_path, content, said):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "training.json").write_text(content)
    request = asked([write(tmp_path / "a.jsonl", [[1, 2]] * 9)], tmp_path / "model")
    with pytest.raises(JobError, match=said):
        fit_model(request, "cpu", None, print)
    assert (tmp_path / "model" / "training.json").read_text() == content


@pytest.mark.parametrize("is_link", [False, True])
def test_files_of_others_stay(scratch, tmp_path, is_link):
    """A directory of that name, or a link to one, that isn't a training's is refused, and nothing in it is removed."""
    there = tmp_path / "elsewhere" if is_link else scratch
    (there / "sub").mkdir(parents=True)
    for name in ("log", "lock", "thesis.tex", "train.arrow"):
        (there / name).write_bytes(name.encode())
    if is_link:
        scratch.parent.mkdir(parents=True)
        scratch.symlink_to(there)
    request = asked([write(tmp_path / "a.jsonl", [[1, 2]] * 9)], scratch.parent)
    with pytest.raises(JobError, match=r"_fit: contains sub, which isn't a training's; choose another --out, or move"):
        fit_model(request, "cpu", None, print)
    shutil.rmtree(there / "sub")
    (there / "lock").unlink()
    (there / "thesis.tex").unlink()
    with pytest.raises(JobError, match=r"_fit: contains log, which isn't"):  # a training makes the lock first
        fit_model(request, "cpu", None, print)
    assert names(there) == ["log", "train.arrow"]


def test_a_link_to_an_empty_directory_is_a_place(scratch, tmp_path):
    """As to a fast disk; at the end it is empty again."""
    scratch.parent.mkdir(parents=True)
    (tmp_path / "fast").mkdir()
    scratch.symlink_to(tmp_path / "fast")
    with held(scratch):
        (scratch / "train.arrow").touch()
        assert names(tmp_path / "fast") == [LOCK_FILE, "train.arrow"]
    assert names(tmp_path / "fast") == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO, errno.ENOLCK])
def test_a_lock_that_another_command_holds_is_never_removed(scratch, monkeypatch, number):
    """Why ever this one can't open it, or can't lock it."""
    monkeypatch.setattr(place, "lock_file", failing(number))
    scratch.mkdir(parents=True)
    with lock_file(scratch / LOCK_FILE):
        with pytest.raises(JobError, match=f"_fit: can't be locked .{os.strerror(number)}.; choose"), held(scratch):
            pass
        assert names(scratch) == [LOCK_FILE]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.ENOLCK])
def test_a_directory_that_can_not_be_locked_goes_again(scratch, tmp_path, monkeypatch, number):
    monkeypatch.setattr(place, "lock_file", failing(number, creates=number == errno.ENOLCK))
    with pytest.raises(JobError, match="can't be locked"), held(scratch):
        pass
    assert names(tmp_path) == []


def failing(number, creates=False):
    def lock(path, _):
        if creates:
            path.touch()
        raise OSError(number, os.strerror(number))

    return lock


def test_a_lock_that_leads_nowhere_is_an_error(scratch):
    """And no reason to try for ever."""
    scratch.mkdir(parents=True)
    (scratch / LOCK_FILE).symlink_to("nowhere/at/all")
    with pytest.raises(JobError, match=r"can't be locked .No such file or directory.; choose"), held(scratch):
        pass


def test_a_directory_that_can_not_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(TransientError, match=r"can't be made .Not a directory.; choose another --out"),
        held(tmp_path / "file" / "model" / SCRATCH),
    ):
        pass
    with (
        pytest.raises(OptionError, match=r"^--out .*file: is a file; name a directory"),
        held(tmp_path / "file" / SCRATCH),
    ):
        pass
    assert names(tmp_path) == ["file"]


def test_what_can_not_be_removed_is_said(scratch, monkeypatch):
    """Before a new training begins: it would take a checkpoint for its own."""
    with held(scratch):
        (scratch / "checkpoint.safetensors").touch()
        with monkeypatch.context() as patch:
            patch.setattr(type(scratch), "unlink", not_permitted)
            with pytest.raises(TransientError, match=r"can't be removed .Permission denied.; choose another --out"):
                clear(scratch)


def not_permitted(*_, missing_ok=False):
    if not missing_ok:  # the plan may be missing
        raise PermissionError(errno.EACCES, "Permission denied")
