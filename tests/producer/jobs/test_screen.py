"""The screen of a job, as it looks on terminals of different widths."""

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console
from support.jobs import job_of

from producer.jobs.screen import JobScreen, WorkerSpeed
from producer.jobs.status import JobStatus
from producer.queue.queue_status import QueueStatus
from producer.queue.worker_status import WorkerStatus

OFFER = job_of().offer
STATUS = JobStatus(
    out="vectors",
    job="0123456789abcdef",
    offer=OFFER,
    rows=50_000,
    tokens=2_000_000,
    rows_done=31_000,
    tokens_done=1_240_000,
    rows_published=31_000,
    quarantined=3,
    failed=0,
    shards=39,
    done=24,
    dead=0,
    ended=True,
    tokens_per_second=42_100.0,
)


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def worker(number, *, beats=1, on_board=4, **facts):
    name = f"unrolled-{1000 + number}@machine-{number}"
    seconds = 2.0 * beats
    return WorkerStatus(
        name, OFFER, on_board, 1.0, 30_000.0, 0.9, compute_seconds=0.75 * seconds, tokens=20_000.0 * seconds,
        up_seconds=seconds, lease_seconds=30.0, **facts,
    )  # fmt: skip


def queue(*workers, running=8, queued=7, **more):
    return QueueStatus(running, queued, 0, workers, **more)


def shown(*statuses, width=80, height=40, seconds=1.0):
    """The lines of the screen after these looks."""
    clock = Clock()
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, record=True)
    screen = JobScreen("vectors", console, clock)
    with screen:
        for status in statuses:
            screen.show(status)
            clock.now += seconds
        return [line.plain for line in screen.lines(width, height)]


def looks(count=20, **changes):
    """A job under way: each second a shard is done."""
    for number in range(count):
        yield replace(
            STATUS,
            done=number,
            tokens_done=50_000 * number,
            rows_done=1_250 * number,
            queue=queue(worker(1, beats=number + 1), worker(2, beats=number + 1)),
            **changes,
        )


@pytest.mark.parametrize("width", [80, 160])
def test_all_that_matters_is_on_one_screen(width):
    """State, bar, speed over time, time left, shards, and a bar for each worker; no line is too wide or cut."""
    lines = shown(*looks(), width=width)
    text = "\n".join(lines)
    assert max(map(cell_len, lines)) <= width
    assert "…" not in text.replace(f"{OFFER.describe()}", "")
    assert lines[0].startswith("vectors: at work")
    assert "█" in lines[1]
    assert lines[1].endswith(" 47 %")
    assert "950k of 2.00M tokens, 23.8k of 50.0k rows, 25 s left" in lines[2]
    assert lines[3].startswith("42.1k tokens/s  ")
    assert "▇" in lines[3] or "█" in lines[3]
    assert lines[4] == "shards: 19 of 39 done, 8 computed now, 7 queued; 3 rows in quarantine"
    workers = [line for line in lines if "tokens/s" in line and "busy" in line]
    assert len(workers) == 2
    assert all(" 75 % busy   20.0k tokens/s  4 shards" in line for line in workers)
    assert workers[0].count("█") == (9 if width == 80 else 18)


@pytest.mark.parametrize("width", [20, 40, 80, 160])
def test_nothing_is_wider_than_the_terminal(width):
    """Nor higher, however many workers there are and however long a reason is."""
    many = [worker(number, troubles=((None, "can't read OUT " + "x" * 200),)) for number in range(60)]
    lines = shown(replace(STATUS, queue=queue(*many), dead=1, death="y" * 300), width=width, height=24)
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= 22
    if width >= 80:
        assert any("more workers" in line for line in lines)


def test_the_time_left_is_shown_while_somebody_works():
    """Not where all workers wait, nor where the end isn't known."""
    assert any(" left" in line for line in shown(replace(STATUS, queue=queue(worker(1)))))
    idle = shown(replace(STATUS, queue=queue(worker(1), running=0)))
    assert not any(" left" in line for line in idle)
    assert idle[0].startswith("vectors: waiting")
    assert not any(" left" in line for line in shown(replace(STATUS, ended=False, queue=queue(worker(1)))))
    away = "\n".join(shown(replace(STATUS, queue=None, away="the broker gives no answer")))
    assert " left" not in away
    assert "no speed yet" in away


