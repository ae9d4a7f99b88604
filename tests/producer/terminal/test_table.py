"""Tables for people."""

from hypothesis import given
from hypothesis import strategies as st

from producer.terminal.table import table


def test_a_table_fits_its_width():
    """The widest column is cut, and numbers are right-aligned."""
    text = table(("id", "length"), [("a-very-long-identifier", 7), ("b", 12)], width=20)
    assert text.splitlines() == ["id            length", "a-very-long…       7", "b                 12"]


@given(st.lists(st.tuples(st.text(), st.integers(), st.text()), max_size=6), st.integers(30, 120))
def test_a_table_has_a_line_for_each_row_whatever_is_in_it(rows, width):
    """Control characters, which could break the lines or control the terminal, are escaped."""
    lines = table(("one", "two", "three"), rows, width).split("\n")
    assert len(lines) == len(rows) + 1
    assert all(line.isprintable() for line in lines)


def test_wide_characters_take_two_cells():
    """The columns after wide characters are aligned."""
    text = table(("id", "n"), [("日本語", 1), ("abcdef", 2)], width=40)
    assert text.splitlines()[1:] == ["日本語  1", "abcdef  2"]


def test_a_table_for_a_program_is_whole(monkeypatch):
    """A pipe has no width, whatever the terminal's is; an id that is cut is no id."""
    monkeypatch.setenv("COLUMNS", "20")
    text = "a-very-long-identifier" * 50
    assert table(("id", "length"), [(text, 7)]).splitlines()[1] == f"{text}       7"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert len(table(("id", "length"), [(text, 7)]).splitlines()[1]) == 20


def test_numbers_are_cut_last():
    """A text that is cut still says what it is; half a number is another number."""
    text = table(("id", "tokens"), [("a-very-long-identifier", 123_456_789)], width=16)
    assert text.splitlines() == ["id        tokens", "a-ve…  123456789"]


def test_headings_are_bold_on_a_terminal_alone(monkeypatch):
    """Piped output is plain."""
    assert table(("id",), [("a",)], width=20) == "id\na"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert table(("id",), [("a",)], width=20).splitlines()[0].startswith("\x1b[1mid")
