"""Traces of a run for OpenTelemetry: which steps each shard went through, when, and on which machine.

Off by default; then this imports nothing of OpenTelemetry, and a span is a context that does nothing. Needs the extra
`tracing`. OpenTelemetry's own variables say where spans go, such as OTEL_EXPORTER_OTLP_ENDPOINT.
"""

# Over 150 lines: spans, and the start and the end of the exporter that they need.

from __future__ import annotations

import contextlib
import os
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from unrolled.errors import OptionError, install_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

_PACKAGES = ("opentelemetry.sdk", "opentelemetry.instrumentation.celery", "opentelemetry.exporter.otlp.proto.http")


class Spans:
    """Records nothing."""

    def span(self, name: str, **facts: str | int) -> AbstractContextManager[None]:
        """Record what this thread does in the block.

        Args:
            name: of the step.
            facts: about it.
        """
        del name, facts
        return contextlib.nullcontext()

    def note(self, **facts: str | int) -> None:
        """Add facts to the span in which this thread is."""

    def here(self) -> object:
        """The span in which this thread is, for `joint`."""
        return None

    def joint(self, name: str, places: Sequence[object], **facts: str | int) -> AbstractContextManager[None]:
        """Record a step that is done for several spans at once; it has a link to each of them.

        Args:
            name: of the step.
            places: what `here` gave.
            facts: about it.
        """
        del name, places, facts
        return contextlib.nullcontext()

    def close(self) -> None:
        """Send what is recorded."""


class RecordedSpans(Spans):
    """Records spans.

    Args:
        provider: of OpenTelemetry.
    """

    def __init__(self, provider: Any) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - an extra that most processes don't need

        self._trace = trace
        self._provider = provider
        self._tracer = provider.get_tracer("unrolled")

    @contextlib.contextmanager
    def span(self, name: str, **facts: str | int) -> Iterator[None]:
        """See `Spans`."""
        with self._tracer.start_as_current_span(name, attributes=_named(facts)):
            yield

    def note(self, **facts: str | int) -> None:
        """See `Spans`."""
        self._trace.get_current_span().set_attributes(_named(facts))

    def here(self) -> object:
        """See `Spans`."""
        return self._trace.get_current_span().get_span_context()

    @contextlib.contextmanager
    def joint(self, name: str, places: Sequence[object], **facts: str | int) -> Iterator[None]:
        """See `Spans`. The step has a trace of its own, because no shard's trace may contain another shard's work."""
        links = [self._trace.Link(place) for place in cast("Sequence[Any]", places) if place.is_valid]
        with self._tracer.start_as_current_span(name, attributes=_named(facts), links=links):
            yield

    def close(self) -> None:
        """See `Spans`. Spans that end later, such as those of Celery's messages, are sent when the process ends."""
        from unrolled.telemetry.span_sending import CLOSING_SECONDS  # noqa: PLC0415 - needs the extra

        # In a thread of its own, because OpenTelemetry's limit of time isn't kept.
        sending = threading.Thread(target=self._provider.force_flush, name="last-spans", daemon=True)
        sending.start()
        sending.join(CLOSING_SECONDS)


def check_installed(tracing: str) -> None:
    """See that spans can be recorded, if they are asked for.

    Raises:
        OptionError: a package is missing; the text says how to install it.
    """
    if tracing == "off":
        return
    for package in _PACKAGES:
        try:
            missing = find_spec(package) is None
        except ModuleNotFoundError:
            missing = True
        if missing:
            raise OptionError(f"--tracing needs {package}, which is missing: {install_command('tracing')}")


def start_tracing(tracing: str, service: str) -> Spans:
    """Begin to record spans, those of Celery's messages too, if they are asked for.

    Args:
        tracing: "off", or "otlp" to send them as OpenTelemetry's variables say.
        service: the name of this process's kind.

    Raises:
        OptionError: a package is missing.
    """
    if tracing == "off":
        return Spans()
    check_installed(tracing)
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra

    from unrolled.telemetry.span_sending import SpanBatches, SpanSender  # noqa: PLC0415 - needs the extra

    name = os.environ.get("OTEL_SERVICE_NAME") or service  # OpenTelemetry's own variable is weaker than an argument
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=True)
    provider.add_span_processor(SpanBatches(SpanSender()))
    instrument_celery(provider)
    return RecordedSpans(provider)


def instrument_celery(provider: Any) -> None:
    """Record a span for each message that this process sends or handles.

    A message's handling links to its sending and isn't a part of it: a producer's trace would never end.
    """
    from opentelemetry.instrumentation.celery import CeleryInstrumentor  # noqa: PLC0415 - an extra

    CeleryInstrumentor().instrument(tracer_provider=provider, use_span_links=True)  # type: ignore[no-untyped-call]  # it is untyped


def _named(facts: dict[str, str | int]) -> dict[str, str | int]:
    return {f"unrolled.{name}": value for name, value in facts.items()}
