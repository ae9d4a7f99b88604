"""The output directory of a job. Its files alone say what is published, what waits and what is dead.

| path | written by | what |
|---|---|---|
| `job.json` | producer, once | the job |
| `_manifest.jsonl` | producer, a line a shard | every shard that was cut, then a line `{"end": …}` |
| `_pending/<shard>.rows` | producer; removed by the worker | the rows of a shard without a part |
| `_quarantine/<shard>.jsonl` | producer | rows that can't be computed, with reasons |
| `_quarantine/<shard>.engine.jsonl` | worker | rows that the engine failed on, with reasons |
| `_quarantine/<shard>.rows` | worker | the rows of a published shard in which the engine failed on some |
| `_dead/<shard>.json` | worker | why a shard was given up |
| `_cancelled` | producer; removed by the next `enqueue` | nothing: while it exists, nothing that waits is computed |
| `part-<shard>.parquet` | worker | the vectors |
"""

# Over 150 lines: the only place that knows the names of the files in the table above.

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import JobError, PayloadError, TransientError
from unrolled.job.job import Job
from unrolled.job.manifest import NAME as MANIFEST
from unrolled.job.shard_id import ShardId, part_name
from unrolled.store.lock import NO_LOCKS, lock_file
from unrolled.store.publish import publish_bytes

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

