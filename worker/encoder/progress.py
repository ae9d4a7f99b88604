"""The progress of a long computation: a bar, or the caller's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from warnings import catch_warnings

#: None, True and False: a bar on a terminal, always, never; or a function of the tokens done and the tokens in all.
Progress = bool | Callable[[int, int], None] | None

# A bar appears when the work has taken this long.
_DELAY_SECONDS = 2.0


@contextmanager
def watched(progress: Progress, tokens: int) -> Iterator[Callable[[int], object]]:
    """Show how far a computation is; gives a function that takes the number of tokens that were just computed.

    Args:
        progress: how.
        tokens: all tokens.
    """
    if progress is False:
        yield lambda _: None
        return
    if callable(progress):
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress(done, tokens)

        yield advance
        return
    try:
        with catch_warnings(action="ignore"):  # in a notebook without ipywidgets it draws its bar as text, and warns
            from tqdm.auto import tqdm  # noqa: PLC0415 - most calls are short
    except ImportError:
        if progress:
            raise
        yield lambda _: None
        return
    bar = tqdm(
        total=tokens,
        unit=" tokens",
        unit_scale=True,
        disable=None if progress is None else False,
        delay=0 if progress else _DELAY_SECONDS,
    )
    with bar:
        yield bar.update
