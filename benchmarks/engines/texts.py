"""Texts that every machine has or can make, as rows of word ids."""

import collections
import datetime as dt
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from producer.demo.docstrings import docstrings
from unrolled.tokenization.ragged import Ragged

VOCAB = 10_000
_WORD = re.compile(r"\w+|[^\w\s]")


def _sources() -> Iterator[str]:
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if not {"site-packages", "dist-packages"} & set(path.parts):
            yield path.read_text(errors="replace")


def prose() -> list[str]:
    """Paragraphs of the standard library's docstrings."""
    return [paragraph for _, docstring in docstrings() for paragraph in re.split(r"\n\s*\n", docstring)]


def code() -> list[str]:
    """50,000 lines of the standard library's source, spread over it."""
    lines = [line for source in _sources() for line in source.splitlines() if line.strip()]
    return lines[:: max(1, len(lines) // 50_000)][:50_000]


def logs() -> list[str]:
    """50,000 lines of a made-up web service's log."""
    random = np.random.default_rng(0)
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    levels, paths = ("INFO", "INFO", "INFO", "WARNING", "ERROR"), ("/", "/login", "/api/items", "/api/users")
    return [
        f"{(start + dt.timedelta(seconds=k)).isoformat()} {levels[random.integers(5)]} web: "
        f"GET {paths[random.integers(4)]} status={random.choice((200, 200, 200, 304, 404, 500))} "
        f"user={random.integers(5_000)} took {random.integers(1, 900)} ms"
        for k in range(50_000)
    ]


TEXTS = {"prose": prose, "code": code, "logs": logs}


def rows_of(text: str) -> Ragged:
    """The rows of one of TEXTS, as ids of its VOCAB most frequent words; other words are left out."""
    words = [_WORD.findall(line.lower()) for line in TEXTS[text]()]
    counts = collections.Counter(word for line in words for word in line)
    ids = {word: k for k, (word, _) in enumerate(counts.most_common(VOCAB), 1)}
    rows = [[ids[word] for word in line if word in ids] for line in words]
    rows = [row for row in rows if row]
    values = np.array([token for row in rows for token in row], np.int32)
    return Ragged.from_lengths(values, list(map(len, rows)))
