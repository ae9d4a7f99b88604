"""Which columns of a table hold the row, for every format that names its columns once."""

from collections.abc import Sequence
from dataclasses import dataclass

from producer.sources.errors import DamagedInputError
from producer.sources.options import SourceOptions


@dataclass(frozen=True, slots=True)
class Columns:
    """Places of the columns that are read.

    Attributes:
        content: place of the column with the text or the token ids.
        is_text: which of the two it holds.
        id: place of the column with the ids, None where rows have none of their own.
        count: number of columns in the table.
    """

    content: int
    is_text: bool
    id: int | None
    count: int


def pick_columns(names: Sequence[str], options: SourceOptions) -> Columns:
    """Find the columns that are asked for.

    Raises:
        DamagedInputError: one of them is missing, or there more than once, or text and tokens are both there
            and nothing says which one counts.
    """
    text, tokens = options.text_field, options.tokens_field
    wanted = {"auto": (text, tokens), "text": (text,), "tokens": (tokens,)}[options.kind]
    there = [name for name in wanted if name in names]
    if not there:
        raise DamagedInputError(
            f"has no column {' or '.join(map(repr, wanted))}; columns found: {_listed(names)}. "
            "Name it (--text-field, --tokens-field)"
        )
    if len(there) > 1:
        raise DamagedInputError(f"has both columns {text!r} and {tokens!r}; say which one counts (--kind)")
    if options.id_field is not None and options.id_field not in names:
        raise DamagedInputError(
            f"has no column {options.id_field!r} for the ids; columns found: {_listed(names)}. Name it (--id-field)"
        )
    id_name = options.id_column if options.id_column in names else None
    for name in (there[0], id_name):
        if name is not None and list(names).count(name) > 1:
            raise DamagedInputError(f"has the column {name!r} {list(names).count(name)} times; allowed: once")
    return Columns(
        content=list(names).index(there[0]),
        is_text=there[0] == text,
        id=None if id_name is None else list(names).index(id_name),
        count=len(names),
    )


def _listed(names: Sequence[str]) -> str:
    """The names found, as many as help."""
    shown = [repr(name[:40]) for name in names[:12]]
    return (", ".join(shown) + (", …" if len(names) > len(shown) else "")) or "none"