def test_nothing_is_left_to_do_of_dead_shards():
    """The time left is for the others."""
    lines = shown(replace(STATUS, dead=1, dead_tokens=760_000 - 421_000, queue=queue(worker(1))))
    assert any(line.endswith(", 10 s left") for line in lines)


def test_while_the_input_is_read_the_end_is_guessed():
    """By the process that reads it."""
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with JobScreen("vectors", console) as screen:
        assert screen.lines(80)[0].plain == "vectors: starting"
        screen.update(done_tokens=1_240_000, done_rows=31_000, total_tokens=4_000_000)
        screen.show(replace(STATUS, ended=False, queue=queue(worker(1))))
        text = "\n".join(line.plain for line in screen.lines(80))
    assert "1.24M of 4.00M tokens, 31.0k of 50.0k rows read so far" in text
    assert "1 min 06 s left" in text


def test_it_says_why_a_job_waits():
    """What keeps it waiting, and the command that helps."""
    text = "\n".join(shown(replace(STATUS, queue=queue(running=0)), width=100))
    assert "→ no worker offers what this job asks for" in text
    assert "start one for this broker and namespace: unrolled worker" in " ".join(text.split())
    others = replace(STATUS, queue=queue(worker(1), running=0, others_running=2, others_queued=5))
    assert "the workers compute other jobs" in "\n".join(shown(others, width=100))


def test_workers_of_other_jobs_are_counted():
    """They have no bar."""
    other = replace(worker(2), offer=None)
    lines = shown(replace(STATUS, queue=queue(worker(1), other)))
    assert "and 1 for other jobs" in lines
    assert not any("machine-2" in line for line in lines)


def test_a_silent_worker_is_called_silent():
    """When half of its lease has passed."""
    assert any(
        "silent for 20 s" in line for line in shown(replace(STATUS, queue=queue(worker(1, silent_seconds=20.0))))
    )


def test_a_name_can_not_control_the_terminal():
    """Anybody with access to Redis may have written it."""
    evil = replace(worker(1), name="\x1b[2J\x1b[31mevil")
    text = "\n".join(shown(replace(STATUS, queue=queue(evil))))
    assert "\x1b" not in text
    assert "evil" in text


def test_all_is_only_called_all_when_it_is():
    """99.96 % are not 100 %."""
    lines = shown(replace(STATUS, tokens_done=1_999_200, queue=queue(worker(1))))
    assert lines[1].endswith(" 99 %")
    done = shown(replace(STATUS, tokens_done=2_000_000, done=39, finished=True, queue=queue()))
    assert done[0].startswith("vectors: complete")
    assert done[1].endswith("100 %")
    assert done[3].startswith("done")


def test_lines_that_are_said_stay_above():
    """The screen is wiped at the end, and what was said is left."""
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True)
    with JobScreen("vectors", console) as screen:
        screen.show(STATUS)
        screen.say("Redis lost [3] shards")
    assert "Redis lost [3] shards\n" in file.getvalue()


def test_a_workers_speed_is_that_of_its_last_heartbeats():
    """Two looks at one heartbeat count once, and the bar of a worker that was restarted starts again."""
    speed = WorkerSpeed()
    speed.add(worker(1, beats=1))
    speed.add(worker(1, beats=1))
    assert speed.lately == (0.0, 0.0)
    speed.add(worker(1, beats=3))
    assert speed.lately == pytest.approx((20_000.0, 0.75))
    speed.add(worker(1, beats=1))
    assert speed.lately == (0.0, 0.0)
    for beats in range(1, 100):
        speed.add(worker(1, beats=beats))
    assert len(speed._beats) <= 17


def test_what_is_soon_over_is_not_shown():
    """Workers that are about to start, and an input that this process is reading."""
    clock = Clock()
    with JobScreen("vectors", Console(file=io.StringIO(), width=80), clock, {"worker": 20.0}) as screen:
        screen.show(replace(STATUS, queue=queue(running=0)))
        assert not any("no worker" in line.plain for line in screen.lines(80))
        clock.now = 21.0
        screen.show(replace(STATUS, queue=queue(running=0)))
        assert any("no worker" in line.plain for line in screen.lines(80))
        unread = replace(STATUS, ended=False, done=39, queue=queue(worker(1), running=0, queued=0))
        screen.show(unread)
        assert any("hasn't been read to its end" in line.plain for line in screen.lines(80))
        screen.update(done_tokens=5)
        screen.show(unread)
        assert not any("hasn't been read to its end" in line.plain for line in screen.lines(80))
