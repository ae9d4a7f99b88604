"""Mutations: faults put into the product's source when it is loaded, each of which a seed must find.

Each mutation is a file in `mutations`: a sentence about the fault, then the changed lines as a diff without line
numbers. Lines that aren't in the source exactly once are an error, so no mutation tests nothing.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import ModuleType

#: The crowds in which a mutation is looked for, if all of people's commands together don't find it.
CROWDS = {"no-last-look": ("retry", "look")}
_FOLDER = Path(__file__).parent / "mutations"


class Hunk(NamedTuple):
    """Lines of a module, and those that replace them."""

    before: str
    after: str


class Mutation(NamedTuple):
    """One fault.

    Attributes:
        says: a sentence about the fault.
        hunks: module → the lines that change.
    """

    says: str
    hunks: dict[str, list[Hunk]]

    @classmethod
    def read(cls, name: str) -> Mutation:
        """Read a mutation by its name."""
        says, *files = (_FOLDER / f"{name}.diff").read_text().split("\n--- ")
        hunks = {}
        for file in files:
            path, *texts = file.split("\n@@\n")
            module = path.removeprefix("tests/").removesuffix(".py").replace("/", ".")
            hunks[module] = [Hunk(_side(text, "-"), _side(text, "+")) for text in texts]
        return cls(says.strip(), hunks)


def _side(text: str, mark: str) -> str:
    return "".join(line[1:] + "\n" for line in text.splitlines() if line[:1] in (" ", mark))


def names() -> list[str]:
    """All mutations."""
    return sorted(path.stem for path in _FOLDER.glob("*.diff"))


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module with some of its lines replaced."""

    def __init__(self, name: str, path: str, hunks: list[Hunk]) -> None:
        super().__init__(name, path)
        self._hunks = hunks

    def exec_module(self, module: ModuleType) -> None:
        source = Path(self.path).read_text()
        for before, after in self._hunks:
            if source.count(before) != 1:
                raise ImportError(f"{module.__name__} has {source.count(before)} times, mend the mutation:\n{before}")
            source = source.replace(before, after)
        exec(compile(source, self.path, "exec"), module.__dict__)


class Mutator(importlib.abc.MetaPathFinder):
    """Makes the product wrong, once it is in `sys.meta_path`; before the product is loaded."""

    def __init__(self, mutation: Mutation) -> None:
        self._hunks = mutation.hunks
        if loaded := [name for name in self._hunks if name in sys.modules]:
            raise ImportError(f"{', '.join(loaded)} is loaded already")

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """The module's file, with another loader."""
        del target
        if fullname not in self._hunks:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        loader = Loader(fullname, spec.origin, self._hunks[fullname])
        return importlib.util.spec_from_file_location(fullname, spec.origin, loader=loader)
