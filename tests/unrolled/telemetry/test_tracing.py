"""Spans for OpenTelemetry."""

import pytest

from unrolled.errors import OptionError
from unrolled.telemetry import tracing
from unrolled.telemetry.tracing import Spans, start_tracing


def test_nothing_is_recorded_unless_asked_for():
    """A span is a context that does nothing, and there is no place to link to."""
    spans = start_tracing("off", "unrolled-test")
    assert type(spans) is Spans
    with spans.span("read", job="a"), spans.joint("compute", [spans.here()]):
        pass
    assert spans.here() is None
    spans.close()


def test_without_the_packages_the_error_says_how_to_install_them(monkeypatch):
    """The extra is named; if spans are off, nothing is missing."""
    monkeypatch.setattr(tracing, "_PACKAGES", ("no_such_package.sdk",))
    tracing.check_installed("off")
    with pytest.raises(OptionError, match=r"--tracing needs no_such_package.sdk, .*pip install 'unrolled\[tracing\]'"):
        start_tracing("otlp", "unrolled-test")
