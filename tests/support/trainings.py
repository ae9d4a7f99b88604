"""Requests for trainings, and their corpora."""

import json

import psutil

from producer.sources.options import SourceOptions
from producer.training.request import FitRequest


def asked(inputs, out, **options):
    """A request for a training; token ids are at most 50."""
    chosen = {"source": SourceOptions(), "vocab_size": 50, "tokenizer": None, "oov": None, "training": {}} | options
    return FitRequest(tuple(map(str, inputs)), out, **chosen)


def write(path, rows, field="tokens"):
    """A file of JSON lines, each with one field."""
    path.write_text("".join(json.dumps({field: row}) + "\n" for row in rows))
    return path


def is_open(path, times):
    """Whether this process has opened a file so often."""
    return sum(file.path == str(path) for file in psutil.Process().open_files()) == times
