"""Errors that only a worker raises."""

from unrolled.errors import TransientError, UnrolledError


class GivenBackError(TransientError):
    """The worker or the shard's job is stopped: the shard goes back, unfinished and through no fault of its own."""

    def __str__(self) -> str:
        """Always the same text, because the error has no facts of its own."""
        return "the worker or the job is stopped; the shard goes back to the queue"


#: Errors after which a computation may succeed a little later, such as one for lack of memory that others hold now.
PASSING = (MemoryError, TransientError)


class AwayError(UnrolledError):
    """A job's directory isn't available now. Its shards wait for it, and other jobs continue."""


class BlockedError(AwayError):
    """Something else is where an object of one shard must be. That shard waits; other shards of its job continue."""


class UnregisteredError(AwayError):
    """Redis doesn't say where a job is, so no worker can find it before its next `wait` or `enqueue`."""
