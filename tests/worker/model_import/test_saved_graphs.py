"""SavedModels whose graph is run: the states are looked for among all that it computes."""

import re
import sys
from functools import partial

import numpy as np
import pytest
from support.imported import imported
from support.skips import long

from worker.model_import.errors import ImportRefusedError
from worker.model_import.parity.frameworks import saved_model_graph
from worker.model_import.parity.own_graph import NO_MASK, NO_PADDING
from worker.model_import.readers.tensorflow.saved_model import read_saved_model
from worker.model_import.selection.stack import AskedPadding

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
layers = keras.layers

MORE = long("one more graph, of seconds")
WHOLE, LAST = {"return_sequences": True}, {"return_sequences": False}
#: Weights that are large enough for a wrong activation or direction to show.
DRAWN = {"kernel_initializer": keras.initializers.RandomNormal(0, 0.8, seed=3)}


def lstm(units=5, **given):
    return layers.LSTM(units, **(WHOLE | DRAWN | given))


def save(model, path):
    """A SavedModel without the layers' configuration, with one signature: Keras's export writes two that are alike."""
    rows = [tf.TensorSpec(one.shape, one.dtype, name=f"given{at}") for at, one in enumerate(model.inputs)]
    run = tf.function(lambda *given: model(given[0] if len(given) == 1 else list(given)), input_signature=rows)
    tf.saved_model.save(model, str(path), signatures={"serving_default": run})
    return path


def exported(path, *given, shape=(None,), dtype="int32", below=None):
    """A SavedModel of an embedding and layers."""
    embedding = [layers.Embedding(10, 4, embeddings_initializer=keras.initializers.RandomNormal(0, 1, seed=1))]
    below = embedding if below is None else below
    return save(keras.Sequential([layers.Input(shape, dtype=dtype), *below, *given]), path)


@tf.keras.utils.register_keras_serializable("unrolled-tests")
class Own(layers.Layer):
    """A function of the program's own, in a function of TensorFlow: nothing but a run shows it."""

    def __init__(self, function, **given):
        super().__init__(**given)
        self.function = tf.function(function)

    def call(self, vectors):
        return self.function(vectors)


def plus(reading, vectors):
    return vectors + reading(vectors)


def reverse(vectors):
    return tf.reverse(vectors, [1])


@pytest.mark.parametrize(
    "given",
    [
        [lambda: layers.Bidirectional(lstm()), lambda: lstm(6), lambda: Own(lambda states: states[:, 1:])],
        pytest.param([lambda: layers.Bidirectional(layers.GRU(5, **WHOLE, **DRAWN))], marks=MORE),
        pytest.param(
            [lambda: Own(lambda vectors: tf.transpose(vectors, [1, 0, 2])), lambda: lstm(4), lambda: lstm(4)],
            marks=MORE,
        ),
        pytest.param([lambda: Own(reverse), lambda: Own(reverse), lstm], marks=MORE),
        pytest.param([lambda: lstm(4, unroll=True), lambda: lstm(4)], marks=MORE),
    ],
)
def test_states_that_the_graph_computes(given, tmp_path):
    """Then the whole is proven, and nothing is called an assumption."""
    made = [one() for one in given]
    shape = (6,) if any(getattr(one, "unroll", False) for one in made) else (None,)
    saved = exported(tmp_path / "saved", *made, shape=shape)
    names = [name for name, layer in read_saved_model(saved, None, None).layers.items() if not layer.problem]
    is_fixed = shape != (None,)
    done = imported(saved, tmp_path / "model", layers=names, unpadded=is_fixed, parity=1e-5)
    assert done.parity.whole
    assert done.parity.comparisons[0].left == "the file's graph in TensorFlow"
    assert done.parity.missing == ([] if is_fixed else [NO_PADDING])
    assert not done.caution
    assert not [note for note in done.made.notes if "assumed" in note or "weights alone" in note]


