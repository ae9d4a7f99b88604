"""Texts for a page, from token ids."""

import numpy as np

from producer.report.states.texts import Words, around, shown, shown_ends, window


def test_what_is_shown_is_one_line_without_tricks():
    """Controls and turners of direction are spelled out, and what is long is cut."""
    assert shown("a\nb\tc") == "a b c"
    assert shown("\u202eabc\x1b[2J\x00") == "\\u202eabc\\u001b[2J\\u0000"
    assert shown("one\ttwo\r\nthree\u2028four\u2029five") == "one two  three four five"
    assert shown("x" * 300, 10) == "xxxxxxxxx…"
    assert [shown_ends("a" * 99 + "b" * 99, longest) for longest in (5, 6)] == ["aa…bb", "aaa…bb"]
    assert shown_ends("\0" + 9 * "x", 10) == "\\u0000xxxxxxxxx"
    joined = "\u0645\u06cc\u200c\u062e \N{WOMAN}\u200d\N{MICROSCOPE}"  # joiners belong to the words
    assert shown(joined) == joined
    assert shown("\ud800").encode() == b"\\ud800"


def test_a_token_is_shown_among_its_neighbours():
    """At the beginning and at the end of a row, too."""
    words = Words(None)
    row = np.arange(1, 31)
    for position in (0, 5, 20, 29):
        text = around(words, window(row, position), position)
        assert f"[{position + 1}]" in text
    assert around(words, window(row, 0), 0) == "[1] 2 3 4 5"
    assert around(words, window(row, 29), 29) == "22 23 24 25 26 27 28 29 [30]"
