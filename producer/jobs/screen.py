"""A job on one screen: how far it is, its speed over time, a bar for each worker, and what keeps it waiting."""

# Over 150 lines: one picture, line by line.

from __future__ import annotations

import textwrap
import time
from collections import deque
from typing import TYPE_CHECKING, Self

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from producer.jobs.diagnosis import diagnose
from producer.terminal.sparkline import Speeds, sparkline
from producer.terminal.text import duration, figure, figure_of
from unrolled.errors import counted, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from producer.jobs.status import JobStatus
    from producer.queue.worker_status import WorkerStatus

#: How far back a worker's bar and speed look, in seconds of its own life.
_WORKER_SECONDS = 30.0
#: The widest bar and the widest line of speeds, in cells.
_WIDEST_BAR, _WIDEST_SPEEDS = 60, 100
#: Lines that are left free below the screen.
_FREE_LINES = 2
_FULL, _EMPTY = "█", "░"
_BAR_OF_WORKER = 12
_LONGEST_NAME = 32


class WorkerSpeed:
    """How fast a worker was lately, by its heartbeats."""

    def __init__(self) -> None:
        self._beats: deque[tuple[float, float, float]] = deque()

    def add(self, worker: WorkerStatus) -> None:
        """Note a heartbeat; the same one again changes nothing."""
        beat = worker.up_seconds, worker.tokens, worker.plan_seconds + worker.compute_seconds
        if self._beats and beat[0] < self._beats[-1][0]:
            self._beats.clear()
        if not self._beats or beat[0] > self._beats[-1][0]:
            self._beats.append(beat)
        while len(self._beats) > 2 and self._beats[-1][0] - self._beats[0][0] > _WORKER_SECONDS:  # noqa: PLR2004 - two ends
            self._beats.popleft()

    @property
    def lately(self) -> tuple[float, float]:
        """Tokens a second, and the share of the time in which the engine computed; 0 before the second heartbeat."""
        if len(self._beats) < 2:  # noqa: PLR2004 - a speed needs two points
            return 0.0, 0.0
        (up, tokens, busy), (later, more, busier) = self._beats[0], self._beats[-1]
        seconds = max(later - up, 1e-6)
        return (more - tokens) / seconds, min(1.0, max(0.0, busier - busy) / seconds)


