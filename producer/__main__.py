"""The command `unrolled`, and `python -m producer`."""

import atexit
import gc
import signal
from typing import NoReturn

#: Objects that are created, and still alive, before Python looks for cycles; an import leaves thousands, and none.
_OBJECTS_PER_COLLECTION = 10_000


def main() -> NoReturn:
    """Entry point of `unrolled`."""
    # Collections take a quarter of the time of a command that only starts and ends; at its end, they find nothing that
    # matters.
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)
    # While the command line is imported, nothing has begun that Ctrl-C would have to end in order: no traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from producer.cli.root import main as run  # noqa: PLC0415 - see above

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
