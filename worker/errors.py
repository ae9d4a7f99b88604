"""What only a worker meets."""

from unrolled.errors import TransientError, UnrolledError


class GivenBackError(TransientError):
    """The worker is stopping: the shard goes back, unfinished and blameless."""

    def __str__(self) -> str:
        """Said in full, for it carries no facts of its own."""
        return "the worker is stopping; the shard goes back to the queue"


#: What stops a computation, but may let the same one through a little later: memory that others hold just now.
PASSING = (MemoryError, TransientError)


class AwayError(UnrolledError):
    """A job's directory isn't there just now: its shards wait for it, and hold nothing else up meanwhile."""
