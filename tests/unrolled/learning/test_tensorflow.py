"""Examples for TensorFlow and Keras."""

import numpy as np
import pytest
import tensorflow as tf
from support.jobs import finished_job

import unrolled
from unrolled import Examples
from unrolled.learning.tensorflow import tf_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    finished_job(out, shards=10)
    return unrolled.open(out)


def test_padded_and_ragged(dataset):
    """The same vectors in both forms; a pooled column is a matrix."""
    examples = Examples(dataset=dataset)
    for padded, ragged, batch in zip(
        tf_dataset(examples, 7), tf_dataset(examples, 7, ragged=True), examples.batches(7), strict=True
    ):
        np.testing.assert_array_equal(padded.numpy(), batch.vectors)
        assert isinstance(ragged, tf.RaggedTensor)
        np.testing.assert_array_equal(ragged.to_tensor().numpy(), batch.vectors)
    pooled = Examples(dataset=dataset, column="mean")
    for found, batch in zip(tf_dataset(pooled, 7), pooled.batches(7), strict=True):
        np.testing.assert_array_equal(found.numpy(), batch.vectors)


def test_a_tagger_learns(dataset):
    """Keras fits a label for each token, and leaves out the places without one: the sign of a number is learnt."""
    tf.keras.utils.set_random_seed(1)
    labels = {row.id: (row.outputs[:, 0] > 0).astype(int) for row in dataset if row.length}
    examples = Examples(dataset=dataset, labels=labels, seed=1)
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, activation="sigmoid")])
    model.compile(tf.keras.optimizers.Adam(0.3), "binary_crossentropy", weighted_metrics=["accuracy"])
    data = tf_dataset(examples, 10).map(lambda vectors, found, weights: (vectors, found[..., None], weights))
    model.fit(data, epochs=20, verbose=0, shuffle=False)
    assert model.evaluate(data, verbose=0)[1] > 0.95


def test_labels_of_rows(dataset):
    """One number for each row, of any kind."""
    labels = {row.id: row.length / 2 for row in dataset if row.length}
    for vectors, found in tf_dataset(Examples(dataset=dataset, column="last", labels=labels), 8):
        assert vectors.shape[0] == found.shape[0]
        assert found.dtype == tf.float64


def test_every_pass_is_an_epoch(dataset):
    """Keras iterates over the same object once per epoch."""
    data = tf_dataset(Examples(dataset=dataset, column="mean", seed=1), 1000)
    (first,), (second,) = list(data), list(data)
    assert not np.array_equal(first.numpy(), second.numpy())
    np.testing.assert_array_equal(np.sort(first.numpy(), axis=0), np.sort(second.numpy(), axis=0))
