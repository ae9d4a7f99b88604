"""Sends spans to a collector; one that can't be reached is one line, and not the text of the libraries below.

Needs the extra `tracing`.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger(__name__)

#: How long the end of a process waits for spans that are being sent, and then for the attempt to end.
CLOSING_SECONDS, _ENDING_SECONDS = 2.0, 0.5
#: The longest reason that is shown.
_REASON_CHARACTERS = 200


class SpanBatches(BatchSpanProcessor):
    """OpenTelemetry's batches of spans, without its half minute of waiting at the end."""

    def shutdown(self) -> None:
        """Send what is left, for as long as the end of a process may take."""
        self._batch_processor.shutdown(timeout_millis=int(1000 * CLOSING_SECONDS))


class SpanSender(SpanExporter):
    """OpenTelemetry's exporter, which tries each batch several times; what it logs itself becomes the reason of a line.

    A batch that can't be sent is lost, and the next one is tried: traces are no part of a job, and it doesn't wait for
    them.
    """

    def __init__(self) -> None:
        self._exporter = trace_exporter.OTLPSpanExporter()
        self._failing = False
        self._reason = ""
        self._sending = threading.Lock()
        logging.getLogger(trace_exporter.__name__).addFilter(self._take_reason)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        with self._sending:
            self._reason = ""
            try:
                result = self._exporter.export(spans)
            except Exception as error:  # noqa: BLE001 - some releases raise what others log
                self._reason, result = _plain(error), SpanExportResult.FAILURE
            failed = result is not SpanExportResult.SUCCESS
            if failed and not self._failing:
                self._say_why(self._reason or "no answer")
            elif self._failing and not failed:
                log.warning("can send traces again")
            self._failing = failed
            return result

    def shutdown(self) -> None:
        """End the attempts of a batch that is being sent, and send nothing more."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # it is untyped
        if self._sending.acquire(timeout=_ENDING_SECONDS):
            self._sending.release()
        elif not self._failing:
            self._say_why("no answer")

    def _say_why(self, reason: str) -> None:
        log.warning(
            "can't send traces to %s: %s; these are lost, and later ones are tried. Start the collector there, or set "
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            _without_login(getattr(self._exporter, "_endpoint", "the collector")),  # it has no public name
            reason,
        )

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._exporter.force_flush(timeout_millis)

    def _take_reason(self, record: logging.LogRecord) -> bool:
        """Keep the reason in what the exporter logs, and let nothing of it pass."""
        values = record.args if isinstance(record.args, tuple) else ()
        errors = [value for value in values if isinstance(value, Exception)]
        if errors:
            self._reason = _plain(errors[0])
        elif "code: %s, reason: %s" in str(record.msg):
            self._reason = " ".join(str(value) for value in values[-2:])[:_REASON_CHARACTERS]
        elif not self._reason:
            self._reason = record.getMessage()[:_REASON_CHARACTERS]
        return False


def _without_login(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"


def _plain(error: BaseException) -> str:
    """The operating system's words for what lies at the bottom of an error, else the error's own."""
    words = [one.strerror for one in _causes(error) if isinstance(one, OSError) and one.strerror]
    return str(words[-1] if words else error or type(error).__name__)[:_REASON_CHARACTERS]


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
