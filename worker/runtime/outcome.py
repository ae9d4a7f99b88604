"""What became of a shard when its message was handled."""

from enum import StrEnum


class Outcome(StrEnum):
    """The ends that `ShardService.handle` comes to; the text is what the log shows.

    Attributes:
        PUBLISHED: its part is durable, and the ledger has it no more.
        GONE: the ledger doesn't have it: it is published, dead or cancelled.
        HELD: another worker, or another thread of this one, computes it.
        LEFT: the ledger could not be asked before this worker had to stop; the shard is still in it.
        PUT_OFF: its job's directory can't be used by this worker. A sweep sends it again, a lease from now.
        GIVEN_BACK: this worker stops before the shard is done; its message was sent again for another one.
        GIVEN_UP: the shard is dead, and its reason is recorded in the job's directory.
        DROPPED: the message names no shard.
    """

    PUBLISHED = "published"
    GONE = "gone"
    HELD = "held"
    LEFT = "left"
    PUT_OFF = "put off"
    GIVEN_BACK = "given back"
    GIVEN_UP = "given up"
    DROPPED = "dropped"
