"""What one run of `enqueue` did."""

from dataclasses import dataclass


@dataclass(slots=True)
class Summary:
    """What one run of `enqueue` did.

    Attributes:
        rows: input rows read, the bad ones included.
        tokens: real tokens in them.
        quarantined: bad rows.
        shards: cut from the input.
        sent: shards entered by this run.
        published: shards that had their part already.
        dead: shards that were given up before; `retry` brings them back.
    """

    rows: int = 0
    tokens: int = 0
    quarantined: int = 0
    shards: int = 0
    sent: int = 0
    published: int = 0
    dead: int = 0