@pytest.mark.parametrize(
    "given",
    [
        [lambda: Own(reverse), lstm],
        pytest.param([lambda: Own(lambda vectors: 2 * vectors), lstm], marks=MORE),
        pytest.param([lstm, lambda: Own(tf.nn.relu), lstm], marks=MORE),
        pytest.param([lambda: lstm(activation="relu", unroll=True)], marks=MORE),
        pytest.param([lambda: lstm(go_backwards=True, unroll=True)], marks=MORE),
    ],
)
def test_states_that_it_does_not_compute(given, tmp_path):
    """What neither names nor loops show is refused; without the run, the file is taken for arrays alone."""
    made = [one() for one in given]
    shape = (6,) if any(getattr(one, "unroll", False) for one in made) else (None,)
    saved = exported(tmp_path / "saved", *made, shape=shape)
    names = [*read_saved_model(saved, None, None).layers]
    with pytest.raises(ImportRefusedError, match=r"has the states of \S+ as imported nowhere: the nearest differ by"):
        imported(saved, tmp_path / "model", layers=names, parity=1e-5)
    assert not (tmp_path / "model").exists()
    assert "arrays alone" in imported(saved, tmp_path / "model", layers=names, parity=None).caution


@pytest.mark.parametrize(
    ("given", "merge_mode"),
    [pytest.param(LAST, "concat", marks=MORE), pytest.param(LAST, "sum", marks=MORE), ({}, "sum")],
)
def test_the_last_states_alone(given, merge_mode, tmp_path):
    """A graph may have no others; and it may join the directions in another way than side by side."""
    layer = layers.Bidirectional(lstm(**given), merge_mode=merge_mode)
    done = imported(exported(tmp_path / "saved", layer), tmp_path / "model", parity=1e-5)
    assert done.parity.whole
    missing = " ".join(done.parity.missing)
    assert ("merge_mode" in missing) == (merge_mode == "sum")
    assert ("the states of all tokens but each row's last" in missing) == (given is LAST)


@pytest.mark.parametrize(
    ("given", "side", "rows"),
    [
        pytest.param(lstm, "before", 7, marks=MORE),
        pytest.param(lstm, "after", 7, marks=MORE),
        pytest.param(lambda: lstm(**LAST), "before", 7, marks=MORE),
        (lambda: lstm(**LAST), "after", 1),
        pytest.param(lambda: layers.Bidirectional(lstm(**LAST)), "before", 7, marks=MORE),
    ],
)
def test_rows_with_padding(given, side, rows, tmp_path):
    """A graph of last states has none of the tokens of rows that end with padding that the model doesn't compute."""
    saved = exported(tmp_path / "saved", given(), shape=(21,))
    done = imported(saved, tmp_path / "model", padding=AskedPadding(21, side), parity=1e-5)
    assert done.parity.whole
    assert done.parity.comparisons[0].left == "the file's graph in TensorFlow"
    assert len(done.parity.comparisons[0].rows) == rows
    missing = done.parity.missing
    assert any(line.startswith("rows with padding: no tensor has the states of their") for line in missing) == (
        rows == 1
    )
    assert NO_PADDING not in missing


@MORE
def test_other_states_of_rows_with_padding(tmp_path):
    saved = exported(tmp_path / "saved", Own(reverse), lstm(**LAST), shape=(21,))
    with pytest.raises(ImportRefusedError, match="imported nowhere") as refused:
        imported(saved, tmp_path / "model", padding=AskedPadding(21), parity=1e-5)
    assert "masks padding" not in str(refused.value), "it would change no state of a token"


_AMPLIFYING = (("kernel_initializer", 0.8, 3), ("recurrent_initializer", 0.9, 4))


@MORE
def test_padding_that_amplifies_rounding(tmp_path):
    """What only rounding may explain is no difference, and the rows aren't judged."""
    drawn = {name: keras.initializers.RandomNormal(0, share, seed=seed) for name, share, seed in _AMPLIFYING}
    layer = layers.Bidirectional(layers.LSTM(32, **drawn))
    below = [layers.Embedding(30, 8, embeddings_initializer=keras.initializers.RandomNormal(0, 1, seed=1))]
    model = keras.Sequential([layers.Input((100,), dtype="int32"), *below, layer])
    weights = layer.get_weights()
    layer.set_weights([*weights[:4], weights[4] * 0.7 / 0.9, *weights[5:]])
    done = imported(save(model, tmp_path / "saved"), tmp_path / "model", padding=AskedPadding(100), parity=1e-5)
    missing = " ".join(done.parity.missing)
    assert "those in which they end can't be judged" in missing or "rounding may make a large difference" in missing


