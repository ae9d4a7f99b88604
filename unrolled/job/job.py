"""A job's identity: model, inputs, how it is computed, and every option that decides rows, cuts or bytes."""

# Over 150 lines: the writer of job.json, and its reader with every check.

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from unrolled.errors import JobError, RequestError, reason_of, shortened
from unrolled.job.inputs import Inputs
from unrolled.job.offer import ARITHMETICS, ENGINES, Arithmetic, EngineName, Offer

#: Of a job and of its shards' rows: a worker or producer of another release leaves the job alone, and says so.
FORMAT_VERSION = 4
#: Largest job.json that is read, in bytes. A real one has about two thousand, however many inputs there are.
MOST_BYTES = 2**20
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"[0-9a-f]{16}")
#: Characters of an option's value that are shown.
_LONGEST_SHOWN = 80
#: What an option that is null says, in the words in which it is given.
_UNSAID = {"layers": "last", "positions": "all"}
#: Options that have their values by the others, where the user doesn't give them.
_BY_OTHERS = {"shard_tokens", "shard_rows"}
_REMEDY = "restore it from a copy, or begin the job again with a new --out"


@dataclass(frozen=True, slots=True)
class Job:
    """A job's identity; it is equal on every machine and in every store.

    Attributes:
        fingerprint: the model's fingerprint, 64 hexadecimal digits.
        inputs: the inputs with which the job began; those of a segment that appends rows replace them.
        engine: the family of engines that computes the job: another family rounds differently.
        arithmetic: the arithmetic in which the job is computed.
        live: whether the input can't be read again.
        options: every other option that decides rows, cuts or bytes.
    """

    fingerprint: str
    inputs: Inputs
    engine: EngineName
    arithmetic: Arithmetic
    live: bool
    options: dict[str, Any]

    @property
    def id(self) -> str:
        """Sixteen hexadecimal digits, a hash of the identity; contained in every part and in every shard's rows."""
        what = [self.fingerprint, self.inputs.digest, self.engine, self.arithmetic, self.live, self.options]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def offer(self) -> Offer:
        """The offer that a worker must make to compute the job."""
        return Offer(self.fingerprint, self.engine, self.arithmetic)

    def to_json(self) -> dict[str, Any]:
        """The identity as a dictionary for JSON."""
        return {
            "fingerprint": self.fingerprint,
            "inputs": self.inputs.to_json(),
            "engine": self.engine,
            "arithmetic": self.arithmetic,
            "live": self.live,
            "options": self.options,
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Job:
        """Read an identity from an untrusted source.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: it describes no job.
        """
        job = cls(
            _text(found["fingerprint"], _FINGERPRINT),
            Inputs.from_json(found["inputs"]),
            _one_of(found["engine"], ENGINES),
            _one_of(found["arithmetic"], ARITHMETICS),
            found["live"] is True,
            dict(found["options"]),
        )
        try:
            job.offer  # noqa: B018 - checks that the engine has the arithmetic
        except RequestError as error:
            raise ValueError(str(error)) from error
        return job

    def encode(self, key: str) -> bytes:
        """The content of `job.json`.

        Args:
            key: sixteen hexadecimal digits that name the job in Redis. The process that creates the job draws them
                at random, so they don't depend on a path or mount.
        """
        content = {
            "format_version": FORMAT_VERSION,
            "id": self.id,
            "key": key,
            **self.to_json(),
        }
        return (json.dumps(content, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, name: str, content: bytes) -> tuple[Job, str]:
        """Read `job.json`: the job and its key.

        Args:
            name: the object's name, for errors.
            content: the object's bytes.

        Raises:
            JobError: the content isn't a job, has another version, or was changed.
        """
        if len(content) > MOST_BYTES:
            raise JobError(
                f"{name}: {len(content):,} bytes; at most {MOST_BYTES:,} are a job's: restore it from a copy"
            )
        try:
            found = json.loads(content)
            if found["format_version"] != FORMAT_VERSION:
                raise JobError(
                    f"{name}: format version {found['format_version']!s:.20}; this release reads {FORMAT_VERSION}: "
                    "use the release of unrolled that wrote it"
                )
            job = cls.from_json(found)
            if found["id"] != job.id:
                raise JobError(f"{name}: was changed since it was written; {_REMEDY}")
            return job, _text(found["key"], _KEY)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise JobError(f"{name}: describes no job ({_why(error):.200}); {_REMEDY}") from error

    def differences(self, other: Job, by: str = "this command asks for") -> str:
        """The differences to another job, for people; empty if the jobs are equal.

        Args:
            other: the other job.
            by: what stands before each value of the other job.
        """
        if self.fingerprint != other.fingerprint:
            return f"another model (fingerprint {self.fingerprint}; {by} {other.fingerprint})"
        if self.inputs != other.inputs:
            relative = "names are relative to the working directory"
            return f"other inputs ({self.inputs.beside(other.inputs, by)}; {relative})"
        mine = self.options | {"engine": self.engine, "arithmetic": self.arithmetic, "live": self.live}
        theirs = other.options | {"engine": other.engine, "arithmetic": other.arithmetic, "live": other.live}
        pairs = [(name, mine.get(name), theirs.get(name)) for name in sorted(mine.keys() | theirs.keys())]
        apart = [name for name, a, b in pairs if a != b]
        if not set(apart) <= _BY_OTHERS:  # the sizes follow from what is stored, unless the user gives them
            pairs = [pair for pair in pairs if pair[0] not in _BY_OTHERS]
        if "follow" in apart:  # which says the same as `live`
            pairs = [pair for pair in pairs if pair[0] != "live"]
        different = [f"{name} is {_shown(name, a)}; {by} {_shown(name, b)}" for name, a, b in pairs if a != b]
        return f"other options ({', '.join(different)})" if different else ""


def _text(value: object, allowed: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not allowed.fullmatch(value):
        raise ValueError(f"{value!s:.80} is found; {allowed.pattern} is expected")
    return value


def _one_of(value: object, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise ValueError(f"{value!s:.80} is found; allowed: {', '.join(allowed)}")
    return value


def _why(error: Exception) -> str:
    """What is wrong with a file's contents, in words where that is a name that is missing, or no JSON."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, (json.JSONDecodeError, UnicodeDecodeError)):
        return f"it isn't JSON: {error}"
    if isinstance(error, (TypeError, AttributeError)):
        return "it isn't a JSON object, or a value in it is of the wrong kind"
    return reason_of(error) if isinstance(error, RecursionError) else str(error)


def _shown(name: str, value: object) -> str:
    return _UNSAID.get(name, "null") if value is None else shortened(json.dumps(value), _LONGEST_SHOWN)
