"""The order that people mean by numbers in names."""

import re


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key: runs of digits count as numbers, so that lstm_2 comes before lstm_10."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part)


def family(name: str) -> str:
    """What is left of a layer's name without numbers and words for its kind: "encoder" of encoder.lstm_1."""
    words = re.split(r"[\W\d_]+", name.lower())
    kinds = {
        "lstm",
        "gru",
        "rnn",
        "rnns",
        "bidirectional",
        "bilstm",
        "bigru",
        "bi",
        "cudnnlstm",
        "cudnngru",
        "cell",
        "layer",
        "layers",
        "l",
    }
    return " ".join(word for word in words if word and word not in kinds)
