"""Examples for TensorFlow and Keras: a `tf.data.Dataset`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import from_extra
from unrolled.format.columns import parse_name
from unrolled.learning.examples import check_batch_rows, check_examples

with from_extra("unrolled.learning.tensorflow", "tensorflow"):
    import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.learning.examples import Examples


def tf_dataset(examples: Examples, rows: int, *, ragged: bool = False) -> Any:
    """Batches for Keras's `fit`. Every pass over them is another epoch, if the examples are shuffled.

    Args:
        examples: which rows, with which labels; labels are numbers, or one for each token.
        rows: in each batch; fewer in the last one.
        ragged: whether vectors are ragged tensors, in place of padded ones with masks. A pooled column is a matrix.

    Returns:
        A `tf.data.Dataset` of (vectors, labels, weights): vectors float32 (rows, time, width); for labels of tokens the
        weights float32 (rows, time), 0 where there is no token, and labels 0 there. A loss whose reduction is
        "mean_with_sample_weight" is then the mean over a batch's tokens. With labels of rows, or a pooled column, of
        (vectors, labels). Without labels, of vectors alone. If `of_worker` divides shuffled examples, its length is
        unknown, because epochs may differ by a few batches; Keras then warns after its first epoch, and makes no later
        one much longer.

    Raises:
        TypeError: `examples` are not `unrolled.Examples`, or `rows` is no whole number.
        ValueError: `rows` is below 1.
    """
    # Over 40 lines: the batches, and the signature that TensorFlow wants of them.
    check_examples(examples)
    check_batch_rows(rows)
    passes = iter(range(examples.epoch, 2**31))
    pooled = parse_name(examples.column)[0] != "none"  # type: ignore[index] # Examples has checked it
    first = next(iter(examples), None)
    label = None if first is None else first.label
    per_token = isinstance(label, np.ndarray | list | tuple)

    def batches() -> Iterator[Any]:
        for batch in examples.of_epoch(next(passes)).batches(rows):
            vectors: Any = batch.vectors
            if ragged and batch.mask is not None:
                vectors = tf.RaggedTensor.from_row_lengths(batch.vectors[batch.mask], batch.mask.sum(axis=1))
            if batch.labels is None:
                yield vectors
            elif per_token and batch.mask is not None:
                yield vectors, np.where(batch.mask, batch.labels, 0), batch.mask.astype(np.float32)
            else:
                yield vectors, batch.labels

    shape = (None, examples.width) if pooled else (None, None, examples.width)
    if ragged and not pooled:
        signature: Any = tf.RaggedTensorSpec(shape, tf.float32, ragged_rank=1)
    else:
        signature = tf.TensorSpec(shape, tf.float32)
    if label is not None:
        # Not the first label's own type: TensorFlow would make integers of the floats that follow it.
        kind = np.result_type(examples.label_dtype, np.int64) if per_token else examples.label_dtype
        of_labels = tf.TensorSpec((None, None) if per_token else (None,), kind)
        weights = (tf.TensorSpec((None, None), tf.float32),) if per_token else ()
        signature = (signature, of_labels, *weights)
    found = tf.data.Dataset.from_generator(batches, output_signature=signature)
    if examples.workers > 1 and examples.seed is not None:
        # Each epoch has other rows, and another number of them may be in the share, or have a label.
        return found
    # Without the number of batches, Keras warns in the first epoch that the input ran out of data.
    return found.apply(tf.data.experimental.assert_cardinality(-(-len(examples) // rows)))
