"""Parquet, written straight from NumPy's memory.

General writers work out two levels for every float, one by one, and copy the values into pages: at the
fused engine's rate that takes a third of a core and more. Here the vectors are all of one width, so their
levels are a few bytes a token, and the values go from the engine's buffer to the file as they lie.
benchmarks/encoding.py holds both against each other; the tests read with pyarrow, DuckDB and Polars.

    thrift    the encoding of headers and footer
    levels    how a flat run of values falls into rows
    file      pages, column chunks, row groups and the footer
"""