def test_padding_that_a_mask_hides(tmp_path):
    """It isn't computed like tokens, as the states in which passes end show."""
    masked = layers.Embedding(
        10, 4, mask_zero=True, embeddings_initializer=keras.initializers.RandomNormal(0, 1, seed=1)
    )
    saved = exported(tmp_path / "saved", layers.Bidirectional(lstm(**LAST)), shape=(21,), below=[masked])
    with pytest.raises(
        ImportRefusedError,
        match=r"imported nowhere.* or masks padding, in some layers at least \(then leave out --pad,",
    ):
        imported(saved, tmp_path / "model", padding=AskedPadding(21), parity=1e-5)
    done = imported(saved, tmp_path / "unpadded", parity=1e-5)
    assert done.parity.whole
    assert len(done.parity.padded.rows) == 4
    assert not [line for line in done.parity.missing if line.startswith("rows with padding: if your program")]


def test_padding_of_rows_of_one_length(tmp_path):
    """The graph, run with padded rows, shows whether it computes padding; how rows are padded, only the user knows."""
    saved = exported(tmp_path / "saved", lstm(), shape=(21,))
    with pytest.raises(
        ImportRefusedError, match=r"rows of 21 tokens, and its graph computes id 0 like a token.* --pad 21:pre"
    ):
        imported(saved, tmp_path / "model", parity=1e-5)
    with pytest.raises(ImportRefusedError, match=r"--pad 20: the source reads rows of 21 tokens"):
        imported(saved, tmp_path / "model", padding=AskedPadding(20, "before"), parity=1e-5)
    assert not (tmp_path / "model").exists()
    done = imported(saved, tmp_path / "model", unpadded=True, parity=1e-5)
    assert done.parity.whole
    assert done.made.config.max_length == 21


@MORE
@pytest.mark.parametrize("length", [3, 4])
def test_padding_of_short_rows(length, tmp_path):
    saved = exported(tmp_path / "saved", layers.Bidirectional(lstm()), shape=(length,))
    with pytest.raises(ImportRefusedError, match=f"reads rows of {length} tokens, and its graph computes id 0"):
        imported(saved, tmp_path / "model", parity=1e-5)


@MORE
@pytest.mark.parametrize("states", ["all", "last"])
def test_padding_after_the_tokens_that_lengths_hide(states, tmp_path):
    """A graph that counts a row's ids masks no padding before them."""
    ids = keras.Input((9,), dtype="int32")
    mask = layers.Lambda(lambda given: tf.sequence_mask(tf.math.count_nonzero(given, axis=1), 9))(ids)
    layer = layers.Bidirectional(lstm()) if states == "all" else layers.LSTM(5)
    saved = save(keras.Model(ids, layer(layers.Embedding(10, 4)(ids), mask=mask)), tmp_path / "saved")
    done = imported(saved, tmp_path / "model", parity=1e-5)
    assert len(done.parity.padded.rows) == 2
    assert done.parity.missing[-1].startswith("rows with padding before their tokens: the graph has other states")


@MORE
def test_a_number_of_each_row_is_no_length(tmp_path):
    """Neither is a text, of which the graph makes ids."""
    ids, other = keras.Input((None,)), keras.Input((1,), dtype="int32")
    states = lstm()(layers.Embedding(10, 4)(ids))
    made = layers.Concatenate()(
        [layers.GlobalMaxPooling1D()(states), layers.Lambda(tf.cast, arguments={"dtype": "float32"})(other)]
    )
    saved = save(keras.Model([ids, other], made), tmp_path / "saved")
    assert imported(saved, tmp_path / "model", parity=1e-5).made.config.max_length == 512
    texts = layers.TextVectorization(output_sequence_length=20, vocabulary=["a", "b"])
    words = keras.Sequential([layers.Input((1,), dtype="string"), texts, layers.Embedding(10, 4), lstm()])
    done = imported(save(words, tmp_path / "texts"), tmp_path / "of-texts", padding=AskedPadding(20, "before"))
    assert done.made.config.max_length == 20


