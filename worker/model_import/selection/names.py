"""Names of layers: how a list of them is printed, and which of them belong together."""

import re
from collections.abc import Iterable
from itertools import islice

_KINDS = {
    "lstm", "gru", "rnn", "rnns", "bidirectional", "bilstm", "bigru", "bi", "cudnnlstm", "cudnngru",
    "cell", "layer", "layers", "l",
}  # fmt: skip


def names_of(names: Iterable[str]) -> str:
    """Up to 20 of the names, for a message."""
    first = list(islice(names, 21))
    return (", ".join(first[:20]) + (", …" if len(first) > 20 else "")) or "none"


def family(name: str) -> str:
    """A layer's name without numbers and without words for its kind: "encoder" for encoder.lstm_1."""
    words = re.split(r"[\W\d_]+", name.lower())
    return " ".join(word for word in words if word and word not in _KINDS)
