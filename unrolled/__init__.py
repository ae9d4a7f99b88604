"""Every token's LSTM state: read from a job's Parquet files, or computed in this program.

>>> import unrolled
>>> dataset = unrolled.open("out")
>>> for row in dataset:
...     print(row.id, row.outputs.shape)

>>> encoder = unrolled.load("my-model")
>>> vectors = encoder.encode(["the cat sat", "the cat ran"], pooling="mean")

Nothing is imported until it is used: the command line imports this package and must start at once.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unrolled.errors import UnrolledError
    from unrolled.learning.examples import Examples
    from unrolled.reading.batch import Batch
    from unrolled.reading.dataset import Dataset
    from unrolled.reading.dataset import open_dataset as open  # noqa: A004 - `unrolled.open` is the name people look for
    from unrolled.reading.row import Row
    from unrolled.reading.transforms import pooled, to_padded
    from worker.encoder.embedder import Embedder
    from worker.encoder.encoder import Encoder, load
    from worker.encoder.vectorizer import Vectorizer

    __version__: str

__all__ = [
    "Batch",
    "Dataset",
    "Embedder",
    "Encoder",
    "Examples",
    "Row",
    "UnrolledError",
    "Vectorizer",
    "__version__",
    "load",
    "open",
    "pooled",
    "to_padded",
]

#: Where each name is. The encoder needs the engines, so this is the one place from which `unrolled` imports `worker`.
_HOMES = {
    "Batch": ("unrolled.reading.batch", "Batch"),
    "Dataset": ("unrolled.reading.dataset", "Dataset"),
    "Embedder": ("worker.encoder.embedder", "Embedder"),
    "Encoder": ("worker.encoder.encoder", "Encoder"),
    "Examples": ("unrolled.learning.examples", "Examples"),
    "Row": ("unrolled.reading.row", "Row"),
    "UnrolledError": ("unrolled.errors", "UnrolledError"),
    "Vectorizer": ("worker.encoder.vectorizer", "Vectorizer"),
    "load": ("worker.encoder.encoder", "load"),
    "open": ("unrolled.reading.dataset", "open_dataset"),
    "pooled": ("unrolled.reading.transforms", "pooled"),
    "to_padded": ("unrolled.reading.transforms", "to_padded"),
}


#: The one name that can't be imported without a package that no extra brings, and that package's name in `pip install`.
_PACKAGES = {"Vectorizer": ("sklearn", "scikit-learn")}


def __dir__() -> list[str]:
    """The names that can be used here: `help(unrolled)` and completion list them."""
    there = [name for name in __all__ if name not in _PACKAGES or find_spec(_PACKAGES[name][0])]
    return sorted(there)


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("unrolled.format.file_info").release()
    if name not in _HOMES:
        raise AttributeError(f"module 'unrolled' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    if name in _PACKAGES and not find_spec(_PACKAGES[name][0]):
        raise ImportError(f"unrolled.{name} needs {_PACKAGES[name][1]}: pip install {_PACKAGES[name][1]}")
    return getattr(import_module(module), attribute)