@MORE
def test_padding_that_a_mask_hides_from_all_tokens_but_the_last(tmp_path):
    """Padded rows of language models are compared, too."""
    for name, masks in (("computed", False), ("masked", True)):
        below = layers.Embedding(
            10, 4, mask_zero=masks, embeddings_initializer=keras.initializers.RandomNormal(0, 1, seed=1)
        )
        ids = keras.Input((21,), dtype="int32")
        saved = save(keras.Model(ids, lstm()(below(layers.Lambda(lambda given: given[:, :-1])(ids)))), tmp_path / name)
        if masks:
            with pytest.raises(
                ImportRefusedError, match=r"or masks padding, in some layers at least \(then leave out --pad,"
            ):
                imported(saved, tmp_path / "model", padding=AskedPadding(21, "before"), parity=1e-5)
        else:
            done = imported(saved, tmp_path / "model", padding=AskedPadding(21, "before"), parity=1e-5)
            assert done.parity.whole
            assert len(done.parity.comparisons[0].rows) == 6  # not that of a single token


def test_ids_that_are_rounded(tmp_path):
    """A graph that makes ids of float16 reads other rows of the embedding; in float32 it wouldn't."""
    with_ids = layers.Reshape((21,), dtype="float16")
    half = {"dtype": "mixed_float16"}
    saved = exported(
        tmp_path / "saved",
        lstm(**half),
        shape=(21,),
        dtype="float32",
        below=[with_ids, layers.Embedding(10, 4, **half)],
    )
    done = imported(saved, tmp_path / "model", parity=1e-5)
    assert not done.parity.whole
    assert "it makes whole numbers of float16 or bfloat16, which rounds large ids" in done.parity.missing[0]


def test_rows_with_lengths_and_of_one_length(tmp_path):
    """The graph gets the lengths of rows that it asks for, and rows of the length that it takes."""
    ids, lengths = keras.Input((9,), dtype="int32"), keras.Input((), dtype="int32", name="lengths")
    mask = layers.Lambda(lambda given: tf.sequence_mask(given[0], tf.shape(given[1])[1]))([lengths, ids])
    made = lstm()(layers.Embedding(10, 4)(ids), mask=mask)
    keras.Model([ids, lengths], made).export(tmp_path / "saved", verbose=False)
    done = imported(tmp_path / "saved", tmp_path / "model", parity=1e-5)
    assert done.parity.whole
    assert len(done.parity.comparisons[0].rows) == 1
    assert "its states may be others (--pad 9, or compare" in done.parity.missing[-1]


def test_a_model_that_reads_all_tokens_but_the_last(tmp_path):
    """As language models do that predict the next token."""
    ids = keras.Input((None,), dtype="int32")
    keras.Model(ids, lstm()(layers.Embedding(10, 4)(ids[:, :-1]))).export(tmp_path / "saved", verbose=False)
    done = imported(tmp_path / "saved", tmp_path / "model", parity=1e-5)
    assert done.parity.whole
    assert "the states after each row's last step" in done.parity.missing[0]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        pytest.param((1,), "rows of one token alone", marks=MORE),
        ((3, 4), "reads something else than these rows"),
        pytest.param((10**7,), "takes none of", marks=MORE),
    ],
)
def test_rows_that_show_nothing(shape, reason, tmp_path):
    """A graph of single tokens, of rows of rows, or of rows that would take too long."""
    ids = keras.Input(shape, dtype="int32")
    vectors = layers.Embedding(10, 4)(ids)
    words = layers.TimeDistributed(lstm(return_sequences=False)) if len(shape) > 1 else lstm()
    save(keras.Model(ids, words(vectors)), tmp_path / "saved")
    done = imported(tmp_path / "saved", tmp_path / "model", parity=1e-5)
    assert not done.parity.whole
    assert reason in done.parity.missing[0]


