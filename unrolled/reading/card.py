"""The dataset card of a job: a README.md for the Hugging Face Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import counted
from unrolled.format.positions import ALL

if TYPE_CHECKING:
    from unrolled.reading.dataset import Dataset

#: The Hub's own words for sizes, and the rows below which each applies.
_SIZES = (
    ("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**7),
    ("10M<n<100M", 10**8), ("100M<n<1B", 10**9), ("1B<n<10B", 10**10), ("10B<n<100B", 10**11), ("100B<n<1T", 10**12),
)  # fmt: skip
_LARGEST = "n>1T"
#: What a pooled vector is.
_POOLED = {
    "mean": "the mean of the vectors of the row's tokens",
    "max": "the largest number of the row's tokens in each place",
    "last": "the vector of the row's last token",
    "first": "the vector of the row's first token",
}
#: The columns without vectors: their types as YAML of `datasets`, and what they contain.
_OTHERS = {
    "id": ("dtype: string", "the row's id"),
    "length": ("dtype: int32", "the number of real tokens in the row"),
    "mask": ("list: bool", "for each token of the row as it came in, whether it is real (and not padding)"),
    "positions": ("list: int32", "for each vector of a token the number of that token in the row, from 0"),
    "tokens": ("list: int32", "the token ids of the row as it came in; 0 is padding"),
}


def card(dataset: Dataset, title: str) -> str:
    """Describe a job's rows as the Hub and `datasets.load_dataset` expect it: YAML, then Markdown.

    The same rows give the same text: it has no date and no path.

    Args:
        dataset: the rows.
        title: the heading.
    """
    # Over 40 lines: most of it is the text of the card.
    size = next((name for name, end in _SIZES if len(dataset) < end), _LARGEST)
    names = dataset.record_batches().schema.names
    features = "\n".join(_feature(dataset, name) for name in names)
    columns = "\n".join(f"| `{name}` | {_meaning(dataset, name)} |" for name in names)
    first = dataset.columns[0].name
    rows, tokens = counted(len(dataset), "row"), counted(dataset.tokens, "token")
    return f"""\
---
task_categories:
- feature-extraction
tags:
- unrolled
- embeddings
size_categories:
- {size}
configs:
- config_name: default
  data_files: "*.parquet"
dataset_info:
  features:
{features}
---

# {title}

The hidden states of a recurrent model for {rows} with {tokens}, in Parquet.

| column | contents |
|---|---|
{columns}

The vectors were computed in {dataset.arithmetic} by the engine `{dataset.engine}` of Unrolled, and are stored as
{dataset.precision}. The SHA-256 of the model directory is `{dataset.model_fingerprint}`.

```python
import datasets

rows = datasets.load_dataset("path/or/name", split="train")
rows.with_format("numpy")[0]["{first}"]
```

```python
import unrolled

dataset = unrolled.open("path/of/the/files")
dataset[0]["{first}"]
```
"""


def _feature(dataset: Dataset, name: str) -> str:
    """A column's name and type, as YAML of `datasets`."""
    for column in dataset.columns:
        if column.name == name:
            vector = [f"list: {dataset.precision}", f"length: {column.width}"]
            lines = ["list:", *(f"  {line}" for line in vector)] if column.per_token else vector
            break
    else:
        lines = [_OTHERS[name][0]]
    return "\n".join([f"  - name: {name}", *(f"    {line}" for line in lines)])


def _meaning(dataset: Dataset, name: str) -> str:
    """A column's contents, as Markdown."""
    for column in dataset.columns:
        if column.name == name:
            which = "the last layer" if column.layer is None else f"layer {column.layer}"
            some = "each of some tokens, which `positions` lists" if dataset.positions != ALL else "each real token"
            of = f"one vector for {some}" if column.per_token else _POOLED[column.pooling]
            return f"{of}: {counted(column.width, 'number')} of {which}"
    return _OTHERS[name][1]
