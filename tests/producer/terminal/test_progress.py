"""Showing how far something is."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from producer.terminal.progress import Progress, facts_of, progress


class Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ((0, None, None, None), "0 tokens"),
        ((1, 1, None, None), "1 token, 1 row"),
        ((0, None, 1, None), "0 of 1 token (0 %)"),
        ((1_200, 31, None, None), "1,200 tokens, 31 rows"),
        ((10, None, 20, 2.0, "in this epoch"), "10 of 20 tokens (50 %), 2 tokens/s, 5 s left in this epoch"),
        (
            (1_200_000, 31_000, 2_400_000, 80_000.0),
            "1.20M of 2.40M tokens (50 %), 31.0k rows, 80.0k tokens/s, 15 s left",
        ),
        ((2, 1, 300_000, 1.0), "2 of 300k tokens (0 %), 1 row, 1 tokens/s"),
        ((300, 1, 300_000, 100.0), "300 of 300k tokens (0 %), 1 row, 100 tokens/s, 49 min 57 s left"),
        ((5, None, 5, 2.0), "5 of 5 tokens (100 %), 2 tokens/s"),
        ((6, None, 5, 0.0), "6 of 5 tokens (100 %), 0 tokens/s"),
    ],
)
def test_facts_read_as_a_line(facts, text):
    """Facts that aren't known are left out."""
    assert facts_of(*facts) == text


def test_a_full_bar_has_a_colour_where_there_are_sixteen():
    """On tmux's default terminal, a finished bar doesn't look like an empty one."""
    screen = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=60)
    bar = Progress("computing", console=screen)
    bar.update(done_tokens=2, total_tokens=2)
    bar.finish()
    bars = re.findall(r"\x1b\[([\d;]*)m━", screen.file.getvalue())
    assert bars[-1] == "32", bars


def speeds_of(steps):
    """The speed after each step of (seconds, tokens) from a first look at 1,000,000; None where none is shown."""
    clock = Clock()
    shown = Progress("waiting", clock=clock)
    done = 1_000_000
    shown.update(done_tokens=done)
    for seconds, tokens in steps:
        clock.now, done = clock.now + seconds, done + tokens
        shown.update(done_tokens=done, total_tokens=2 * done)  # a total that changes doesn't matter
        yield shown._speed.per_second(clock.now) if "tokens/s" in shown._shown else None


def test_the_speed_is_that_of_the_last_half_minute():
    """A slow beginning is forgotten, and so is what was done before the first look."""
    assert list(speeds_of([(0.5, 10), (9.5, 90)])) == [None, 10]
    assert list(speeds_of([(0.5, 10), (9.5, 90), *[(1, 1_000)] * 60]))[-1] == 1_000


def test_a_standstill_has_no_speed():
    """Neither where nothing works on it, nor where nothing was done for half a minute."""
    clock = Clock()
    shown = Progress("waiting", clock=clock)
    for seconds, tokens, working, has_speed in (
        (0, 100, True, False),
        (10, 200, True, True),
        (1, 200, False, False),
        (1, 200, True, True),
        (40, 200, True, False),
    ):
        clock.now += seconds
        shown.update(done_tokens=tokens, total_tokens=1000, working=working)
        assert ("tokens/s" in shown._shown, "left" in shown._shown) == (has_speed, has_speed)


def test_the_time_of_an_outage_does_not_count():
    """The speed after it is that of before, however long it took."""
    clock = Clock()
    shown = Progress("waiting", clock=clock)
    for seconds, tokens, counts in ((0, 100, True), (10, 200, True), (3600, 300, False), (10, 400, True)):
        clock.now += seconds
        shown.update(done_tokens=tokens, total_tokens=1000, counts=counts)
    assert shown._speed.per_second(clock.now - 3600) == 10
    assert shown._shown.endswith("10 tokens/s, 1 min 00 s left")


def test_what_should_have_been_done_long_ago_has_no_time_left():
    """As when the only worker was killed, and its shards wait for the end of its lease."""
    clock = Clock()
    shown = Progress("computing", clock=clock)
    for tokens in (0, 400, 800, 960):
        shown.update(done_tokens=tokens, total_tokens=1000)
        clock.now += 1
    assert "left" in shown._shown
    for _ in range(20):
        clock.now += 1
        shown.update(done_tokens=960, total_tokens=1000)
    assert shown._shown == "computing: 960 of 1,000 tokens (96 %)"
    clock.now += 1
    shown.update(done_tokens=980, total_tokens=1000)
    assert "left" in shown._shown


