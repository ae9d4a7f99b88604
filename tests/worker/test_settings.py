"""A worker's settings, checked before anything starts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.worker import worker
from worker.settings import _KINDS, Settings, parse_bytes

REQUIRED = {"UNROLLED_BROKER": "redis://h", "UNROLLED_MODEL": "/m"}


def test_settings_come_from_variables():
    """Each is read as its kind; what isn't given has its default."""
    given_settings = Settings.from_environ(
        REQUIRED
        | {
            "UNROLLED_MEMORY_BUDGET": "1.5G",
            "UNROLLED_LEASE_SECONDS": "2.5",
            "UNROLLED_THREADS": "3",
            "UNROLLED_OUTPUT_ROOT": "/data",
            "UNRELATED": "x",
        }
    )
    assert given_settings == Settings(
        "redis://h", Path("/m"), memory_budget=3 * 2**29, lease_seconds=2.5, threads=3, output_root=Path("/data")
    )


@pytest.mark.parametrize("name", ["UNROLLED_BROKER", "UNROLLED_MODEL"])
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_needed_is_named(name, value):
    """A missing variable, or an empty one, is told by its name."""
    environ = {key: text for key, text in REQUIRED.items() if key != name}
    if value is not None:
        environ[name] = value
    with pytest.raises(ValueError, match=f"{name} is not set"):
        Settings.from_environ(environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("namespace", "Upper"),
        ("namespace", "a:b"),
        ("namespace", "x" * 33),
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
def test_a_bad_value_is_told_with_what_is_allowed(name, value):
    """The text names the setting, what was found and what may be."""
    with pytest.raises(ValueError, match=f"{name} is .*allowed: "):
        Settings("redis://h", Path("/m"), **{name: value})


def test_bfloat16_needs_the_engine_that_has_it():
    """An impossible pair fails at start."""
    with pytest.raises(ValueError, match="--engine fused"):
        Settings("redis://h", Path("/m"), engine="tensorflow", arithmetic="bfloat16")


@pytest.mark.parametrize("name", [name for name, kind in _KINDS.items() if kind not in (str, Path)])
def test_a_value_of_another_kind_names_its_variable(name):
    """What can't be read says which variable it was."""
    with pytest.raises(ValueError, match=f"UNROLLED_{name.upper()}='lots'"):
        Settings.from_environ(REQUIRED | {f"UNROLLED_{name.upper()}": "lots"})


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


def test_flags_variables_and_fields_share_their_names_and_defaults():
    """Each field is an option of `unrolled worker`, a variable, and has one default."""
    fields = Settings.__dataclass_fields__
    assert set(_KINDS) == set(fields)
    made = worker.make_context("worker", ["--broker", "redis://h", "--model", "/m"]).params
    assert set(made) == set(fields) | {"log_level"}
    expected = Settings("redis://h", Path("/m"))
    assert {name: made[name] for name in fields} == {name: getattr(expected, name) for name in fields}