def test_other_inputs_and_seeds(tmp_path):
    """Other inputs get ones; seeds that the graph counts up are left alone."""
    ids, others = keras.Input((None,), dtype="int32"), keras.Input((3,))
    states = lstm(recurrent_dropout=0.2)(layers.Embedding(10, 4)(ids))
    made = layers.Concatenate()([layers.GlobalMaxPooling1D()(states), others])
    keras.Model([others, ids], layers.Dense(2)(made)).export(tmp_path / "saved", verbose=False)
    assert b"AssignVariableOp" in (tmp_path / "saved" / "saved_model.pb").read_bytes()
    done = imported(tmp_path / "saved", tmp_path / "model", parity=1e-5)
    assert done.parity.whole
    assert re.fullmatch(r"what other inputs may change, and were given: \w+ \(ones\)", done.parity.missing[0])
    # With several inputs, it isn't known that the rows are the layer's.
    made = layers.Concatenate()(
        [layers.GlobalMaxPooling1D()(lstm()(Own(reverse)(layers.Embedding(10, 4)(ids)))), others]
    )
    save(keras.Model([others, ids], layers.Dense(2)(made)), tmp_path / "other")
    done = imported(tmp_path / "other", tmp_path / "other-model", parity=1e-5)
    assert not done.parity.whole
    assert "has other inputs, and may read these rows in another way" in done.parity.missing[0]


@pytest.mark.parametrize(
    "reading",
    [
        pytest.param(lambda one: tf.concat([one[:1], one[:-1]], 0), id="before"),
        pytest.param(lambda one: tf.concat([one[1:], one[-1:]], 0), id="behind", marks=MORE),
    ],
)
def test_rows_that_read_each_other(reading, tmp_path):
    """The row that is compared has others before and behind it."""
    saved = exported(tmp_path / "saved", Own(partial(plus, reading)), lstm())
    with pytest.raises(ImportRefusedError, match="imported nowhere"):
        imported(saved, tmp_path / "model", parity=1e-5)


class Counting(layers.Layer):
    """Shifts its ids by a number that it changes."""

    def build(self, _):
        self.count = self.add_weight(shape=(), dtype="int64", initializer="zeros", trainable=False)

    def call(self, ids):
        self.count.assign(1)
        return tf.math.floormod(ids + tf.cast(self.count, ids.dtype), 10)


@MORE
def test_whole_numbers_that_states_depend_on(tmp_path):
    """They aren't taken for seeds."""
    ids = keras.Input((None,), dtype="int32")
    save(keras.Model(ids, lstm()(layers.Embedding(10, 4)(Counting()(ids)))), tmp_path / "saved")
    done = imported(tmp_path / "saved", tmp_path / "model", parity=1e-5)
    assert not done.parity.whole
    assert "it changes variables of whole numbers, and its states may depend on them" in done.parity.missing[0]


def test_states_in_a_branch(tmp_path):
    """They can't be seen, so that nothing is said against them."""
    inner = lstm(4)
    ids = keras.Input((None,), dtype="int32")

    class Branch(layers.Layer):
        def build(self, shape):
            self.inner = inner
            inner.build(shape)

        def call(self, vectors):
            return tf.cond(tf.reduce_sum(vectors) > -1e9, lambda: vectors + self.inner(vectors), lambda: vectors)

    save(keras.Model(ids, Branch()(layers.Embedding(10, 4)(ids))), tmp_path / "saved")
    done = imported(tmp_path / "saved", tmp_path / "model", parity=1e-5)
    assert not done.parity.whole
    assert "it computes layers within branches" in done.parity.missing[0]


def with_signatures(place, **given):
    """Save a model, with functions of its states: of rows, of rows of other ids, and of texts."""
    ids = keras.Input((None,), dtype="int32")
    made = keras.Model(ids, lstm()(layers.Embedding(10, 4)(ids)))
    ways = {
        "plain": (tf.int32, made),
        "shifted": (tf.int32, lambda rows: made(tf.math.floormod(rows + 1, 10))),
        "texts": (tf.string, lambda rows: made(tf.strings.to_number(rows, tf.int32))),
    }
    signatures = {}
    for name, way in given.items():
        kind, states = ways[way]
        signatures[name] = tf.function(
            lambda rows, states=states: {"states": states(rows)}, input_signature=[tf.TensorSpec([None, None], kind)]
        )
    tf.saved_model.save(made, str(place), signatures=signatures)
    return place


