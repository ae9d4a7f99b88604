"""The command `unrolled`, and `python -m producer`."""

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Entry point of `unrolled`."""
    # While the command line is imported, nothing has begun that Ctrl-C would have to end in order: no traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from producer.cli.root import main as run  # noqa: PLC0415 - see above

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
