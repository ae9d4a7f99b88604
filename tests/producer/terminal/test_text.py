"""Numbers and times for people."""

import pytest

from producer.terminal.text import duration, figure, percent


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
    """Small numbers are exact, and a million is never 1000k."""
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
    """Longer times have larger units."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.064, "6.4 %"),
        (0.00305, "0.30 %"),
        (0.00306, "0.31 %"),
        (0.996947, "99.69 %"),
        (0.953, "95.3 %"),
        (1e-9, "less than 0.01 %"),
        (1 - 1e-9, "more than 99.99 %"),
        (0.5, "50.0 %"),
    ],
)
def test_a_share_is_no_whole_that_it_is_not(share, text):
    """Two digits after the point where it is near one of its ends."""
    assert percent(share) == text
