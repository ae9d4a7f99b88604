"""Checks of a configuration's values; each raises a ModelError that says what was found and what is allowed."""

from collections.abc import Mapping
from dataclasses import fields

from unrolled.errors import ModelError

#: The largest width of embeddings, layers and projections; a larger number is a typing error, not a model.
LARGEST_WIDTH = 2**16


def check_names(kind: type, found: Mapping[str, object], where: str, optional: frozenset[str] = frozenset()) -> None:
    """Check that an object has exactly the fields of a dataclass, but for those that may be missing."""
    names = {field.name for field in fields(kind)} - (optional - found.keys())
    if found.keys() != names:
        missing, unknown = sorted(names - found.keys()), sorted(found.keys() - names)
        raise ModelError(
            f"model: {where} lacks the fields {missing} and has the unknown fields {unknown!s:.200}; correct it"
        )


def check_number(whose: str, name: str, value: object, largest: int) -> None:
    """Check that a value is a whole number in 1..largest; True is not a number."""
    if type(value) is not int or not 1 <= value <= largest:
        raise ModelError(f"{whose}: {name} is {value!r:.80}; give a whole number in 1..{largest}")


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Check that a layer's value is one of the allowed ones."""
    if value not in allowed:
        raise ModelError(f"layer: {name} is {value!r:.80}; give one of {', '.join(allowed)}")
