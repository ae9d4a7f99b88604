"""Every token's LSTM state, in Parquet: the reader.

>>> import unrolled
>>> dataset = unrolled.open("out")
>>> for row in dataset:
...     print(row.id, row.outputs.shape)

Nothing is imported until it is used: the command line imports this package and must start at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unrolled.errors import UnrolledError
    from unrolled.reading.batch import Batch
    from unrolled.reading.dataset import Dataset
    from unrolled.reading.dataset import open_dataset as open  # noqa: A004 - `unrolled.open` is the name people look for
    from unrolled.reading.row import Row
    from unrolled.reading.transforms import pooled, to_padded

    __version__: str

__all__ = ["Batch", "Dataset", "Row", "UnrolledError", "__version__", "open", "pooled", "to_padded"]

_HOMES = {
    "Batch": ("reading.batch", "Batch"),
    "Dataset": ("reading.dataset", "Dataset"),
    "Row": ("reading.row", "Row"),
    "UnrolledError": ("errors", "UnrolledError"),
    "open": ("reading.dataset", "open_dataset"),
    "pooled": ("reading.transforms", "pooled"),
    "to_padded": ("reading.transforms", "to_padded"),
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("unrolled.format.file_info").release()
    if name not in _HOMES:
        raise AttributeError(f"module 'unrolled' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(f"unrolled.{module}"), attribute)
