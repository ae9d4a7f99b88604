"""The section of a page with the plan of the job beside the fact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.report.page.markup import number, size, table, text, took

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from producer.plan.beside import Beside

_HEADINGS = ("", "planned", "error of the sample", "was", "off")


def plan_section(found: Sequence[Beside], note: str = "") -> str:
    """A table of planned values, their planned errors, the real values, and the differences.

    Args:
        found: the figures; nothing is shown without any.
        note: a sentence about the plan as a whole; empty for none.
    """
    if not found:
        return ""
    rows = [
        (
            one.name,
            shown(one.planned),
            "not known" if one.error is None else f"±{shown(one.error)}{' or more' * one.at_least}",
            shown(one.fact),
            "" if one.off is None else f"{100 * one.off:+.1f} %",
        )
        for one in found
        for shown in [_shown(one.name)]
    ]
    about = "What `unrolled plan` said before the job. Seconds are from the first row to the last part."
    warning = f'<p class="note">{text(note, 2000)}</p>' if note else ""
    return (
        f"<section><header><h2>Plan and fact</h2><p>{text(about)}</p>{warning}</header>"
        f"<div>{table(_HEADINGS, rows, range(1, len(_HEADINGS)), 'plan')}</div></section>"
    )


def _shown(name: str) -> Callable[[float], str]:
    return {"bytes": size, "seconds": took}.get(name, number)