@MORE
def test_another_signature_may_have_the_states(tmp_path):
    """One that can't be run may; without it, they are nowhere."""
    with pytest.raises(ImportRefusedError, match="imported nowhere"):
        imported(with_signatures(tmp_path / "one", shifted="shifted"), tmp_path / "model", parity=1e-5)
    two = with_signatures(tmp_path / "two", shifted="shifted", texts="texts")
    assert not imported(two, tmp_path / "model", parity=1e-5).parity.whole


@MORE
def test_another_signature_has_the_states(tmp_path):
    """It is told if the one that programs run first hasn't."""
    other = with_signatures(tmp_path / "other", serving_default="shifted", plain="plain")
    first = with_signatures(tmp_path / "first", serving_default="plain", earlier="shifted")
    other, first = (imported(place, tmp_path / f"of-{place.name}", parity=1e-5) for place in (other, first))
    assert other.parity.whole
    assert first.parity.whole
    told = [line for line in other.parity.missing if line.startswith("the signature ")]
    assert [re.sub(r"\d\.\de[+-]\d\d$", "X", line) for line in told] == [
        "the signature serving_default: its nearest states differ by X"
    ]
    assert first.parity.missing == [NO_PADDING]


def test_a_sum_that_the_user_names(tmp_path):
    ids = keras.Input((None,), dtype="int32")
    vectors = layers.Embedding(10, 4)(ids)
    sums = layers.Add()([lstm(4, name="below")(vectors), vectors])
    save(keras.Model(ids, lstm(4, name="above")(sums)), tmp_path / "saved")
    given = {"layers": ("below", "above"), "parity": 1e-5}
    with pytest.raises(ImportRefusedError, match=r"the states of above as imported nowhere.*a sum: --residual NAME"):
        imported(tmp_path / "saved", tmp_path / "model", **given)
    assert imported(tmp_path / "saved", tmp_path / "model", **given, residual=("below",)).parity.whole


def test_rows_of_vectors(tmp_path):
    """What the user calls the vectors that the layer reads may be made in the graph, so nothing is said against it."""
    for name, below in (("plain", []), ("twice", [Own(lambda vectors: 2 * vectors)])):
        saved = exported(tmp_path / name, lstm(), shape=(None, 3), dtype="float32", below=below)
        done = imported(saved, tmp_path / f"{name}-model", vectors=True, parity=1e-5)
        assert done.parity.whole == (name == "plain")
        assert done.parity.missing[-1] == NO_MASK
        assert (name == "plain") != ("it makes other states of these vectors" in " ".join(done.parity.missing))


@pytest.mark.parametrize("kind", ["float16", pytest.param("bfloat16", marks=MORE)])
def test_graphs_that_compute_in_fewer_digits(kind, tmp_path):
    """They are run in float32, so that right layers have the same states, and others don't."""
    half = {"dtype": f"mixed_{kind}"}
    done = imported(exported(tmp_path / "saved", lstm(**half)), tmp_path / "model", parity=1e-5)
    assert done.parity.whole
    assert done.parity.rounded is None
    assert done.parity.comparisons[0].left == "the file's graph in TensorFlow"
    assert done.parity.comparisons[0].largest < 1e-5
    rounding = f"what rounding to {kind} makes, where the graph has such numbers: TensorFlow computed it in float32"
    assert rounding in done.parity.missing
    # Unrolled, so that nothing but a run shows the gates; they differ by less than rounding may.
    gates = {"recurrent_activation": "hard_sigmoid", "unroll": True, "kernel_initializer": "glorot_uniform"}
    saved = exported(tmp_path / "gates", lstm(**half, **gates), shape=(6,))
    with pytest.raises(ImportRefusedError, match="imported nowhere: the nearest differ by"):
        imported(saved, tmp_path / "refused", parity=1e-5)


