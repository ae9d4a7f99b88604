"""Checks of a configuration's values; each raises a ModelError that says what was found and what is allowed."""

from collections.abc import Mapping
from dataclasses import fields

from unrolled.errors import ModelError

#: The largest width of embeddings, layers and projections; a larger number is a typing error, not a model.
LARGEST_WIDTH = 2**16
MOST_LAYERS = 64
LARGEST_EPSILON = 1e9


def check_names(kind: type, found: Mapping[str, object], where: str, optional: frozenset[str] = frozenset()) -> None:
    """Check that an object has exactly the fields of a dataclass, but for those that may be missing."""
    names = {field.name for field in fields(kind)} - (optional - found.keys())
    if found.keys() != names:
        missing, unknown = sorted(names - found.keys()), sorted(found.keys() - names)
        wrong = [f"lacks the fields {missing}"] * bool(missing)
        wrong += [f"has the unknown fields {unknown!s:.200}"] * bool(unknown)
        null = " (projection and reset are null where they don't apply)" * bool({"projection", "reset"} & {*missing})
        raise ModelError(f"model: {where} {' and '.join(wrong)}{null}; correct it")


def check_number(whose: str, name: str, value: object, largest: int) -> None:
    """Check that a value is a whole number in 1..largest; True is not a number."""
    if type(value) is not int or not 1 <= value <= largest:
        raise ModelError(f"{whose}: {name} is {value!r:.80}; give a whole number in 1..{largest}")


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Check that a layer's value is one of the allowed ones."""
    if value not in allowed:
        raise ModelError(f"layer: {name} is {value!r:.80}; give one of {', '.join(allowed)}")


def check_epsilon(value: object) -> float:
    """Check that what a norm adds to variances is a number above 0, and give it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LARGEST_EPSILON:
        raise ModelError(f"layer: epsilon is {value!r:.80}; give a number above 0 and below {LARGEST_EPSILON:g}")
    return float(value)


def check_residual(residual: object, span: object) -> None:
    """Check that a layer's residual is true or false, and that its span is a number of layers, 1 without a sum."""
    if type(residual) is not bool:
        raise ModelError(f"layer: residual is {residual!r:.80}; give true or false")
    check_number("layer", "span", span, MOST_LAYERS)
    if span != 1 and not residual:
        raise ModelError(f"layer: span is {span}, but residual is false; leave span out, or set residual to true")
