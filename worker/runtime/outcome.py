"""The result of handling a shard's message."""

from enum import StrEnum


class Outcome(StrEnum):
    """The possible results; their texts appear in the log.

    Attributes:
        PUBLISHED: the part is durable, and the shard was removed from the ledger.
        GONE: the shard isn't in the ledger, and this attempt made no part: it is published, dead or cancelled.
        HELD: another worker, or another thread of this worker, computes the shard.
        LEFT: the ledger didn't answer before this worker had to stop, or its answer can't be read.
        PUT_OFF: the shard can't be computed now. A sweep sends the message again, a lease from now.
        REFUSED: this worker can't use the job's directory; the message was sent again for another worker.
        PASSED_ON: only shards of jobs that this worker has refused wait; the message was sent again for another worker.
        GIVEN_BACK: this worker or the job stops before the shard is done. If it is still in the ledger, its message was
            sent again for another worker.
        GIVEN_UP: the shard is dead, and the reason is recorded in the job's directory.
        DROPPED: the message doesn't name a shard.
    """

    PUBLISHED = "published"
    GONE = "gone"
    HELD = "held"
    LEFT = "left"
    PUT_OFF = "put off"
    REFUSED = "refused"
    PASSED_ON = "passed on"
    GIVEN_BACK = "given back"
    GIVEN_UP = "given up"
    DROPPED = "dropped"
