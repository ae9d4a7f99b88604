"""Showing how far something is."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from producer.terminal.progress import WINDOW_SECONDS, Advance, BarProgress, Progress, SpeedMeter, progress
from producer.terminal.text import duration, figure, printable, table


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (9_999.4, "9,999"),
        (9_999.5, "10.0k"),
        (10_000, "10.0k"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_999, "1.00M"),
        (4_560_000, "4.56M"),
        (2.5e9, "2.50G"),
        (7e13, "70.0T"),
    ],
)
def test_figures_have_three_digits(number, text):
    """Small ones are exact, and none says 1000k for a million."""
    assert figure(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7_500, "2 h 05 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_have_two_units(seconds, text):
    """The larger the time, the coarser."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("advance", "text"),
    [
        (Advance(), "0 tokens"),
        (Advance(1_200, 31), "1,200 tokens, 31 rows"),
        (
            Advance(1_200_000, 31_000, 2_400_000, 80_000.0),
            "1.20M of 2.40M tokens (50 %), 31.0k rows, 80.0k tokens/s, 15 s left",
        ),
        (Advance(5, None, 5, 2.0), "5 of 5 tokens (100 %), 2 tokens/s"),
        (Advance(6, None, 5, 0.0), "6 of 5 tokens (100 %), 0 tokens/s"),
    ],
)
def test_an_advance_reads_as_a_line(advance, text):
    """What isn't known isn't said."""
    assert str(advance) == text


def test_the_speed_is_that_of_the_last_half_minute():
    """A slow beginning is forgotten, and so is what was done before the first sample."""
    meter = SpeedMeter()
    assert meter.add(0, 1_000_000) is None
    assert meter.add(0.5, 1_000_010) is None
    assert meter.add(10, 1_000_100) == 10
    for second in range(11, 100):
        speed = meter.add(second, 1_000_100 + 1_000 * (second - 10))
    assert speed == 1_000


@given(st.lists(st.tuples(st.floats(0.01, 20), st.integers(0, 10**6)), min_size=3, max_size=60))
def test_a_speed_lies_between_the_slowest_and_the_fastest_step(steps):
    """Whatever the samples' distances, a mean is a mean."""
    meter, now, done, speeds = SpeedMeter(), 0.0, 0, []
    meter.add(now, done)
    for seconds, tokens in steps:
        now, done = now + seconds, done + tokens
        speeds.append(tokens / seconds)
        speed = meter.add(now, done)
        assert speed is None or min(speeds) * 0.999 <= speed <= max(speeds) * 1.001
        assert len(meter._samples) <= 2 * WINDOW_SECONDS + 3


def test_plain_lines_come_at_most_every_five_seconds(capsys):
    """And the last state is always told, once."""
    clock = Clock()
    shown = Progress("waiting", 1_000, clock)
    for _ in range(12):
        clock.now += 1
        shown.update(done_tokens=int(clock.now - 100) * 50, done_rows=3)
    shown.finish()
    shown.finish()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "waiting: 250 of 1,000 tokens (25 %), 3 rows, 50 tokens/s, 15 s left",
        "waiting: 500 of 1,000 tokens (50 %), 3 rows, 50 tokens/s, 10 s left",
        "waiting: 600 of 1,000 tokens (60 %), 3 rows, 50 tokens/s, 8 s left",
    ]


def test_elsewhere_than_on_a_terminal_there_is_no_bar(capsys):
    """A log gets lines; a line that is said comes at once."""
    with progress("queueing") as shown:
        shown.say("broker away")
        shown.update(done_tokens=5)
    assert type(shown) is Progress
    assert capsys.readouterr().err == "broker away\nqueueing: 5 tokens\n"


def test_on_a_terminal_there_is_a_bar():
    """It shows the same facts, and lines that are said stand above it."""
    screen = io.StringIO()
    bar = BarProgress("waiting", None, Console(file=screen, force_terminal=True, width=100))
    bar.update(done_tokens=500, done_rows=3, total_tokens=1_000)
    bar.say("broker [red]away[/red]")
    bar.finish()
    assert "broker [red]away[/red]" in screen.getvalue()
    assert "500 of 1,000 tokens (50 %), 3 rows" in screen.getvalue()
    assert "━" in screen.getvalue()


def test_a_table_fits_its_width():
    """The widest column is cut, numbers stand to the right."""
    text = table(("id", "length"), [("a-very-long-identifier", 7), ("b", 12)], width=20)
    assert text.splitlines() == ["id            length", "a-very-long…       7", "b                 12"]


@given(st.lists(st.tuples(st.text(), st.integers(), st.text()), max_size=6), st.integers(30, 120))
def test_a_table_has_a_line_for_each_row_whatever_is_in_it(rows, width):
    """Control characters, which could break the lines or steer the terminal, are spelled out."""
    lines = table(("one", "two", "three"), rows, width).split("\n")
    assert len(lines) == len(rows) + 1
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb", r"a\nb"), ("\x1b[31mred", r"\x1b[31mred"), ("日本 é", "日本 é"), ("\u202eabc", r"\u202eabc")],
)
def test_what_could_steer_a_terminal_is_spelled_out(text, shown):
    """Letters of any script stay."""
    assert printable(text) == shown


def test_wide_characters_take_two_cells():
    """Columns after them stay in line."""
    text = table(("id", "n"), [("日本語", 1), ("abcdef", 2)], width=40)
    assert text.splitlines()[1:] == ["日本語  1", "abcdef  2"]
