"""The directory `_fit` of a training: one command at a time holds it, and without a plan nothing in it is kept."""

# Over 150 lines: making, locking, clearing and removing one directory, each of which may fail beside another command.

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from unrolled.errors import JobError, OptionError, TransientError
from unrolled.model.files import LOCK_FILE, PLAN_FILE
from unrolled.store.lock import lock_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

#: How long to wait for the lock, in seconds: the process of a killed command takes a moment to end.
LOCK_SECONDS = 10.0
#: How often a directory is made again that another command removes, as after a refusal.
_ATTEMPTS = 100
#: What trainings write, halves of files included, besides the lock; see `unrolled.training.plan`.
_OWN = re.compile(
    r"plan\.json|diverged|log|tokenizer\.json|(train|validation)\.arrow|(checkpoint|best-\d+)\.safetensors|\..+\.tmp"
)
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}


@contextmanager
def held(scratch: Path) -> Iterator[BinaryIO]:
    """Make the directory of a training and hold its lock until the end of the block.

    If there is no plan at the end, as after a refusal or a whole training, all that trainings write there is removed,
    and so are the directories that were made for it.

    Args:
        scratch: the directory.

    Yields:
        The lock. A process that inherits this open file holds it too.

    Raises:
        JobError: another command holds it, it can't be locked, or the directory is no training's.
        OptionError: the model's directory is a file.
        TransientError: it can't be made.
    """
    lock, made = _locked(scratch)
    try:
        with lock:
            try:
                yield lock
            finally:
                if not _is_there(scratch / PLAN_FILE):
                    _remove_all(scratch)
    finally:
        # After the lock was closed: an open file that was removed keeps its directory, over NFS.
        if not _is_there(scratch / LOCK_FILE):
            _remove_empty(scratch, made)


def clear(scratch: Path) -> None:
    """Remove what trainings have written in a directory that is held: the next one begins, or none needs it.

    A checkpoint that was left there would be taken for the new training's.

    Raises:
        TransientError: something can't be removed.
    """
    try:
        (scratch / PLAN_FILE).unlink(missing_ok=True)  # first: without it, the others are nothing
        for path in scratch.iterdir():
            if _is_own(path):
                path.unlink()
    except OSError as error:
        raise TransientError(
            f"{scratch}: can't be removed ({error.strerror or error}); choose another --out"
        ) from error


def _locked(scratch: Path) -> tuple[BinaryIO, set[Path]]:
    """The lock of a directory, and the directories that were made for it."""
    made: set[Path] = set()
    failed: OSError | None = None
    for _ in range(_ATTEMPTS):
        made |= {path for path in (scratch, *scratch.parents) if not _is_there(path)}
        try:
            scratch.mkdir(parents=True, exist_ok=True)
            _refuse_others(scratch, is_own=_is_own)
            had_lock = _is_there(scratch / LOCK_FILE)
            if lock := _lock(scratch / LOCK_FILE):
                if not had_lock:
                    _refuse_files_without_lock(scratch, lock)
                return lock, made
        except (FileNotFoundError, FileExistsError) as error:
            failed = error  # another command has removed the directory meanwhile, or there is a file of this name
        except OSError as error:
            failed = error
            break
    raise _refused(scratch, made, failed)


def _lock(path: Path) -> BinaryIO | None:
    """The lock; None if the file has been removed while this command waited for it."""
    lock = lock_file(path, LOCK_SECONDS)
    try:
        if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            return lock
    except BaseException:
        lock.close()
        raise
    lock.close()
    return None


def _refused(scratch: Path, made: set[Path], error: OSError | None) -> JobError | OptionError | TransientError:
    """Why a directory can't be locked, after what was made for it is removed."""
    if isinstance(error, BlockingIOError):
        return JobError(f"{scratch.parent}: another training is running there; wait for it or stop it")
    if scratch in made and error is not None and error.errno in _WITHOUT_LOCKS:
        with suppress(OSError):
            (scratch / LOCK_FILE).unlink()
    if os.path.isfile(scratch.parent):  # noqa: PTH113 - as above
        return OptionError(f"--out {scratch.parent}: is a file; name a directory, or a path at which one can be made")
    is_there = os.path.isdir(scratch)  # noqa: PTH112 - False, too, where it can't be seen
    _remove_empty(scratch, made)
    why = "it is removed again and again" if error is None else error.strerror or error
    if is_there:
        return JobError(f"{scratch}: can't be locked ({why}); choose another --out")
    return TransientError(f"{scratch}: can't be made ({why}); choose another --out")


def _refuse_files_without_lock(scratch: Path, lock: BinaryIO) -> None:
    """Refuse files with the names of a training's in a directory that had no lock: a training makes the lock first."""
    try:
        _refuse_others(scratch, is_own=lambda _: False)
    except BaseException:
        (scratch / LOCK_FILE).unlink()
        lock.close()
        raise


def _refuse_others(scratch: Path, *, is_own: Callable[[Path], bool]) -> None:
    """Refuse a directory that isn't a training's: what is in it would be taken for one, or be removed."""
    if _is_there(scratch / PLAN_FILE):
        return
    others = [path for path in scratch.iterdir() if not (path.name.startswith(".") or is_own(path))]
    if other := next((path.name for path in sorted(others) if path.name != LOCK_FILE), None):
        raise JobError(
            f"{scratch}: contains {other}, which isn't a training's; choose another --out, or move {other} elsewhere"
        )


def _is_own(path: Path) -> bool:
    return bool(_OWN.fullmatch(path.name)) and (path.is_symlink() or not path.is_dir())


def _is_there(path: Path) -> bool:
    """Whether there is a file, as far as that can be seen: where it can't, nothing may be removed."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _remove_all(scratch: Path) -> None:
    """Remove what `clear` does as far as possible, and at last the lock, without which another command may begin."""
    with suppress(TransientError):
        clear(scratch)
        with suppress(OSError):
            (scratch / LOCK_FILE).unlink()


def _remove_empty(scratch: Path, made: set[Path]) -> None:
    for path in (scratch, *(path for path in scratch.parents if path in made)):
        with suppress(OSError):  # it isn't there, or another program has put something there
            path.rmdir()
