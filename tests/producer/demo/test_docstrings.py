"""The demo's text: the sentences of docstrings, in a fixed order."""

from itertools import islice

from producer.demo.docstrings import FEWEST_WORDS, sentences

MODULE = '''"""A module that says something. And more, "quoted" too: This ends it here.

Another paragraph
over two lines."""


class Shape:
    """A shape with an area."""

    def area(self):
        """Give the area in square metres. Raises nothing."""

        def helper():
            """Do a part of it."""


async def later():
    """Wait for it to come."""


def silent():
    return "no docstring of mine"


if True:

    def area():
        """First of one name here."""

    def area():
        """Second of one name here."""
'''


def test_sentences_of_a_module(tmp_path):
    """Each sentence has its place and its number; short ones are left out; no module is run."""
    (tmp_path / "shapes.py").write_text(MODULE + "\nraise SystemExit('this module was run')\n")
    assert list(sentences(tmp_path)) == [
        ("shapes.py:-/0", "A module that says something."),
        ("shapes.py:-/1", 'And more, "quoted" too:'),
        ("shapes.py:-/2", "This ends it here."),
        ("shapes.py:-/3", "Another paragraph over two lines."),
        ("shapes.py:Shape/0", "A shape with an area."),
        ("shapes.py:Shape.area/0", "Give the area in square metres."),
        ("shapes.py:Shape.area.helper/0", "Do a part of it."),
        ("shapes.py:later/0", "Wait for it to come."),
        ("shapes.py:area/0", "First of one name here."),
        ("shapes.py:area/1", "Second of one name here."),
    ]


def test_files_come_in_order_and_tests_are_left_out(tmp_path):
    """Installed packages and files that can't be parsed are left out too."""
    for name in ("b.py", "a/z.py", "test/x.py", "site-packages/y.py", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'"""The file {name} says this."""\n')
    (tmp_path / "c.py").write_text("def broken(:\n")
    (tmp_path / "d.py").write_bytes(b'"""\xff no such coding"""')
    (tmp_path / "e.py").write_bytes(b"\0")
    assert [name for name, _ in sentences(tmp_path)] == ["a/z.py:-/0", "b.py:-/0"]


def test_the_standard_library_is_enough_for_the_demo():
    """Ids are unique, no sentence is short or has a line end, and a second run gives the same sentences."""
    found = list(islice(sentences(), 5000))
    assert len(found) == 5000
    assert len({name for name, _ in found}) == 5000
    assert all(len(text.split()) >= FEWEST_WORDS and "\n" not in text for _, text in found)
    assert list(islice(sentences(), 100)) == found[:100]