class JobScreen:
    """Draws a job's status again and again in the same place; used in a `with` block, after which it is gone.

    While the input is read, it can stand for a `producer.terminal.progress.Progress`.

    Args:
        title: the job's name.
        console: where it is drawn; None for standard error.
        clock: seconds, never going back.
        patience_seconds: kind of obstacle (`producer.jobs.diagnosis`) → how long it must last before it is shown; 0
            where a kind isn't named.
    """

    def __init__(
        self,
        title: str,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        patience_seconds: Mapping[str, float] | None = None,
    ) -> None:
        self._title = title
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._speeds = Speeds()
        self._workers: dict[str, WorkerSpeed] = {}
        self._status: JobStatus | None = None
        self._patience_seconds = patience_seconds or {}
        self._since: dict[str, float] = {}  # kind of obstacle → when it was met
        self._reading = False
        self._guessed: int | None = None  # tokens in all, by the process that reads the input

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wipe the screen."""
        self._live.stop()

    def show(self, status: JobStatus) -> None:
        """Draw a status."""
        self._status, now = status, self._clock()
        self._since = {kind: self._since.get(kind, now) for kind in diagnose(status)}
        self._speeds.add(now, status.tokens_done)
        for worker in status.queue.workers if status.queue else ():
            self._workers.setdefault(worker.name, WorkerSpeed()).add(worker)
        self._draw()

    def update(
        self,
        *,
        done_tokens: int,
        done_rows: int | None = None,
        total_tokens: int | None = None,
        more: str = "",
        working: bool = True,
    ) -> None:
        """Note how many tokens the input has in all, as far as it can be guessed; see `Progress.update`."""
        del done_tokens, done_rows, more, working
        self._guessed, self._reading = total_tokens, True

    def say(self, line: str) -> None:
        """Print a line above the screen; see `Progress.say`."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    warn = say

    def _draw(self) -> None:
        self._live.update(Text("\n").join(self.lines(self._console.width, self._console.height)), refresh=True)

    def lines(self, width: int, height: int = 100) -> list[Text]:
        """The lines of the screen, none wider than `width` cells, and at most `height` less those that stay free."""
        lines = [*self._head(width), *self._body(width)]
        told = [line for way in self._obstacles() for line in _wrapped(f"→ {printable(way)}", width)]
        workers = list(self._worker_lines(width, max(1, height - len(lines) - len(told) - _FREE_LINES - 2)))
        if workers:
            lines += [Text(""), *workers]
        if told:
            lines += [Text(""), *(Text(line, style="yellow") for line in told)]
        return [_fitted(line, width) for line in lines[: max(1, height - _FREE_LINES)]]

    def _obstacles(self) -> Iterator[str]:
        """The obstacles that have been there for long enough."""
        now = self._clock()
        for kind, text in diagnose(self._status).items() if self._status else ():
            lasts = now - self._since.get(kind, now)
            if lasts >= self._patience_seconds.get(kind, 0.0) and not (kind == "input" and self._reading):
                yield text

    def _head(self, width: int) -> Iterator[Text]:
        status = self._status
        if status is None:
            yield Text(f"{printable(self._title)}: starting", style="bold")
            return
        state = Text(f"{printable(self._title)}: ", style="bold")
        state.append(status.state, style="green" if status.at_work and status.waiting else "yellow")
        for about in (f"job {status.job}, {status.offer.describe()}", f"job {status.job}", ""):
            gap = width - cell_len(state.plain) - cell_len(about)
            if gap > 1 and about:
                state.append(" " * gap).append(about, style="dim")
                break
        yield state

    def _body(self, width: int) -> Iterator[Text]:
        status = self._status
        if status is None or status.discarded:
            return
        total = self._total(status)
        yield _with_bar(status.tokens_done, total, width)
        rows = f"{figure(status.rows_done)} of {figure_of(status.rows, 'rows')}"
        if not status.ended:
            rows += " read so far"
        yield Text(f"{figure(status.tokens_done)} of {figure_of(total, 'tokens')}, {rows}{self._left(status, total)}")
        yield from self._speed_lines(status, width)
        split = f"{status.waiting:,} waiting"
        if status.cancelled:
            split = f"{status.waiting:,} cancelled"
        elif status.queue:
            split = f"{status.queue.running:,} computed now, {status.queue.queued:,} queued"
        line = Text(f"shards: {status.done:,} of {status.shards:,} done, {split}")
        if status.dead:
            line.append(f", {status.dead:,} dead", style="red")
        if bad := status.quarantined + status.failed:
            line.append(f"; {counted(bad, 'row')} in quarantine", style="yellow")
        yield line

    def _total(self, status: JobStatus) -> int:
        """Tokens in all: those that are cut, or what this process guesses while it reads."""
        guessed = self._guessed if not status.ended else None
        return max(status.tokens, guessed or 0)

    def _left(self, status: JobStatus, total: int) -> str:
        """The time left, while somebody works on it and its end is known or guessed."""
        speed = status.tokens_per_second
        if not speed or status.stands_still or not status.waiting:
            return ""
        if not status.ended and not self._guessed:
            return ""
        return f", {duration((total - status.tokens_done - status.dead_tokens) / speed)} left"

    def _speed_lines(self, status: JobStatus, width: int) -> Iterator[Text]:
        moving = status.tokens_per_second if not status.stands_still and status.waiting else None
        text = f"{figure(moving)} tokens/s" if moving else "no speed yet" if status.waiting else "done"
        bars = self._speeds.bars(max(1, min(_WIDEST_SPEEDS, width - cell_len(text) - 2)))
        line = Text(text)
        if bars:
            line.append("  ").append(sparkline(bars), style="cyan")
        yield line

    def _worker_lines(self, width: int, most: int) -> Iterator[Text]:
        """A line for each worker that computes this job's model, as many as there is room for."""
        queue, status = self._status.queue if self._status else None, self._status
        if queue is None or status is None:
            return
        serving = [worker for worker in queue.workers if worker.offer == status.offer]
        others = len(queue.workers) - len(serving)
        shown = serving if len(serving) + bool(others) <= most else serving[: max(0, most - 1)]
        names = {worker.name: _shortened(printable(worker.name), _LONGEST_NAME) for worker in shown}
        longest = max(map(cell_len, names.values()), default=0)
        bar = _BAR_OF_WORKER if width < 100 else 2 * _BAR_OF_WORKER  # noqa: PLR2004 - a wide terminal
        for worker in shown:
            yield self._worker_line(worker, names[worker.name].ljust(longest), bar)
        rest = [f"{len(serving) - len(shown):,} more workers"] if len(shown) < len(serving) else []
        rest += [f"{others:,} for other jobs"] if others else []
        if rest:
            yield Text(f"and {', '.join(rest)}", style="dim")

    def _worker_line(self, worker: WorkerStatus, name: str, bar: int) -> Text:
        speed, busy = self._workers[worker.name].lately if worker.name in self._workers else (0.0, 0.0)
        full = round(busy * bar)
        line = Text(f"{name}  ").append(_FULL * full, style="green").append(_EMPTY * (bar - full), style="dim")
        if worker.is_late:
            line.append(f"  silent for {duration(worker.silent_seconds)}", style="red")
        else:
            line.append(f"  {100 * busy:3.0f} % busy  {figure(speed):>6} tokens/s")
        return line.append(f"  {counted(worker.held, 'shard')}")


def _with_bar(done: int, total: int, width: int) -> Text:
    share = min(1.0, done / total) if total else 0.0
    cells = max(1, min(_WIDEST_BAR, width - len(" 100 %")))
    full = int(share * cells)
    line = Text(_FULL * full, style="green").append(_EMPTY * (cells - full), style="dim")
    return line.append(f" {int(100 * share):3} %")  # 100 % only where all is done


def _fitted(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _shortened(text: str, cells: int) -> str:
    """A text's end, where the difference between two names is, if it is too long."""
    return text if len(text) <= cells else f"…{text[1 - cells :]}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 20), subsequent_indent="  ")
