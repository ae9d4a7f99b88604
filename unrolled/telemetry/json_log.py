"""A program's log as JSON: one object a line, whatever is logged."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a thread works on now; part of each of its lines.
_about: ContextVar[dict[str, str] | None] = ContextVar("about", default=None)
#: Longest message and longest traceback; collectors cut or drop longer lines.
MOST_CHARACTERS = 16_000


@contextlib.contextmanager
def about(**facts: str) -> Iterator[None]:
    """Add facts, such as a job and a shard, to the lines that this thread logs in the block."""
    token = _about.set({**(_about.get() or {}), **facts})
    try:
        yield
    finally:
        _about.reset(token)


def note(**facts: str) -> None:
    """Add facts to the lines that this thread logs, until the block of `about` ends that it is in."""
    _about.set({**(_about.get() or {}), **facts})


def line_of(level: str, message: str) -> str:
    """A line, with its end, for places where no logger may be used because it takes a lock."""
    record = logging.LogRecord("unrolled", logging.getLevelNamesMapping()[level], "", 0, message, None, None)
    return JsonFormatter().format(record) + "\n"


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON.

    Its fields are `time` (RFC 3339, UTC), `level`, `logger`, `message`, `thread`, what `about` added, and `exception`,
    the whole traceback as one text, where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end. It contains ASCII characters only, so no reader can take it for two lines."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's wrong arguments must not end the log
            message = f"{record.msg} {record.args}"
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": message[:MOST_CHARACTERS],
            "thread": record.threadName,
            **(_about.get() or {}),
        }
        if record.exc_info and record.exc_info[0]:
            # The end of a traceback has the error itself.
            fields["exception"] = self.formatException(record.exc_info)[-MOST_CHARACTERS:]
        if record.stack_info:
            fields["stack"] = str(record.stack_info)[:MOST_CHARACTERS]
        return json.dumps(fields, default=str)


_active = threading.Event()


def is_active() -> bool:
    """Whether this process logs as JSON."""
    return _active.is_set()


def log_json(level: str | int = logging.INFO) -> None:
    """Send all that this process logs to standard error as JSON, warnings and uncaught errors too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    _active.set()
    log = logging.getLogger("unrolled")

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("uncaught error", exc_info=(kind, error, trace))

    def uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
        if found.exc_value is not None:
            log.critical("uncaught error", exc_info=(found.exc_type, found.exc_value, found.exc_traceback))

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
