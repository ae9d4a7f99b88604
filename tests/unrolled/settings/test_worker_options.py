"""How a worker computes: what is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import OptionError
from unrolled.settings.worker_options import WorkerOptions, bytes_text, parse_bytes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("engine", "torch"),
        ("arithmetic", "float16"),
        ("threads", 0),
        ("memory_budget", 2**20 - 1),
        ("pool_tokens", 0),
        ("concurrency", 0),
        ("concurrency", 257),
        ("lease_seconds", 0.5),
        ("lease_seconds", float("nan")),
        ("lease_seconds", float("inf")),
        ("grace_seconds", -1.0),
        ("grace_seconds", float("nan")),
        ("grace_seconds", float("inf")),
        ("max_attempts", 0),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(name, value):
    """The text has the flag, what was found and what may be."""
    with pytest.raises(OptionError, match=f"--{name.replace('_', '-')} is .*; allowed: "):
        WorkerOptions(**{name: value})


def test_bfloat16_needs_the_engine_that_has_it():
    """An impossible pair is refused with both values and the ways out."""
    with pytest.raises(OptionError) as caught:
        WorkerOptions(engine="tensorflow", arithmetic="bfloat16")
    assert str(caught.value) == (
        "--engine tensorflow and --arithmetic bfloat16 exclude each other; "
        "take --engine fused for bfloat16, or --arithmetic float32"
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1500", 1500),
        ("512M", 2**29),
        ("512MiB", 2**29),
        ("1.5 g", 3 * 2**29),
        ("2t", 2**41),
        (" 1kb ", 1024),
    ],
)
def test_numbers_of_bytes(text, size):
    """With a unit or without, as people write them."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize(("size", "text"), [(0, "0"), (1500, "1500"), (2**30, "1G"), (1536, "1536"), (3 * 2**20, "3M")])
def test_texts_of_numbers_of_bytes(size, text):
    """The largest unit that says the number in full."""
    assert bytes_text(size) == text


@given(st.integers(0, 2**50))
def test_a_number_of_bytes_comes_back(size):
    """From its text."""
    assert parse_bytes(bytes_text(size)) == size


@given(st.text(max_size=8) | st.from_regex(r"-?[0-9.]{1,5}[kmgt]?", fullmatch=True))
def test_any_text_is_a_number_of_bytes_or_refused(text):
    """ValueError or a number that isn't negative; nothing else."""
    try:
        size = parse_bytes(text)
    except ValueError as error:
        assert "512M" in str(error)  # noqa: PT017 - any text may do either
    else:
        assert isinstance(size, int)
        assert size >= 0
