"""JSON of the commands, whatever numbers are in it."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.telemetry.json_text import json_text

ROOT = Path(__file__).parents[3]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


def expected(value):
    """What a reader of JSON gets: lists of tuples, and None where a float isn't a number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: expected(part) for name, part in value.items()}
    return [expected(part) for part in value] if isinstance(value, list | tuple) else value


@given(VALUES)
def test_any_value_is_valid_json(value):
    """A strict reader accepts it, and gets all that JSON can have."""
    text = json_text(value)
    assert json.loads(text, parse_constant=pytest.fail) == expected(value)
    assert text.isascii()
    assert "\n" not in text


def test_all_commands_print_it():
    """No command writes JSON in another way: NaN would make it unreadable."""
    sources = [path for room in ("producer/cli", "worker/cli") for path in (ROOT / room).rglob("*.py")]
    direct = [path.name for path in sources if "json.dumps" in path.read_text() and path.name != "demo.py"]
    assert sources
    assert not direct, "print json_text(…) of unrolled.telemetry.json_text"
