"""The columns of an input table that are read: for all formats that name their columns once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from producer.sources.errors import DamagedInputError
from producer.sources.options import SourceOptions

#: The options that name the column with the content, by the kind of rows.
_OPTIONS = {
    "auto": ("--text-field", "--tokens-field"),
    "text": ("--text-field",),
    "tokens": ("--tokens-field",),
    "vectors": ("--vectors-field",),
}


@dataclass(frozen=True, slots=True)
class InputColumns:
    """Positions of the columns that are read, from 0.

    Attributes:
        content: the column with the text, the token ids or the vectors.
        is_text: whether it contains text.
        id: the column with the ids; None if there is none.
        state: the column with the initial states; None if none are read.
        count: number of columns in the table.
        other_id: see `SourceOptions.other_id`.
    """

    content: int
    is_text: bool
    id: int | None
    count: int
    state: int | None = None
    other_id: str | None = None

    @property
    def read(self) -> tuple[int, ...]:
        """The columns that are read: content, ids and initial states, as far as they exist."""
        return tuple(at for at in (self.content, self.id, self.state) if at is not None)

    def parts(self, arrays: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Content, ids and initial states of the arrays of `read`; None for what isn't read."""
        found = dict(zip(self.read, arrays, strict=True))
        return (
            found[self.content],
            None if self.id is None else found[self.id],
            None if self.state is None else found[self.state],
        )


def find_columns(names: Sequence[str], options: SourceOptions) -> InputColumns:
    """Find the columns that the options name.

    Raises:
        DamagedInputError: a column is missing or exists more than once, or both text and tokens exist and the options
            don't choose one.
    """
    text, tokens = options.text_field, options.tokens_field
    wanted = options.content_fields
    present = [name for name in wanted if name in names]
    if not present:
        raise DamagedInputError(
            f"has no column {' or '.join(map(repr, wanted))}; columns found: {_listed(names)}"
            f"{'' if options.kind == 'vectors' else options.about_vectors(names)}. "
            f"Name it ({', '.join(_OPTIONS[options.kind])})"
        )
    if len(present) > 1:
        raise DamagedInputError(f"has both columns {text!r} and {tokens!r}; choose one (--kind)")
    if options.id_field is not None and options.id_field not in names:
        raise DamagedInputError(
            f"has no column {options.id_field!r} for the ids; columns found: {_listed(names)}. Name it (--id-field)"
        )
    state = options.initial_state_field
    if state is not None and state not in names:
        raise DamagedInputError(
            f"has no column {state!r} for the initial states, which the model reads; columns found: {_listed(names)}. "
            "Name it (--initial-state-field)"
        )
    id_name = options.id_column if options.reads_ids and options.id_column in names else None
    for name in (present[0], id_name, state):
        if name is not None and list(names).count(name) > 1:
            raise DamagedInputError(f"has the column {name!r} {list(names).count(name)} times; allowed: once")
    return InputColumns(
        content=list(names).index(present[0]),
        is_text=present[0] != options.numbers_field,
        id=None if id_name is None else list(names).index(id_name),
        count=len(names),
        state=None if state is None else list(names).index(state),
        other_id=options.other_id(names),
    )


def _listed(names: Sequence[str]) -> str:
    """Up to twelve of the names."""
    shown = [repr(name[:40]) for name in names[:12]]
    return (", ".join(shown) + (", …" if len(names) > len(shown) else "")) or "none"
