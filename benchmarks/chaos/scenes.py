"""The four ways in which a round's rows arrive: a file, one that grows, a stream, and `unrolled run`.

Over 150 lines: each way is a supervisor of its own.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from command import Command
from contents import parts, quarantined, read_part, waiting
from dataset import Dataset, enqueue_words, follow_words, neighbour_words, run_words, unrolled
from stage import NEIGHBOUR, Scene, Stage

#: Seconds between the end of a producer and its next start.
RESTART_SECONDS = 0.2
#: Bytes that one write to a pipe takes whole, so that no reader ever sees a part of a line.
PIPE_BYTES = 4000
#: The file that grows, and in how many steps it becomes whole.
GROWING, GROWTHS = "growing.jsonl", 3
#: What `unrolled enqueue` says of dead shards when it has read its input to the end.
NOT_QUEUED = "dead, and not queued"
#: Lines of a stream that are written at once, at the most.
BURST_LINES = 15


class _Supervised:
    """What the ways have in common: a command that is given again until it has done its work."""

    has_workers = True

    def __init__(self) -> None:
        self._producer: Command | None = None
        self._must_start_after = 0.0
        self._done = False
        self._next_start = 0.0

    def producer(self) -> Command | None:
        """See `Scene`."""
        return self._producer if self._producer and self._producer.running else None

    def requeue(self) -> None:
        """See `Scene`."""
        self._must_start_after = time.monotonic()
        self._done = False

    def done(self) -> bool:
        """See `Scene`."""
        return self._done

    def _has_ended(self) -> Command | None:
        """The producer, once, when it has ended."""
        if self._producer is None or self._producer.running:
            return None
        ended, self._producer = self._producer, None
        self._next_start = time.monotonic() + RESTART_SECONDS
        return ended

    def _is_due(self) -> bool:
        return self._producer is None and not self._done and time.monotonic() >= self._next_start


class Files(_Supervised):
    """`unrolled enqueue` on a file, again and again until it has succeeded."""

    name = "files"

    def supervise(self, stage: Stage) -> None:
        """See `Scene`."""
        if ended := self._has_ended():
            # Of a job with dead shards, which `retry` may bring back, all others are queued.
            is_queued = ended.status in (0, 3) or (ended.status == 1 and NOT_QUEUED in ended.text())
            self._done = is_queued and ended.started > self._must_start_after
        if self._is_due():
            self._producer = stage.unrolled(*self.words(stage))

    def words(self, stage: Stage) -> list[str]:
        """The words of the command."""
        return enqueue_words(stage.dataset, stage.out)


class Growing(Files):
    """`unrolled enqueue --append` on a file that has more rows now and then, also while a command reads it.

    Args:
        dataset: whose lines are written.
        seconds: in which they are written.
    """

    name = "growing"

    def __init__(self, dataset: Dataset, seconds: float) -> None:
        super().__init__()
        self._lines = [*dataset.lines.values()]
        self._pause = seconds / GROWTHS
        self._written = 0
        self._next_growth = 0.0

    def supervise(self, stage: Stage) -> None:
        """See `Scene`."""
        if self._written < len(self._lines) and time.monotonic() >= self._next_growth:
            self._grow(stage)
        if self._written:
            super().supervise(stage)

    def done(self) -> bool:
        """See `Scene`."""
        return self._done and self._written == len(self._lines)

    def words(self, stage: Stage) -> list[str]:
        """See `Files`."""
        return [*enqueue_words(stage.dataset, stage.out, GROWING), "--append"]

    def _grow(self, stage: Stage) -> None:
        written = self._written + -(-len(self._lines) // GROWTHS)
        path = stage.disk / GROWING
        try:
            path.with_suffix(".new").write_text("\n".join(self._lines[:written]) + "\n")
            path.with_suffix(".new").replace(path)  # a reader must not see half of a line
        except OSError:
            return  # the disk is full; later
        self._written = min(written, len(self._lines))
        self._next_growth = time.monotonic() + self._pause
        self.requeue()


class Neighbour(Files):
    """Another job of the same model, through the same queue to the same workers."""

    name = "neighbour"

    def words(self, stage: Stage) -> list[str]:
        """See `Files`."""
        return neighbour_words(stage.dataset, stage.out + NEIGHBOUR)


class Run(_Supervised):
    """`unrolled run` on a file, with a broker and workers of its own."""

    name = "run"
    has_workers = False

    def supervise(self, stage: Stage) -> None:
        """See `Scene`."""
        if ended := self._has_ended():
            self._done = ended.status in (0, 3) and ended.started > self._must_start_after
        if self._is_due():
            self._producer = self.start(stage)

    def start(self, stage: Stage) -> Command:
        """Start the command."""
        return stage.unrolled(*run_words(stage.dataset, stage.out), broker=False)


class Follow(_Supervised):
    """`unrolled enqueue --follow` on a pipe that this process keeps open, so that the next reader continues it.

    Args:
        dataset: whose lines are written.
        seconds: in which they are written.

    Attributes:
        safe: ids of rows that were on the disk when a reader was killed: none of them may be lost.
        kills: how many times a reader was killed that may have had rows in its memory.
    """

    name = "follow"

    def __init__(self, dataset: Dataset, seconds: float) -> None:
        super().__init__()
        self.safe: set[str] = set()
        self.kills = 0
        self._rows, self._lines = list(dataset.lines), list(dataset.lines.values())
        self._paused = False
        self._written = 0
        self._began = time.monotonic()
        self._seconds = seconds
        self._pipe, self._end = os.pipe()
        os.set_blocking(self._end, False)
        self._open = True
        self._fenced: list[Command] = []

    def supervise(self, stage: Stage) -> None:
        """See `Scene`."""
        self._write()
        if ended := self._has_ended():
            at_end = not self._open and not ended.told and ended.started > self._must_start_after
            self._done = ended.status in (0, 3) and at_end
        if self._is_due():
            self._producer = self._start(stage)

    def take_over(self, stage: Stage) -> None:
        """Start another reader of the same pipe beside the one that there is, whose turn is over then."""
        self._fenced += [self._producer] if self._producer else []
        self._producer = self._start(stage)

    def settle(self, stage: Stage, seconds: float) -> bool:
        """Wait until all lines that were written are on the disk, which happens where nothing is in the way."""
        until, self._paused = time.monotonic() + seconds, True
        try:
            while not (settled := self.on_disk(stage.place) >= self._ids()) and time.monotonic() < until:
                stage.rest(0.1)
        finally:
            self._paused = False
        return settled

    def before_kill(self, stage: Stage, *, settled: bool) -> None:
        """Note what a reader that is killed next must not lose."""
        self.safe |= self.on_disk(stage.place)
        self.kills += not settled

    def on_disk(self, place: Path) -> set[str]:
        """Ids of the rows that are in the job's objects, the bad ones included."""
        # In this order: rows are deleted only once their part exists.
        found = waiting(place)
        for content in parts(place).values():
            part = read_part(content)
            found |= {*part.ids, *part.failed}
        return found | set(quarantined(place))

    def _ids(self) -> set[str]:
        return set(self._rows[: self._written])

    def _start(self, stage: Stage) -> Command:
        return stage.start("follow", unrolled(*follow_words(stage.dataset, stage.out)), stdin=self._pipe)

    def _write(self) -> None:
        """Write the lines that are due, whole ones, as far as the pipe takes them."""
        if not self._open or self._paused:
            return
        due = len(self._lines) * min(1.0, (time.monotonic() - self._began) / self._seconds)
        while self._written < due:
            burst = self._lines[self._written : min(int(due) + 1, self._written + BURST_LINES)]
            text = "".join(f"{line}\n" for line in burst).encode()
            while len(text) > PIPE_BYTES:
                burst.pop()
                text = "".join(f"{line}\n" for line in burst).encode()
            try:
                os.write(self._end, text)
            except BlockingIOError:
                return
            self._written += len(burst)
        if self._written == len(self._lines):
            os.close(self._end)
            self._open = False

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._pipe)
        if self._open:
            os.close(self._end)


def make_scene(name: str, dataset: Dataset, seconds: float) -> Scene:
    """A round's way."""
    plain: dict[str, type[Files | Run]] = {"files": Files, "run": Run}
    fed: dict[str, type[Growing | Follow]] = {"growing": Growing, "follow": Follow}
    return plain[name]() if name in plain else fed[name](dataset, seconds)
