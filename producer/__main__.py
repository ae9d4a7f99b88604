"""The command `unrolled`, and `python -m producer`."""

# The module in C comes first: `signal` and the others take a moment to import, in which Ctrl-C would show a traceback.
import _signal  # type: ignore[import-not-found]  # no types are published for it

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    # While the command line is imported, nothing has begun that Ctrl-C would have to end in order.
    # `producer.terminal.signals.interruptible` puts the handler back for as long as a command runs.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import atexit
import contextlib
import gc
import io
import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Objects that are created, and still alive, before Python looks for cycles; an import leaves thousands, and none.
_OBJECTS_PER_COLLECTION = 10_000


class _Forgiving(io.FileIO):
    """Standard error. What can't be written there, as on a full disk, is lost, and nothing but that."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write what can be written."""
        written: int | None = None  # where the other side of a pipe isn't waited for, and takes nothing now
        with contextlib.suppress(OSError):
            written = super().write(data)
        return memoryview(data).nbytes if written is None else written


def main() -> NoReturn:
    """Entry point of `unrolled`."""
    # Collections take a quarter of the time of a command that only starts and ends; at its end, they find nothing that
    # matters.
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)
    _open_streams()
    from producer.cli.root import main as run  # noqa: PLC0415 - see above

    run()


def _open_streams() -> None:
    """Open standard streams that are closed (`2>&-`), so that no file of a job gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - it stays open
    given = sys.stderr
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Forgiving(2)),
        given.encoding,
        given.errors,
        line_buffering=True,
        write_through=getattr(given, "write_through", False),
    )
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - it stays open


if __name__ == "__main__":
    main()