def test_the_file_of_a_graph(tmp_path):
    saved = exported(tmp_path / "saved", lstm())
    with pytest.raises(ImportRefusedError, match="it is the graph of a SavedModel; give the directory"):
        imported(saved / "saved_model.pb", tmp_path / "model")


def test_graphs_that_do_more_than_compute_are_not_run(tmp_path):
    """A graph that writes a file is read only, and its file isn't written."""
    (tmp_path / "work").mkdir()
    target = tmp_path / "work" / "written"

    def written(vectors):
        with tf.control_dependencies([tf.io.write_file(str(target), "x")]):
            return tf.identity(vectors)

    saved = exported(tmp_path / "saved", Own(written), lstm())
    target.unlink(missing_ok=True)
    done = imported(saved, tmp_path / "model", parity=1e-5)
    assert not target.exists()
    assert not done.parity.whole
    assert "it has an operation that isn't run here (WriteFile)" in done.parity.missing[0]
    assert "arrays alone" in done.caution
    tf.saved_model.load(str(saved)).signatures["serving_default"](tf.constant([[1, 2]]))
    assert target.exists(), "the graph would have written it"


def test_a_graph_without_end_is_stopped(tmp_path, monkeypatch):
    """The import goes on without it."""
    monkeypatch.setattr(saved_model_graph, "_SECONDS", 8)

    def endless(vectors):
        return tf.while_loop(lambda _: True, lambda one: (one + 1,), (vectors,))[0]

    done = imported(exported(tmp_path / "saved", Own(endless), lstm()), tmp_path / "model", parity=1e-5)
    assert not done.parity.whole
    assert "TensorFlow took longer than 8 s" in done.parity.missing[0]


def test_a_tensorflow_1_graph(tmp_path):
    """Variables that aren't resources, and a loop of the graph's own."""
    random = np.random.default_rng(5)
    arrays = {"embedding": (10, 4), "rnn/lstm_cell/kernel": (9, 20), "rnn/lstm_cell/bias": (20,)}
    for name, backward in (("forward", False), ("backward", True)):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            table, kernel, bias = (
                tf.compat.v1.get_variable(
                    one, initializer=random.normal(0, 0.7, shape).astype(np.float32), use_resource=False
                )
                for one, shape in arrays.items()
            )
            ids = tf.compat.v1.placeholder(tf.int32, [None, None])
            vectors = tf.transpose(tf.gather(table, ids), [1, 0, 2])
            vectors = tf.reverse(vectors, [0]) if backward else vectors

            def step(states, vector, kernel=kernel, bias=bias):
                i, j, f, o = tf.split(tf.concat([vector, states[1]], 1) @ kernel + bias, 4, 1)
                cell = states[0] * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
                return cell, tf.tanh(cell) * tf.sigmoid(o)

            zeros = tf.zeros([tf.shape(ids)[0], 5])
            states = tf.scan(step, vectors, (zeros, zeros))[1]
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.saved_model.simple_save(session, str(tmp_path / name), {"ids": ids}, {"states": states})
    assert imported(tmp_path / "forward", tmp_path / "model", parity=1e-5).parity.whole
    with pytest.raises(ImportRefusedError, match="has the states of rnn/lstm_cell as imported nowhere"):
        imported(tmp_path / "backward", tmp_path / "refused", parity=1e-5)


def test_layers_that_a_gpu_computes(tmp_path, monkeypatch):
    """Their operation can't be run without one; it shows directions and functions as a loop does."""
    found = {}
    for name, given in (("forward", lstm()), ("backward", lstm(go_backwards=True))):
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["keras.src.backend.tensorflow.rnn"], "_is_gpu_available", lambda: True)
            saved = exported(tmp_path / name, lstm(name="below"), given)
        found[name] = read_saved_model(saved, None, None)
        assert b"CudnnRNNV3" in (saved / "saved_model.pb").read_bytes()
    assert [layer.problem for layer in found["forward"].layers.values()] == [None, None]
    assert "activations tanh and sigmoid, as the graph's steps compute" in found["forward"].notes
    below, above = found["backward"].layers.values()
    assert below.problem is None
    assert "reverses what it reads" in above.problem
