"""Columns as most jobs have them: a vector for each token, of one layer."""

from unrolled.format.output_spec import OutputColumn
from unrolled.format.schema import Columns, VectorColumn


def plain(units, *, with_tokens=False):
    """Columns of a file."""
    return Columns((VectorColumn("outputs", units),), "float32", with_tokens)


def per_token(units):
    """The same as an engine takes it."""
    return (OutputColumn("outputs", 0, "none", units),)
