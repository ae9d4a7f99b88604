"""Names that producer and workers agree on."""

from contextlib import nullcontext

import pytest

from unrolled.errors import RequestError
from unrolled.job.offer import Offer
from unrolled.queue.messages import NAMESPACE, check_namespace, queue_name, transport_options


def test_queue_and_keys():
    """A queue carries its offer's short name; every key of kombu's begins with the namespace."""
    assert queue_name(Offer("ab" * 32, "tensorflow", "float32")) == "shards.abababababab-tensorflow-float32"
    assert transport_options("unrolled") == {"global_keyprefix": "unrolled:", "priority_steps": [0]}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("unrolled", True),
        ("a-1_b", True),
        ("", False),
        ("_", False),
        ("A", False),
        ("a:b", False),
        ("*", False),
        ("a" * 33, False),
    ],
)
def test_namespace(text, fits):
    """A namespace can't hold what means something in a key or a pattern; the error says what it may."""
    assert bool(NAMESPACE.fullmatch(text)) is fits
    with nullcontext() if fits else pytest.raises(RequestError, match="of which the first is a letter or a digit"):
        assert check_namespace(text) == text
