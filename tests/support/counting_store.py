"""A directory's store that counts what it is asked for: what a step costs, whatever the machine."""

from collections import Counter
from pathlib import Path

from unrolled.patience import at_once
from unrolled.protocol.objects import Objects
from unrolled.protocol.opening import OpenJob
from unrolled.store.posix import PosixStore


class CountingStore(PosixStore):
    """A directory that counts.

    Attributes:
        asked: name of an operation → how often; "names" → names listed; "bytes" → bytes read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: Counter[str] = Counter()

    def create(self, name, content):
        """See `Store.create`."""
        self.asked["create"] += 1
        return super().create(name, content)

    def read(self, name, start=0, stop=None):
        """See `Store.read`."""
        self.asked["read"] += 1
        content = super().read(name, start, stop)
        self.asked["bytes"] += len(content or b"")
        return content

    def open(self, name):
        """See `Store.open`."""
        self.asked["open"] += 1
        return super().open(name)

    def list(self, folder=""):
        """See `Store.list`."""
        self.asked["list"] += 1
        names = 0  # counted in a local variable: a million names are a large share of some measurements
        try:
            for names, listed in enumerate(super().list(folder), 1):  # noqa: B007 - used at the end
                yield listed
        finally:
            self.asked["names"] += names

    def delete(self, name):
        """See `Store.delete`."""
        self.asked["delete"] += 1
        super().delete(name)


def counting(job: OpenJob) -> tuple[OpenJob, Counter[str]]:
    """A job whose store counts, and its counts."""
    store = CountingStore(Path(job.address))
    return OpenJob(job.job, job.key, Objects(store, at_once)), store.asked