FORMAT_VERSION = 1
_MAX_JOB_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class JobDirectory:
    """An output directory and the job in it.

    Attributes:
        path: absolute, as the producer named it.
        job: what its `job.json` says.
    """

    path: Path
    job: Job

    @property
    def key(self) -> str:
        """The name of this job in this directory, for Redis: 16 hexadecimal digits."""
        return hashlib.sha256(self.job.id.encode() + b"\0" + os.fsencode(self.path)).hexdigest()[:16]

    def part(self, shard: ShardId) -> Path:
        """The path of the shard's part."""
        return self.path / part_name(shard)

    def pending(self, shard: ShardId) -> Path:
        """The path of the rows that wait for a worker."""
        return self.path / "_pending" / f"{shard}.rows"

    def dead(self, shard: ShardId) -> Path:
        """The path of the record that the shard was given up."""
        return self.path / "_dead" / f"{shard}.json"

    def quarantine(self, shard: ShardId, *, engine: bool = False) -> Path:
        """The path of the list of bad rows: those that the producer found, or those that the engine failed on."""
        return self.path / "_quarantine" / f"{shard}{'.engine' if engine else ''}.jsonl"

    def kept(self, shard: ShardId) -> Path:
        """The path of a published shard's rows, which are kept because the engine failed on some of them."""
        return self.path / "_quarantine" / f"{shard}.rows"

    @property
    def cancelled(self) -> Path:
        """The path of the file that exists while the job is cancelled."""
        return self.path / "_cancelled"

    def resume(self) -> None:
        """Let the waiting shards of a cancelled job be computed.

        Raises:
            TransientError: the file system refused.
        """
        _remove(self.cancelled)

    def spool(self, shard: ShardId, rows: bytes, bad_rows: bytes) -> None:
        """Make a shard's rows durable, unless it has rows or a part. Bad rows come first, so that none is lost.

        Args:
            shard: its id.
            rows: its payload.
            bad_rows: lines of JSON, or nothing.

        Raises:
            TransientError: the file system refused.
        """
        # Rows are looked at before the part, because a worker publishes the part before it removes the rows.
        if self.pending(shard).exists() or self.part(shard).exists():
            return
        if bad_rows:
            publish_bytes(self.quarantine(shard), bad_rows)
        publish_bytes(self.pending(shard), rows)

    def discard_pending(self, shard: ShardId) -> None:
        """Remove the rows of a shard whose part is durable. They are kept if the engine failed on some of them.

        Raises:
            TransientError: the file system refused.
        """
        pending, kept, failed = self.pending(shard), self.kept(shard), self.quarantine(shard, engine=True)
        try:
            failed.stat()  # `exists` is also False for paths that can't be inspected
        except FileNotFoundError:
            _remove(pending)
            _remove(kept)
            return
        except OSError as error:
            raise TransientError(f"{failed} can't be inspected: {error.strerror}") from error
        try:
            pending.replace(kept)
        except FileNotFoundError:
            return  # an earlier attempt did
        except OSError as error:
            raise TransientError(f"{pending} can't be moved to {kept}: {error.strerror}") from error

    def discard_strays(self, shards: Container[ShardId]) -> None:
        """Remove the rows that a producer spooled before it died, and that are not in the manifest.

        Args:
            shards: the shards in the manifest.

        Raises:
            TransientError: the file system refused.
        """
        for shard in self.waiting():
            if shard not in shards:
                self.discard_pending(shard)
        for shard in self.quarantined():
            if shard not in shards:
                _remove(self.quarantine(shard))

    def published(self) -> set[ShardId]:
        """The shards with a part.

        Raises:
            TransientError: the directory can't be listed now. The other sets below raise it too.
        """
        return _shards_in(self.path, "part-", ".parquet")

    def waiting(self) -> set[ShardId]:
        """The shards whose rows are spooled: they are not published yet, or dead."""
        return _shards_in(self.path / "_pending", "", ".rows")

    def quarantined(self) -> set[ShardId]:
        """The shards with a list of bad rows that the producer found."""
        return _shards_in(self.path / "_quarantine", "", ".jsonl")

    def failing(self) -> set[ShardId]:
        """The shards with a list of rows that the engine failed on."""
        return _shards_in(self.path / "_quarantine", "", ".engine.jsonl")

    def given_up(self) -> set[ShardId]:
        """The dead shards."""
        return _shards_in(self.path / "_dead", "", ".json")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only producer of this directory.

        Raises:
            JobError: another process is, or the file system has no locks.
        """
        try:
            file = lock_file(self.path / "_lock")
        except BlockingIOError:
            raise JobError(
                f"{self.path}: another `unrolled enqueue` is writing to this directory; wait for it or stop it"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise _unwritable(self.path, error) from error
            raise JobError(
                f"{self.path}: can't be locked against a second producer: {error.strerror}; "
                "mount it with locks, or choose another --out"
            ) from error
        with file:
            yield


def open_job(path: Path | str) -> JobDirectory:
    """The job in a directory.

    Raises:
        JobError: there is no job, or one that this version can't read.
        TransientError: it can't be read now.
    """
    directory = Path(os.path.abspath(path))  # noqa: PTH100 - links stay: other machines know these names
    file = directory / "job.json"
    try:
        if file.stat().st_size > _MAX_JOB_BYTES:
            raise JobError(f"{file}: larger than {_MAX_JOB_BYTES:,} bytes; this is no job manifest")
        content = json.loads(file.read_text("utf-8"))
        version = content["format_version"]
        if version != FORMAT_VERSION:
            raise JobError(f"{file}: format version {version!r}; this version reads {FORMAT_VERSION}: upgrade it")
        job = Job(str(content["fingerprint"]), tuple(map(str, content["inputs"])), dict(content["options"]))
        if content["id"] != job.id:
            raise JobError(f"{file}: was changed since it was written; restore it, or use a new output directory")
    except (FileNotFoundError, NotADirectoryError):
        raise JobError(f"{directory}: no job here (job.json is missing); `unrolled enqueue` makes one") from None
    except OSError as error:
        raise TransientError(f"{file}: can't be read now: {error}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise JobError(f"{file}: not a job manifest: {error!r}; restore it, or use a new output directory") from error
    return JobDirectory(directory, job)


def create_job(path: Path | str, job: Job) -> JobDirectory:
    """The directory of a job, new or found again.

    Raises:
        JobError: the directory has another job or other files in it, or can't be written.
        TransientError: it can't be written or read now.
    """
    directory = Path(os.path.abspath(path))  # noqa: PTH100 - links stay: other machines know these names
    made = JobDirectory(directory, job)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "job.json").exists():
            with made.lock():  # so that two producers don't both write job.json
                _publish_job(made)
        found = _same_job(open_job(directory), job)
        for name in ("_pending", "_quarantine", "_dead"):
            (directory / name).mkdir(exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from error
    return found


def _publish_job(made: JobDirectory) -> None:
    file = made.path / "job.json"
    if file.exists():
        return
    if found := sorted(entry.name for pattern in ("*.parquet", MANIFEST) for entry in made.path.glob(pattern))[:3]:
        raise JobError(f"{made.path}: holds {', '.join(found)} but no job.json; use an empty directory")
    text = json.dumps({"format_version": FORMAT_VERSION, "id": made.job.id, **asdict(made.job)}, indent=1) + "\n"
    publish_bytes(file, text.encode())


def _same_job(found: JobDirectory, job: Job) -> JobDirectory:
    if found.job.id == job.id:
        return found
    if found.job.fingerprint != job.fingerprint:
        what = f"another model (fingerprint {found.job.fingerprint}, asked for is {job.fingerprint})"
    elif found.job.inputs != job.inputs:
        what = f"other inputs ({_few(found.job.inputs)}; asked for are {_few(job.inputs)})"
    else:
        names = sorted(found.job.options.keys() | job.options.keys())
        pairs = [(name, found.job.options.get(name), job.options.get(name)) for name in names]
        what = "other options (" + "; ".join(f"{n}: {a!r}, asked for is {b!r}" for n, a, b in pairs if a != b) + ")"
    raise JobError(f"{found.path}: holds a job with {what}. Use another --out, or the same command to resume")


def _unwritable(directory: Path, error: OSError) -> JobError:
    return JobError(f"{directory}: can't be written: {error.strerror}; choose another --out, or mend it")


def _few(names: tuple[str, ...], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise TransientError(f"{file} can't be removed: {error.strerror}") from error


def _shards_in(directory: Path, prefix: str, suffix: str) -> set[ShardId]:
    try:
        names = [entry.name for entry in os.scandir(directory)]
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise TransientError(f"{directory}: can't be listed now: {error.strerror}") from error
    shards = set()
    for name in names:
        if name.startswith(prefix) and name.endswith(suffix):
            with contextlib.suppress(PayloadError):
                shards.add(ShardId.parse(name[len(prefix) : len(name) - len(suffix)]))
    return shards
