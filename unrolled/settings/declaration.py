"""Options that are declared once, as fields of a frozen dataclass; flags, variables, help and checks follow from them.

    @dataclass(frozen=True, slots=True)
    class Sizes:
        threads: int | None = option(None, "Threads of the engine.", least=1, unset="all cores")

        def __post_init__(self) -> None:
            check(self)

The field's flag is `--threads` (`unrolled.settings.flags` makes it), and its variable is UNROLLED_THREADS.
"""

# Over 150 lines: one idea, and what follows from a declaration.

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from unrolled.errors import OptionError, RequestError

Options = TypeVar("Options")
_NUMBERS = {int: "a whole number", float: "a number"}
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Option:
    """The declaration of a field, besides its type and its default.

    Attributes:
        help: what the value is.
        choices: the allowed values; empty where there is no list.
        least, most: the smallest and the largest allowed number.
        above, below: bounds of a number that are not allowed themselves.
        metavar: the value's name in a help text, such as SECONDS; None for the type's.
        unset: what happens without a value, where the default is None.
        read: makes the value of a text; None for what the type does. Raises ValueError or RequestError.
        write: makes the text of a value, which `read` takes.
    """

    help: str
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    metavar: str | None = None
    unset: str | None = None
    read: Callable[[str], Any] | None = None
    write: Callable[[Any], str] = str

    @property
    def allowed(self) -> str:
        """The allowed values in words; empty where any is allowed."""
        if self.choices:
            return " or ".join(self.choices)
        least, most = (None if bound is None else self.write(bound) for bound in (self.least, self.most))
        if self.above is not None:
            upper = "" if self.below in (None, inf) else f", below {self.below:g}"
            return f"above {self.above:g}{f', up to {most}' if most else upper}"
        if least is not None:
            return f"{least} to {most}" if most is not None else f"{least} or more"
        return ""

    def fits(self, value: Any) -> bool:
        """Whether a value is allowed; not-a-number never is where there is a bound."""
        return not (
            (self.choices and value not in self.choices)
            or (self.least is not None and not value >= self.least)
            or (self.most is not None and not value <= self.most)
            or (self.above is not None and not value > self.above)
            or (self.below is not None and not value < self.below)
        )


def option(default: Any = MISSING, help: str = "", **more: Any) -> Any:  # noqa: A002 - click's name for it
    """A dataclass field with an `Option`; without a default the option is required."""
    return field(default=default, metadata={"option": Option(help, **more)})


def declared(options: type) -> dict[str, tuple[Field[Any], Option]]:
    """The fields of a dataclass that declare an option, by name; required ones come first."""
    found = [(each, each.metadata["option"]) for each in fields(options) if "option" in each.metadata]
    return {each.name: (each, about) for each, about in sorted(found, key=lambda pair: pair[0].default is not MISSING)}


def kind_of(each: Field[Any]) -> type:
    """The type of a field's value, besides None."""
    (kind,) = (kind for kind in get_args(each.type) or (each.type,) if kind is not type(None))
    return cast("type", kind)  # no text: modules that declare options evaluate their annotations


def flag_of(name: str) -> str:
    """The flag of a field: --lease-seconds of lease_seconds."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """The environment variable of a field: UNROLLED_LEASE_SECONDS of lease_seconds."""
    return "UNROLLED_" + name.upper()


def check(options: Any) -> None:
    """See that each value is allowed.

    Raises:
        OptionError: one isn't; the text has its flag, the value, and the allowed ones.
    """
    for name, (_, about) in declared(type(options)).items():
        value = getattr(options, name)
        if value is not None and not about.fits(value):
            raise OptionError(f"{flag_of(name)} is {about.write(value)}; allowed: {about.allowed}")
        if about.read and isinstance(value, str):
            try:
                about.read(value)
            except (ValueError, RequestError) as error:
                raise OptionError(f"{flag_of(name)}: {error}") from error


def from_environ(options: type[Options], environ: Mapping[str, str]) -> Options:
    """Read a dataclass of options from its variables; an empty variable counts as none.

    Raises:
        OptionError: a variable is missing, or its value is not allowed; the text has its name.
    """
    values = {}
    for name, (each, about) in declared(options).items():
        if text := environ.get(variable_of(name)):
            try:
                values[name] = _read(text, kind_of(each), about)
            except (ValueError, RequestError) as error:
                raise OptionError(f"{variable_of(name)}: {error}") from error
        elif each.default is MISSING:
            raise OptionError(f"{variable_of(name)} is not set; it is needed: {about.help}")
    return options(**values)


def to_environ(options: Any) -> dict[str, str]:
    """The variables from which `from_environ` reads equal options."""
    given = {name: about for name, (_, about) in declared(type(options)).items() if getattr(options, name) is not None}
    return {variable_of(name): about.write(getattr(options, name)) for name, about in given.items()}


def _read(text: str, kind: type, about: Option) -> Any:
    if about.read is not None:
        return about.read(text)
    if kind is bool:
        if text.lower() not in _SWITCH:
            raise ValueError(f"'{text}' is not {' or '.join(_SWITCH)}")
        return _SWITCH[text.lower()]
    if kind in _NUMBERS:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"'{text}' is not {_NUMBERS[kind]}") from None
    return Path(text) if kind is Path else text
