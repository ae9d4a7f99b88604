"""Real text that every machine with Python has: the docstrings of the standard library."""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+(?=[A-Z\"'(])|\n\s*\n")
_PACKAGES = {"site-packages", "dist-packages"}
_TESTS = {"test", "tests", "idle_test", "lib2to3", "__pycache__"}
#: Sentences with fewer words are headings and names.
FEWEST_WORDS = 3


def sentences(root: Path | None = None) -> Iterator[tuple[str, str]]:
    """Yield (id, sentence) for every sentence of at least FEWEST_WORDS words, without tests.

    Args:
        root: the directory; None for the standard library of the running Python.

    Yields:
        An id such as `json/decoder.py:JSONDecoder.decode/0`, and the sentence on one line.
    """
    seen: dict[str, int] = {}
    for place, docstring in docstrings(root, skipped=_TESTS):
        for sentence in _SENTENCE_END.split(docstring):
            words = sentence.split()
            if len(words) >= FEWEST_WORDS:
                number = seen.get(place, 0)
                seen[place] = number + 1
                yield f"{place}/{number}", " ".join(words)


def docstrings(root: Path | None = None, skipped: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield (place, docstring) for every docstring below a directory, in a fixed order; files are parsed, not run.

    Args:
        root: the directory; None for the standard library of the running Python.
        skipped: names of directories to leave out, besides those of installed packages.
    """
    root = root or Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if not (_PACKAGES.union(skipped) & set(name.parts)):
            yield from _in_file(path, name.as_posix())


def _in_file(path: Path, name: str) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings(action="ignore"):  # about invalid escapes in old files
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    for place, node in _documented(tree, ""):
        if docstring := ast.get_docstring(node):
            yield f"{name}:{place or '-'}", docstring


def _documented(
    node: ast.AST, place: str
) -> Iterator[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield place, node
    for child in ast.iter_child_nodes(node):
        name = getattr(child, "name", None) if isinstance(child, ast.stmt) else None
        yield from _documented(child, f"{place}.{name}".lstrip(".") if isinstance(name, str) else place)