def test_a_phase_has_a_speed_of_its_own(capsys):
    """The tokens of the phase before don't count."""
    clock = Clock()
    shown = Progress("epoch 1", clock=clock)
    shown.update(done_tokens=10)
    clock.now += 2
    shown.update(done_tokens=1_000, total_tokens=1_000)
    shown.begin("epoch 2")
    shown.update(done_tokens=10)
    clock.now += 6
    shown.update(done_tokens=70, total_tokens=100, more="perplexity 12.0")
    assert capsys.readouterr().err == "epoch 2: 70 of 100 tokens (70 %), 10 tokens/s, 3 s left, perplexity 12.0\n"


def test_the_time_left_counts_down_between_large_pools():
    """Each pool takes 30 to 50 seconds, and its three shards are counted within a second; half a second per look."""
    clock, done, total = Clock(), 0, 1_000_000
    shown = Progress("computing", clock=clock)
    shown.update(done_tokens=0, total_tokens=total)
    began, left, missing = clock.now, [], 0
    for number in range(12):
        ends = clock.now + (30, 40, 50)[number % 3]
        while clock.now < ends:
            clock.now += 0.5
            done += 25_000 if ends - clock.now in (1.0, 0.5, 0.0) else 0
            shown.update(done_tokens=done, total_tokens=total)
            found = re.search(r"(?:(\d+) min )?(\d+) s left", shown._shown)
            if number and found:
                left.append((clock.now - began, 60 * int(found[1] or 0) + int(found[2])))
            missing += number > 0 and not found
    shown.finish()
    assert missing == 0
    whole = 40.0 * total / 75_000
    assert all(abs(whole - second - found) < 0.4 * whole for second, found in left)
    # It is less after two seconds, except at the end of a pool that was slower than those before.
    stood = sum(two >= one for (_, one), (_, two) in zip(left, left[4:], strict=False))
    assert stood < len(left) / 10, stood


@given(st.lists(st.tuples(st.floats(0.01, 20), st.integers(0, 10**6)), min_size=3, max_size=60))
def test_a_speed_lies_between_the_slowest_and_the_fastest_step(steps):
    """Whatever the time between the looks, a mean is a mean."""
    speeds = [tokens / seconds for seconds, tokens in steps]
    for number, speed in enumerate(speeds_of(steps), 1):
        assert speed is None or min(speeds[:number]) * 0.999 <= speed <= max(speeds[:number]) * 1.001


def test_plain_lines_come_at_most_every_five_seconds(capsys):
    """The last state is always printed, and once."""
    clock = Clock()
    shown = Progress("waiting", 1_000, clock=clock)
    shown.update(done_tokens=1)
    for _ in range(12):
        clock.now += 1
        shown.update(done_tokens=1 + int(clock.now - 100) * 50, done_rows=3)
    shown.finish()
    shown.finish()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "waiting: 251 of 1,000 tokens (25 %), 3 rows, 50 tokens/s, 15 s left",
        "waiting: 501 of 1,000 tokens (50 %), 3 rows, 50 tokens/s, 10 s left",
        "waiting: 601 of 1,000 tokens (60 %), 3 rows, 50 tokens/s, 8 s left",
    ]


def test_a_line_that_says_nothing_new_comes_once_a_minute(capsys):
    """A log of a night isn't filled by it, and shows that the wait goes on."""
    clock = Clock()
    shown = Progress("done", 1_000, clock=clock)
    for _ in range(130):
        clock.now += 1
        shown.update(done_tokens=0, working=False)
    assert capsys.readouterr().err.splitlines() == ["done: 0 of 1,000 tokens (0 %)"] * 3


def test_elsewhere_than_on_a_terminal_there_is_no_bar(capsys):
    """A log gets lines; a line that is said is printed at once."""
    with progress("queueing") as shown:
        shown.say("broker away")
        shown.update(done_tokens=5)
    assert capsys.readouterr().err == "broker away\nqueueing: 5 tokens\n"


def test_on_a_terminal_there_is_a_bar():
    """The bar shows the facts, and lines that are said are above it, uncut."""
    screen = io.StringIO()
    bar = Progress("waiting", console=Console(file=screen, force_terminal=True, width=100))
    bar.update(done_tokens=500, done_rows=3, total_tokens=1_000)
    line = "broker [red]away[/red] " + "x" * 200
    bar.say(line)
    bar.finish()
    assert line in screen.getvalue()
    assert "500 of 1,000 tokens (50 %), 3 rows" in screen.getvalue()
    assert "━" in screen.getvalue()
