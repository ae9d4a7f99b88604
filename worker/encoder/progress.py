"""The progress of a long computation: a bar, or the caller's own function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from warnings import catch_warnings

from unrolled.errors import RequestError, from_extra

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

    Raises:
        RequestError: a bar is asked for, and tqdm isn't installed.
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
    tqdm = _tqdm(needed=bool(progress))
    if tqdm is None:
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


def _tqdm(*, needed: bool) -> Any:
    """The class of a bar; None if tqdm isn't installed, unless it is needed."""
    try:
        # In a notebook without ipywidgets it draws its bar as text, and warns.
        with catch_warnings(action="ignore"), from_extra("a progress bar", "encode"):
            from tqdm.auto import tqdm  # noqa: PLC0415 - most calls are short
    except (ImportError, RequestError):
        if needed:
            raise
        return None
    return tqdm
