"""The inputs of a job, by their names; their content is compared shard by shard as it is read."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How many names of inputs are kept for people, and how many characters of each.
FEW_NAMES, LONG_NAME = 8, 300
#: How many of them are shown.
_SHOWN = 3
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a job, by their names.

    Attributes:
        digest: SHA-256 over all names, in order; 64 hexadecimal digits.
        count: how many names there are.
        first: the first few, for people; a long one is cut.
        names: all of them; empty where the inputs were read from an object, which has the digest alone.
    """

    digest: str
    count: int
    first: tuple[str, ...] = field(compare=False)
    names: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def named(cls, names: Iterable[str]) -> Inputs:
        """Inputs by their names."""
        named = tuple(names)
        digest = hashlib.sha256(json.dumps(named).encode()).hexdigest()
        return cls(digest, len(named), tuple(name[:LONG_NAME] for name in named[:FEW_NAMES]), named)

    def continues(self, earlier: Inputs) -> bool:
        """Whether these inputs, which were made by `named`, are `earlier` and then any others."""
        return Inputs.named(self.names[: earlier.count]) == earlier

    def to_json(self) -> dict[str, Any]:
        """The inputs as a dictionary for JSON; its size doesn't grow with their number."""
        return {"digest": self.digest, "count": self.count, "first": list(self.first)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Inputs:
        """Read inputs from an untrusted source.

        Raises:
            ValueError, TypeError, KeyError: the content isn't that of inputs.
        """
        digest, count = content["digest"], content["count"]
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!s:.80} is found; 64 hexadecimal digits are expected")
        if type(count) is not int or count < 0:
            raise TypeError(f"{count!s:.80} is found; a count is expected")
        return cls(digest, count, tuple(str(name)[:LONG_NAME] for name in list(content["first"])[:FEW_NAMES]))

    def beside(self, asked: Inputs, by: str = "this command asks for") -> str:
        """Both, for people: the first few of each, and the first names that differ if these don't show them.

        Args:
            asked: others.
            by: what stands before each name of theirs.
        """
        pairs = list(zip(self.first, asked.first, strict=False))
        apart = next((number for number, (mine, other) in enumerate(pairs) if mine != other), None)
        where = ""
        if apart is not None and apart >= _SHOWN:
            mine, other = pairs[apart]
            where = f"; the {apart + 1}th is {mine}, and {by} {other}"
        elif apart is None and self.count == asked.count:
            where = "; they differ in what isn't shown"
        return f"{self}; {by} {asked}{where}"

    def __str__(self) -> str:
        shown = self.first[:_SHOWN]
        more = f" and {self.count - len(shown)} more" if self.count > len(shown) else ""
        return ", ".join(shown) + more
