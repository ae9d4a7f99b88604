"""An S3 server for one round, which goes wrong for as long as a file says so, and may be killed: its objects stay.

    python stormy_bucket.py DIRECTORY PORT SEED

While the file DIRECTORY/storm exists, one request in three is slow, or refused with 409, 412, 429, 500 or 503, or loses
its answer after it had its effect, or gets half an answer, or has its effect seconds after its client gave up. The seed
decides which.
"""

import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from support.bucket_server import Answer, BucketServer

#: What can become of a request that only reads, and of one that changes something.
READING = (
    Answer.SLOW_DOWN,
    Answer.BROKEN,
    Answer.THROTTLED,
    Answer.LOST_REQUEST,
    Answer.LOST_ANSWER,
    Answer.HALF_ANSWER,
)
CHANGING = (*READING, Answer.LATE, Answer.LATE)
#: And of a create, where 412 may be about the caller's own object, or about none.
CREATING = (*CHANGING, Answer.CONFLICT, Answer.CONFLICT, Answer.EXISTS_AFTER, Answer.EXISTS_IN_VAIN)
ANSWERS = {"GET": READING, "HEAD": READING, "DELETE": CHANGING, "PUT": CREATING}
#: Shares of the requests in a storm that go wrong, and that are slow.
WRONG, SLOW = 0.25, 0.1
LONGEST_SECONDS = 2.5


class StormyServer(BucketServer):
    """A server in whose storms requests go wrong at random."""

    def __init__(self, directory: Path, port: int, seed: str) -> None:
        super().__init__(directory, port)
        self._storm = directory / "storm"
        self._rng = random.Random(seed)
        self._lock = threading.Lock()

    def answer_to(self, method: str) -> Answer | None:
        """See the base class. A slow request is one whose thread sleeps here."""
        if not self._storm.exists():
            return None
        with self._lock:
            chance, answer = self._rng.random(), self._rng.choice(ANSWERS.get(method, READING))
            seconds = self._rng.uniform(0.1, LONGEST_SECONDS)
        if chance > 1 - SLOW:
            time.sleep(seconds)
        return answer if chance < WRONG else None

    def wait_until_late(self) -> None:
        """See the base class."""
        with self._lock:
            seconds = self._rng.uniform(0.1, LONGEST_SECONDS)
        time.sleep(seconds)


if __name__ == "__main__":
    server = StormyServer(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    print(server.url, flush=True)
    server.run()
