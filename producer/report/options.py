"""The options of a report, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from unrolled.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

Method = Literal["pca", "umap", "tsne", "none"]
METHODS: tuple[Method, ...] = get_args(Method)
MOST_POINTS = 20_000
#: Points of a map that is made without being asked for, after a run, or again and again, with --live.
FEW_POINTS = 5_000


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """The options of a report.

    Attributes:
        method: how the map's coordinates are computed; "none" for a report without a map.
        points: the most points of the map.
        of_tokens: whether a point is a token; otherwise it is a row.
        column: the column of vectors; None for the first that fits.
        model: directory of the job's model, whose tokenizer shows token ids as words; None to do without.
        table: a Parquet, CSV or JSON lines file with texts and labels of the rows; None to do without.
        id_field, text_field, label_field: names of its columns; without a text_field, "text" if it has one.
        plan: what `unrolled plan --json` printed for this job; None to do without.
    """

    method: Method = "pca"
    points: int = MOST_POINTS
    of_tokens: bool = False
    column: str | None = None
    model: Path | None = None
    table: Path | None = None
    id_field: str = "id"
    text_field: str | None = None
    label_field: str | None = None
    plan: Path | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            OptionError: a value is not allowed, or two contradict each other.
        """
        if self.method not in METHODS:
            raise OptionError(f"map is {self.method!r:.80}; allowed: {', '.join(METHODS)}")
        if not 1 <= self.points <= MOST_POINTS:
            raise OptionError(f"points is {self.points:,}; allowed: 1 to {MOST_POINTS:,}")
        for option, field in (("--label-field", self.label_field), ("--text-field", self.text_field)):
            if field is not None and self.table is None:
                raise OptionError(f"{option} {field} names a column of a table; name that with --table")
        if self.table is not None and self.method == "none":
            raise OptionError("--table gives the map texts and labels; leave out --table, or --map none")
