"""Names that producer and workers agree on."""

import pytest

from unrolled.queue.messages import NAMESPACE, queue_name, transport_options


def test_queue_and_keys():
    """A queue carries its model's name; every key of kombu's begins with the namespace."""
    assert queue_name("ab" * 32) == "shards.abababababab"
    assert transport_options("unrolled") == {"global_keyprefix": "unrolled:", "priority_steps": [0]}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("unrolled", True),
        ("a-1_b", True),
        ("", False),
        ("A", False),
        ("a:b", False),
        ("*", False),
        ("a" * 33, False),
    ],
)
def test_namespace(text, fits):
    """A namespace can't hold what means something in a key or a pattern."""
    assert bool(NAMESPACE.fullmatch(text)) is fits
