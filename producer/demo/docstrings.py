"""Real text that lies on every Python machine: the standard library's docstrings, cut into sentences."""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+(?=[A-Z\"'(])|\n\s*\n")
_SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "__pycache__"}
#: A sentence has at least this many words; shorter ones are headings and names.
FEWEST_WORDS = 3


def sentences(root: Path | None = None) -> Iterator[tuple[str, str]]:
    """(id, sentence) of every docstring below a directory, in a fixed order; nothing is imported, only parsed.

    Args:
        root: where to look; the running Python's standard library by default.

    Yields:
        An id such as `json/decoder.py:JSONDecoder.decode/0`, and the sentence on one line.
    """
    root = root or Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if _SKIPPED.isdisjoint(name.parts):
            yield from _in_file(path, name.as_posix())


def _in_file(path: Path, name: str) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings(action="ignore"):  # old files hold invalid escapes
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    seen: dict[str, int] = {}
    for place, node in _documented(tree, ""):
        docstring = ast.get_docstring(node)
        for sentence in _SENTENCE_END.split(docstring or ""):
            words = sentence.split()
            if len(words) >= FEWEST_WORDS:
                number = seen.get(place, 0)
                seen[place] = number + 1
                yield f"{name}:{place or '-'}/{number}", " ".join(words)


def _documented(
    node: ast.AST, place: str
) -> Iterator[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield place, node
    for child in ast.iter_child_nodes(node):
        name = getattr(child, "name", None) if isinstance(child, ast.stmt) else None
        yield from _documented(child, f"{place}.{name}".lstrip(".") if isinstance(name, str) else place)
