"""Kinds of values that click would take although no command can use them; `completed` puts them into every command."""

from __future__ import annotations

import math
import os
from typing import Any, Self

import click


class NamedPath(click.Path):
    """A path that has a name: Python takes an empty one for the working directory."""

    @classmethod
    def of(cls, kind: click.Path) -> Self:
        """A path of a kind, with a name."""
        made = cls()
        vars(made).update(vars(kind))
        return made

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse an empty name, such as that of a variable of the shell that isn't set."""
        if not os.fspath(value):
            dot = " For the working directory, give a dot" if self.dir_okay else ""
            self.fail(f"the name is empty; is a variable missing?{dot}", param, ctx)
        return super().convert(value, param, ctx)


class NonEmptyText(click.types.StringParamType):
    """A text that isn't empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse an empty text, such as that of a variable of the shell that isn't set."""
        if value == "":
            self.fail("it is empty; is a variable missing?", param, ctx)
        return super().convert(value, param, ctx)


class FiniteNumber(click.FloatRange):
    """A number with a fraction, within bounds or not: no infinity, and no nan, which is in each of click's ranges."""

    @classmethod
    def of(cls, kind: Any) -> Self:
        """A finite number of a kind: click.FLOAT, or a range."""
        made = cls()
        vars(made).update(vars(kind), name="number")
        return made

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuse what is not finite, with the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            within = self._describe_range()
            self.fail(f"{number} is not a finite number{within and f' in the range {within}'}.", param, ctx)
        return number

    def _describe_range(self) -> str:
        """Nothing where there are no bounds; click would show this in the help as a bound of None."""
        return "" if self.min is None and self.max is None else super()._describe_range()


class Truth(click.types.BoolParamType):
    """True or false; what click says of anything else begins with an empty word."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse another word, with those that are allowed."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither true nor false; allowed: 1, true, yes, on; 0, false, no, off.", param, ctx)


def checked(kind: Any) -> Any:
    """A parameter's type, or in its place the one of this module."""
    if isinstance(kind, click.Path):
        return NamedPath.of(kind)
    if isinstance(kind, click.types.BoolParamType):
        return Truth()
    if isinstance(kind, click.IntRange):
        kind.name = click.INT.name  # of what is no number, click says "not a valid integer range"
    return FiniteNumber.of(kind) if isinstance(kind, type(click.FLOAT)) else kind
