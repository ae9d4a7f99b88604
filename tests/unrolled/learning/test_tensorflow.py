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


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        (0, ValueError, "rows is 0; it must be at least 1; there is no example if this is len"),
        (-2, ValueError, "rows is -2; it must be at least 1"),
        (2.5, TypeError, "rows is 2.5; a whole number is expected"),
        (True, TypeError, "rows is True; a whole number is expected"),
        (None, TypeError, "rows is None; a whole number is expected"),
    ],
)
def test_what_is_no_batch_is_refused(dataset, rows, error, said):
    """At once, and by `Examples.batches` too."""
    examples = Examples(dataset=dataset)
    with pytest.raises(error, match=said):
        tf_dataset(examples, rows)
    with pytest.raises(error, match=said):
        examples.batches(rows)
    assert next(iter(tf_dataset(examples, np.int64(2)))).shape[0] == 2


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


@pytest.mark.parametrize("per_token", [False, True])
def test_the_first_label_does_not_round_the_others(dataset, per_token):
    """An integer before floats becomes a float; TensorFlow would make integers of the floats."""
    rows = [row for row in dataset if row.length]
    each = {row.id: number / 100 if number else 1 for number, row in enumerate(rows)}
    labels = {row.id: [each[row.id]] * row.length for row in rows} if per_token else each
    column = "outputs" if per_token else "mean"
    batches = list(tf_dataset(Examples(dataset=dataset, column=column, labels=labels), 1))
    assert [float(np.ravel(batch[1])[0]) for batch in batches] == list(each.values())


def test_every_pass_is_an_epoch(dataset):
    """Keras iterates over the same object once per epoch."""
    data = tf_dataset(Examples(dataset=dataset, column="mean", seed=1), 1000)
    (first,), (second,) = list(data), list(data)
    assert not np.array_equal(first.numpy(), second.numpy())
    np.testing.assert_array_equal(np.sort(first.numpy(), axis=0), np.sort(second.numpy(), axis=0))


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("worker", [0, 1])
def test_one_process_of_several_learns(dataset, worker):
    """Its epochs differ in their numbers of examples, because each has another order, and all are used."""
    labels = {row.id: 1 for row in list(dataset)[:18] if row.length}
    examples = Examples(dataset=dataset, column="mean", labels=labels, seed=1).of_worker(worker, 3)
    counts = [len(examples.of_epoch(epoch)) for epoch in range(6)]
    assert len(set(counts)) > 1
    data = tf_dataset(examples, 1)
    assert [sum(1 for _ in data) for _ in counts] == counts
    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert len(model.fit(tf_dataset(examples, 1), epochs=6, verbose=0, shuffle=False).epoch) == 6


def test_padding_and_the_loss_of_a_batch(dataset):
    """With the reduction that the page names, it is the mean of its tokens; by Keras's default, it shrinks."""
    labels = {row.id: [token % 2 for token in range(row.length)] for row in dataset if row.length}
    data = tf_dataset(Examples(dataset=dataset, labels=labels), 100)
    model = tf.keras.Sequential([tf.keras.Input((None, 3)), tf.keras.layers.Dense(2, activation="softmax")])
    ((vectors, tags, weights),) = list(data)
    chosen = np.take_along_axis(model(vectors).numpy(), tags.numpy()[..., None].astype(int), axis=2)[..., 0]
    expected = -np.log(chosen[weights.numpy() > 0]).mean()
    assert weights.numpy().mean() < 0.9
    losses = {}
    for reduction in ("mean_with_sample_weight", "sum_over_batch_size"):
        model.compile(loss=tf.keras.losses.SparseCategoricalCrossentropy(reduction=reduction))
        losses[reduction] = model.evaluate(data, verbose=0)
    assert losses["mean_with_sample_weight"] == pytest.approx(expected, rel=1e-4)
    assert losses["sum_over_batch_size"] == pytest.approx(expected * weights.numpy().mean(), rel=1e-4)


def test_files_and_memory_give_one_accuracy(dataset):
    """A tagger that learns from the files, shuffled in each epoch, is the one that learns from arrays in memory."""
    rows = {row.id: row.outputs.copy() for row in dataset}
    labels = {name: (outputs.sum(axis=1) > 0).astype(int) for name, outputs in rows.items() if len(outputs)}
    examples = Examples(dataset=dataset, labels=labels, seed=1)

    def tagger():
        tf.keras.utils.set_random_seed(1)
        model = tf.keras.Sequential([tf.keras.Input((None, 3)), tf.keras.layers.Dense(2, activation="softmax")])
        model.compile(tf.keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
        return model

    from_files = tagger()
    data = tf_dataset(examples, 8)
    from_files.fit(data, epochs=6, verbose=0, shuffle=False)
    from_memory = tagger()
    for epoch in range(6):
        names = [example.id for example in examples.of_epoch(epoch)]
        for start in range(0, len(names), 8):
            some = names[start : start + 8]
            lengths = np.array([len(rows[name]) for name in some])
            mask = np.arange(lengths.max()) < lengths[:, None]
            vectors, tags = np.zeros((*mask.shape, 3), np.float32), np.zeros(mask.shape, int)
            vectors[mask], tags[mask] = (np.concatenate([of[name] for name in some]) for of in (rows, labels))
            from_memory.train_on_batch(vectors, tags, sample_weight=mask.astype(np.float32))
    for one, other in zip(from_files.get_weights(), from_memory.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    accuracies = [model.evaluate(data, verbose=0)[1] for model in (from_files, from_memory)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.01)
    assert accuracies[0] > 0.85
