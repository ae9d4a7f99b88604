"""Files of all versions of Keras: the outputs are those of the saved model."""

import json
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest
from support.imported import ROWS, assert_same, imported, padded, states_of
from support.reference import begun, layer_states

from producer.cli.exit_status import ExitStatus
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Pass
from worker.model_import.layouts import convert
from worker.model_import.readers.activations import activation_problem

keras = pytest.importorskip("keras")
layers = keras.layers

# Keras's variables warn with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(1)


def randomize(model):
    """Random weights and biases, large enough that a wrong gate changes the first digit."""
    random = np.random.default_rng(2)
    model.set_weights([random.normal(0, 0.6, array.shape) for array in model.get_weights()])
    return model


def own_states(model, tensor, rows=ROWS):
    """The framework's values of a tensor of the model, at real tokens."""
    states = np.asarray(keras.Model(model.inputs[0], tensor)(padded(rows)))
    return [one[: len(row)] for one, row in zip(states, rows, strict=True)]


def functional():
    """LSTM, bidirectional GRU, cells, a residual sum, a skip connection and a head."""
    ids = keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(10, 6, mask_zero=True, name="words")(ids)
    one = layers.LSTM(5, return_sequences=True)(layers.SpatialDropout1D(0.1)(embedded))
    two = layers.Bidirectional(layers.GRU(4, return_sequences=True))(layers.Dropout(0.2)(one))
    cells = layers.RNN(layers.StackedRNNCells([layers.LSTMCell(7), layers.LSTMCell(8)]), return_sequences=True)(two)
    added = layers.Add(name="sum")([cells, layers.LSTM(8, return_sequences=True, name="top")(cells)])
    head = layers.Dense(3)(layers.Concatenate()([embedded, one, added]))
    return randomize(keras.Model(ids, head)), added


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_functional_models(name, tmp_path):
    """A functional model in both current formats: all kinds of layers, a residual sum, skip connections and a head."""
    model, end = functional()
    model.save(tmp_path / name)
    done = imported(tmp_path / name, tmp_path / "model", top="sum")
    assert_same(own_states(model, end), states_of(done))
    assert [str(layer) for layer in done.model.config.layers] == [
        "lstm 5",
        "bidirectional gru 4",
        "lstm 7",
        "lstm 8",
        "lstm 8 + its input",
    ]
    assert done.made.taken[0] == "words: embedding of 10 rows, 6 wide"
    assert any("(Dense)" in text for text in done.made.left)
    assert done.made.ids_from == 1


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_sequential_models_whose_last_layer_gives_one_vector(name, tmp_path):
    """return_sequences=False concerns the head only: the last state is Keras's output."""
    model = keras.Sequential(
        [
            layers.Input((9,)),
            layers.Embedding(10, 4),
            layers.LSTM(5, return_sequences=True),
            layers.LSTM(3, use_bias=False),
        ]
    )
    randomize(model).save(tmp_path / name)
    done = imported(tmp_path / name, tmp_path / "model", unpadded=True)
    assert any("doesn't mask padding" in note for note in done.made.notes)
    assert done.model.config.max_length == 9
    np.testing.assert_allclose(states_of(done, ROWS[-1:])[0][-1], np.asarray(model(padded(ROWS[-1:])))[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_layers_that_go_backwards(kind, tmp_path):
    """Keras returns the last token's output first, so the next layer reads the row from its end."""
    make = getattr(layers, kind)
    ids = keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(10, 4)(ids)
    once = make(5, return_sequences=True, go_backwards=True)(embedded)
    twice = make(3, return_sequences=True, go_backwards=True)(make(4, return_sequences=True)(once))
    model = randomize(keras.Model(ids, twice))
    model.save(tmp_path / "model.keras")
    done = imported(tmp_path / "model.keras", tmp_path / "model")
    assert [layer.direction for layer in done.model.config.layers] == ["backward", "backward", "forward"]
    # The third one reads from the first token again.
    turned = [note.partition(":")[0] for note in done.made.notes if "reads from the last token" in note]
    assert turned == done.made.names[:2]
    whole = [row for row in ROWS if len(row) == 9]  # without a mask Keras reads padding too
    assert_same([np.asarray(model(padded(whole)))[0]], states_of(done, whole))


def test_grus_that_reset_before(tmp_path):
    """reset_after=False, the default before Keras 2.3."""
    model = keras.Sequential(
        [layers.Embedding(10, 4, mask_zero=True), layers.GRU(5, reset_after=False, return_sequences=True)]
    )
    model.build((None, None))
    randomize(model).save(tmp_path / "model.keras")
    done = imported(tmp_path / "model.keras", tmp_path / "model")
    assert done.model.config.layers[0].reset == "before"
    assert_same([one[: len(row)] for one, row in zip(np.asarray(model(padded())), ROWS, strict=True)], states_of(done))


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_models_in_models(name, tmp_path):
    """In a Siamese model, the encoder is an inner model that is called twice; it is found once."""
    inner_ids = keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(10, 4, mask_zero=True)(inner_ids)
    inner_end = layers.LSTM(5, return_sequences=True)(layers.LSTM(6, return_sequences=True)(embedded))
    encoder = keras.Model(inner_ids, inner_end, name="encoder")
    left, right = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    model = randomize(keras.Model([left, right], layers.Dot(axes=2)([encoder(left), encoder(right)])))
    model.save(tmp_path / name)
    done = imported(tmp_path / name, tmp_path / "model")
    assert [text.partition("/")[0] for text in done.made.taken] == ["encoder"] * 3
    assert_same(own_states(encoder, inner_end), states_of(done))


@pytest.mark.parametrize("several", [False, True])
def test_normalizations_in_models_in_models_of_keras_2(several, tmp_path):
    """Keras 2 stores what they have learnt without their names: in each inner model, at most one has learnt."""

    def inner(name):
        learned = layers.Normalization(name=f"{name}_learned")
        learned.adapt(np.random.default_rng(len(name)).normal(1, 2, (50, 4)).astype(np.float32))
        vectors = keras.Input((None, 4))
        given = layers.Normalization(mean=0.5, variance=2.0)(layers.Dense(4)(learned(vectors)))
        return keras.Model(vectors, given, name=name)

    ids = keras.Input((None,), dtype="int32")
    models = [inner("encoder"), *([inner("other")] if several else [])]
    end = layers.Embedding(10, 4)(ids)
    for one in models:
        end = one(end)
    model = keras.Model(ids, layers.LSTM(5, return_sequences=True)(end))
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "r+") as file:
        for one in models:
            group = file["model_weights"][one.name]
            for name in ("mean", "variance", "count"):
                group.move(f"{one.name}_learned/{name}", f"{name}:0")
            names = [text.replace(f"{one.name}_learned/", "") for text in group.attrs["weight_names"]]
            group.attrs["weight_names"] = [f"{text}:0" if "/" not in text else text for text in names]
    done = imported(tmp_path / "model.h5", tmp_path / "model")
    assert_same(own_states(model, model.outputs[0]), states_of(done))


def test_weights_alone(tmp_path):
    """.weights.h5 has no graph: layers that could be side by side have to be named."""
    model = keras.Sequential([layers.Embedding(10, 4), *(layers.LSTM(5, return_sequences=True) for _ in range(3))])
    model.build((None, None))
    randomize(model).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ImportRefusedError, match=r"--layer lstm --layer lstm_1 --layer lstm_2 if each reads the one"):
        imported(tmp_path / "model.weights.h5", tmp_path / "model")
    done = imported(tmp_path / "model.weights.h5", tmp_path / "model", layers=("lstm", "lstm_1", "lstm_2"))
    whole = ROWS[-1:]
    assert_same([np.asarray(model(padded(whole)))[0]], states_of(done, whole))
    assert "activations tanh and sigmoid are assumed" in done.made.notes[0]


def test_the_order_that_is_advised_is_possible(tmp_path):
    """By the widths: the first layer reads the embedding, 4 wide here, and each other one the layer before it."""
    ids = keras.Input((None,), dtype="int32")
    vectors = layers.Embedding(10, 4)(ids)
    inner, low, high = (layers.LSTM(units, return_sequences=True) for units in (5, 4, 3))
    nested = keras.Sequential([keras.Input((None, 4)), inner], name="sequential")
    chained = keras.Model(ids, low(nested(vectors)))
    apart = keras.Model(ids, [high(layers.Dense(7)(vectors)), nested(vectors)])
    for model, leave, advice in (
        (
            chained,
            (),
            ": --layer sequential/lstm --layer lstm if each reads the one before it, --layer sequential/lstm",
        ),
        (apart, ("dense",), ", such as --layer sequential/lstm alone if no other reads it"),
    ):
        model.save_weights(tmp_path / "model.weights.h5")
        with pytest.raises(ImportRefusedError, match=f"to the last{advice}"):
            imported(tmp_path / "model.weights.h5", tmp_path / "model", leave=leave)


def test_two_stacks_have_to_be_named(tmp_path):
    """With an encoder beside a decoder, the error lists both, and --layer chooses one."""
    ids = keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(10, 4, mask_zero=True)(ids)
    one, two = layers.LSTM(5, return_sequences=True, name="one")(embedded), layers.GRU(3, name="two")(embedded)
    model = randomize(keras.Model(ids, [one, two]))
    model.save(tmp_path / "model.keras")
    with pytest.raises(
        ImportRefusedError, match=r"2 stacks of recurrent layers; say which one: --layer one; --layer two"
    ):
        imported(tmp_path / "model.keras", tmp_path / "model")
    done = imported(tmp_path / "model.keras", tmp_path / "model", layers=("one",))
    assert_same(own_states(model, one), states_of(done))
    assert "two (recurrent layer)" in done.made.left


def test_stacks_below_a_layer_that_cannot_be_imported(tmp_path):
    """The layer that reads both is named with the reason, without --layer, alone, and with one of them."""
    ids = keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(10, 4)(ids)
    one, two = (layers.LSTM(5, return_sequences=True, name=name)(embedded) for name in ("one", "two"))
    top = layers.LSTM(3, name="top")(layers.Concatenate(name="both")([one, two]))
    keras.Model(ids, top).save(tmp_path / "model.keras")
    reason = r"top reads both \(Concatenate\)\. A recurrent layer can be imported if"
    for chosen, said in (
        (
            (),
            rf": it has 2 stacks of recurrent layers; say which one: --layer one; --layer two\. Beside them, {reason}",
        ),
        (("top",), rf": {reason}"),
        (("one", "top"), rf": --layer: one top don't read each other directly; {reason}"),
    ):
        with pytest.raises(ImportRefusedError, match=said):
            imported(tmp_path / "model.keras", tmp_path / "model", layers=chosen)


def test_part_of_a_stack(tmp_path):
    """--layer can import the first layers alone, but no layer without those before it."""
    model = keras.Sequential(
        [layers.Embedding(10, 4), layers.LSTM(5, return_sequences=True, name="low"), layers.LSTM(6, name="high")]
    )
    model.build((None, None))
    model.save(tmp_path / "model.keras")
    assert imported(tmp_path / "model.keras", tmp_path / "low", layers=("low",)).model.config.layer_dims == (5,)
    with pytest.raises(
        ImportRefusedError, match=r"high reads the recurrent layer low; name that too: --layer low --layer high"
    ):
        imported(tmp_path / "model.keras", tmp_path / "high", layers=("high",))
    with pytest.raises(ImportRefusedError, match=r"--layer top: there is no such recurrent layer; it has low, high"):
        imported(tmp_path / "model.keras", tmp_path / "top", layers=("top",))


def test_the_encoder_of_a_translator_has_to_be_named(tmp_path):
    """A decoder starts from another state in each row, so it can't be imported, and --layer takes the encoder."""
    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    encoded = layers.LSTM(5, return_state=True, return_sequences=True, name="encoder")(
        layers.Embedding(10, 4, mask_zero=True, name="ee")(source)
    )
    decoded = layers.LSTM(5, name="decoder")(layers.Embedding(8, 4, name="de")(target), initial_state=encoded[1:])
    model = randomize(keras.Model([source, target], [encoded[0], decoded]))
    model.save(tmp_path / "model.keras")
    with pytest.raises(
        ImportRefusedError, match=r"decoder: it starts from another layer's state.*other layers .*: --layer encoder"
    ):
        imported(tmp_path / "model.keras", tmp_path / "model")
    done = imported(tmp_path / "model.keras", tmp_path / "model", layers=("encoder",))
    encoder = keras.Model(source, encoded[0])
    assert_same(own_states(encoder, encoded[0]), states_of(done))
    with pytest.raises(ImportRefusedError, match=r"decoder: it starts from another layer's state"):
        imported(tmp_path / "model.keras", tmp_path / "decoder", layers=("decoder",))
    with pytest.raises(ImportRefusedError, match=r"--embedding ee: decoder reads the embedding de; name what"):
        imported(
            tmp_path / "model.keras", tmp_path / "decoder", layers=("decoder",), initial_states=True, embedding="ee"
        )
    done = imported(
        tmp_path / "model.keras", tmp_path / "decoder", layers=("decoder",), initial_states=True, parity=1e-5
    )
    assert "its graph computes states that rows bring" in " ".join(done.parity.missing)
    _, h, c = keras.Model(source, encoded)(np.array([[3, 1, 2]]))
    config, given = done.model.config, np.concatenate([np.asarray(h)[0], np.asarray(c)[0]])
    found = layer_states(config, begun(config, done.model.weights(), given), np.array([5, 4]) + 1 - done.made.ids_from)
    _, wanted = model([np.array([[3, 1, 2]]), np.array([[5, 4]])])
    np.testing.assert_allclose(found[-1][-1:], wanted, rtol=0, atol=1e-5)


def hard_sigmoid(x):
    """The function with this name in Keras 1 and 2."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def half_sigmoid(x):
    """A custom function."""
    return 0.5 * keras.ops.sigmoid(x)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.LSTM(5, recurrent_activation="hard_sigmoid", return_sequences=True),
        lambda: layers.GRU(5, recurrent_activation="hard_sigmoid", return_sequences=True),
        lambda: layers.Bidirectional(
            layers.GRU(5, recurrent_activation="hard_sigmoid", reset_after=False, return_sequences=True)
        ),
        lambda: layers.RNN(layers.LSTMCell(5, recurrent_activation="hard_sigmoid"), return_sequences=True),
    ],
)
def test_hard_gates_of_keras_3(layer, suffix, tmp_path):
    """Its hard_sigmoid has slope 1/6, in both of its formats."""
    model = randomize(keras.Sequential([layers.Input((None,)), layers.Embedding(10, 4, mask_zero=True), layer()]))
    model.save(tmp_path / f"model.{suffix}")
    done = imported(tmp_path / f"model.{suffix}", tmp_path / "model")
    assert done.model.config.layers[0].gates == "hard_sigmoid_keras3"
    assert_same(own_states(model, model.outputs[0]), states_of(done))


def test_own_functions_of_that_name_are_refused():
    """They are refused if the file shows that they are custom functions."""
    function = {"class_name": "function", "config": "hard_sigmoid", "registered_name": "function"}
    assert "'hard_sigmoid' (a function of the model's own); sigmoid and" in activation_problem("tanh", function)


def of_a_script(base):
    """A class with the name of one of Keras's, as a script or a notebook has it, and a file names it."""
    return type(base.__name__, (base,), {"__module__": "__main__"})


@pytest.mark.parametrize("kind", ["Embedding", "Dropout", "Dense", "LSTM", "LSTMCell", "Sequential", "Functional"])
def test_classes_of_a_script_are_not_keras_own(kind, tmp_path):
    """Whatever its code computes: a .keras file says where a class is from, for models within the model too."""
    made = {name: getattr(layers, name) for name in ("Embedding", "Dropout", "Dense", "LSTM", "LSTMCell")}
    made |= {"Sequential": keras.Sequential, "Functional": keras.Model}
    made[kind] = of_a_script(made[kind])
    if kind == "Functional":
        made[kind].__name__ = kind
    if kind == "LSTMCell":
        recurrent = layers.RNN(made["LSTMCell"](5), return_sequences=True)
    else:
        recurrent = made["LSTM"](5, return_sequences=True)
    inner = made["Sequential"]([keras.Input((None, 4)), made["Dense"](6), made["Dropout"](0.5), recurrent])
    ids = keras.Input((None,), dtype="int32")
    model = made["Functional"](ids, inner(made["Embedding"](10, 4)(ids)))
    model.save(tmp_path / "model.keras")
    with pytest.raises(ImportRefusedError, match=f"__main__.{kind}"):
        imported(tmp_path / "model.keras", tmp_path / "model")


def test_a_model_of_a_script_above_the_last_layer_is_left_out(tmp_path):
    """What is above changes no state, whatever is within it."""
    states = keras.Input((None, 5))
    decoder = of_a_script(keras.Model)(states, layers.GRU(3)(states))
    ids = keras.Input((None,), dtype="int32")
    encoded = layers.LSTM(5, return_sequences=True)(layers.Embedding(10, 4)(ids))
    model = randomize(keras.Model(ids, decoder(encoded)))
    model.save(tmp_path / "model.keras")
    assert [layer.units for layer in imported(tmp_path / "model.keras", tmp_path / "model").model.config.layers] == [5]


def test_hard_gates_where_the_file_does_not_show_its_keras(tmp_path):
    """Keras 2 wrote .weights.h5 too, in which the groups of variables have no names; one name means two functions."""
    model = keras.Sequential(
        [layers.Input((None,)), layers.Embedding(10, 4), layers.LSTM(5, recurrent_activation="hard_sigmoid")]
    )
    place = tmp_path / "model.weights.h5"
    randomize(model).save_weights(place)
    done = imported(place, tmp_path / "new", gates="hard_sigmoid")
    assert done.model.config.layers[0].gates == "hard_sigmoid_keras3"
    with h5py.File(place, "a") as file:
        named = []
        file.visititems(lambda _, one: named.append(one) if "name" in one.attrs else None)
        for one in named:
            del one.attrs["name"]
    with pytest.raises(ImportRefusedError, match=r"give hard_sigmoid_keras2 or hard_sigmoid_keras3"):
        imported(place, tmp_path / "old", gates="hard_sigmoid")
    done = imported(place, tmp_path / "old", gates="hard_sigmoid_keras2")
    assert done.model.config.layers[0].gates == "hard_sigmoid"
    assert done.made.notes[0] == "activations tanh and hard_sigmoid_keras2 (as you said)"


def test_hard_gates_of_keras_2_in_a_keras_file(tmp_path):
    """Keras 2.12 to 2.15 also wrote .keras files, which their metadata shows."""
    model = keras.Sequential(
        [layers.Input((None,)), layers.Embedding(10, 4), layers.LSTM(5, recurrent_activation="hard_sigmoid")]
    )
    randomize(model).save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as old, zipfile.ZipFile(tmp_path / "old.keras", "w") as new:
        for name in old.namelist():
            text = old.read(name)
            new.writestr(name, text if name != "metadata.json" else b'{"keras_version": "2.13.1"}')
    done = imported(tmp_path / "old.keras", tmp_path / "model")
    assert (done.format, done.model.config.layers[0].gates) == ("Keras 2 file", "hard_sigmoid")


def function_layer(name, function, source, keywords):
    """A function of TensorFlow as Keras 2 writes it; the source is a layer's name, or a constant."""
    first = [source, 0, 0] if isinstance(source, str) else ["_CONSTANT_VALUE", -1, source]
    config = {"name": name, "trainable": True, "dtype": "float32", "function": function}
    return {"class_name": "TFOpLambda", "config": config, "name": name, "inbound_nodes": [[*first, keywords]]}


@pytest.mark.parametrize("masked", [False, True])
def test_functions_of_tensorflow_in_files_of_keras_2(tmp_path, masked):
    """A cast that keeps ids, arithmetic with constants, and a mask, as Keras 2 writes them."""
    ids = layers.Input((None,), dtype="float32", name="ids")
    vectors = layers.Embedding(10, 4, name="words")(ids)
    model = keras.Model(ids, layers.LSTM(5, return_sequences=True, name="states")(vectors))
    randomize(model).save(tmp_path / "new.keras")
    added = [
        function_layer("cast", "cast", "ids", {"dtype": "int32"}),
        function_layer("twice", "math.multiply", 2, {"y": ["words", 0, 0], "name": None}),
        function_layer("less", "math.subtract", 1.0, {"y": ["twice", 0, 0], "name": None}),
        function_layer("real", "math.not_equal", "ids", {"y": 0}),
    ]
    with zipfile.ZipFile(tmp_path / "new.keras") as old, zipfile.ZipFile(tmp_path / "old.keras", "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name == "config.json":
                config = json.loads(text)
                of = {layer["name"]: layer for layer in config["config"]["layers"]}
                of["words"]["inbound_nodes"] = [[["cast", 0, 0, {}]]]
                of["states"]["inbound_nodes"] = [[["less", 0, 0, {"mask": ["real", 0, 0]} if masked else {}]]]
                config["config"]["layers"] = [of["ids"], *added, of["words"], of["states"]]
                text = json.dumps(config)
            new.writestr(name, text if name != "metadata.json" else b'{"keras_version": "2.15.0"}')
    done = imported(tmp_path / "old.keras", tmp_path / "model", parity=1e-5)
    assert done.parity.whole != masked  # Keras 3 can't read such a mask
    assert any("mask padding" in note for note in done.made.notes) != masked
    table = model.get_layer("words").get_weights()[0]
    model.get_layer("words").set_weights([1 - 2 * table])
    assert_same(own_states(model, model.outputs[0]), states_of(done))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: layers.LSTM(5, activation="relu"), r"its activation is 'relu'; tanh can be imported"),
        (
            lambda: layers.GRU(5, recurrent_activation="relu"),
            r"its recurrent_activation is 'relu'; sigmoid and hard_sigmoid can be imported",
        ),
        (
            lambda: layers.GRU(5, recurrent_activation=half_sigmoid),
            r"its recurrent_activation is 'half_sigmoid'; sigmoid and hard_sigmoid can be imported",
        ),
        (
            lambda: layers.Bidirectional(layers.LSTM(5), merge_mode="sum"),
            r"its merge_mode is 'sum'; only 'concat' can be imported",
        ),
    ],
)
def test_what_is_refused(layer, reason, tmp_path):
    """For another activation or another merge mode, the error says what was found and what to do."""
    model = keras.Sequential([layers.Embedding(10, 4), layer()])
    model.build((None, None))
    model.save(tmp_path / "model.keras")
    with pytest.raises(ImportRefusedError, match=reason):
        imported(tmp_path / "model.keras", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("before", "way"),
    [
        (
            layers.TextVectorization,
            "make a tokenizer.json of that layer for --tokenizer, as docs",
        ),
        (layers.StringLookup, "change the ids in your rows instead"),
    ],
)
def test_what_makes_ids_of_texts_is_refused_with_a_way_out(before, way, tmp_path):
    """The ids come from a tokenizer, or from the user's program."""
    layer = before()
    layer.adapt(["a b"])
    model = keras.Sequential([keras.Input((1,), dtype="string"), layer, layers.Embedding(10, 4), layers.LSTM(3)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(
        ImportRefusedError, match=f"save the part of the model that begins with the embedding, and {way}"
    ):
        imported(tmp_path / "model.keras", tmp_path / "model")


def test_layers_between_are_refused(tmp_path):
    """Only layers that pass numbers on unchanged may be between embedding and LSTM."""
    model = keras.Sequential(
        [layers.Embedding(10, 4), layers.Conv1D(6, 3, name="convolution"), layers.LSTM(5, name="states")]
    )
    model.build((None, 9))
    model.save(tmp_path / "model.keras")
    with pytest.raises(
        ImportRefusedError,
        match=r"states reads convolution \(Conv1D\): it has kernel_size=\[3\]; .* A recurrent layer can be imported if",
    ):
        imported(tmp_path / "model.keras", tmp_path / "model")


def test_dropout_within_timedistributed_passes_through(tmp_path):
    """TimeDistributed(Dropout) does nothing after training, like Dropout itself."""
    ids = keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(10, 4)(ids)
    states = layers.LSTM(5, return_sequences=True)(layers.TimeDistributed(layers.Dropout(0.5))(embedded))
    model = randomize(keras.Model(ids, states))
    model.save(tmp_path / "model.keras")
    assert_same(own_states(model, states), states_of(imported(tmp_path / "model.keras", tmp_path / "model")))


def test_lambdas_are_never_run(tmp_path):
    """A Lambda's code is never run: beside the stack it is left out, within the stack it is refused."""
    model = keras.Sequential([layers.Embedding(10, 4, name="words"), layers.LSTM(5, name="states")])
    model.build((None, None))
    model.save(tmp_path / "model.keras")
    add_lambda(tmp_path / "model.keras", tmp_path / "head.keras", at=3)
    assert "bomb (Lambda)" in imported(tmp_path / "head.keras", tmp_path / "model").made.left
    add_lambda(tmp_path / "model.keras", tmp_path / "between.keras", at=2)
    with pytest.raises(ImportRefusedError, match=r"states reads bomb \(Lambda\)"):
        imported(tmp_path / "between.keras", tmp_path / "refused")


def add_lambda(source, target, at):
    """Insert a Lambda whose code is invalid, so that loading it would fail."""
    code = {"class_name": "__lambda__", "config": {"code": "4wAAAA=="}}
    bomb = {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "bomb", "function": code}}
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name == "config.json":
                config = json.loads(text)
                config["config"]["layers"].insert(at, bomb)
                text = json.dumps(config)
            new.writestr(name, text)


def keras1_file(path, *, gates="sigmoid"):
    """Write a file as Keras 1 did: twelve arrays for an LSTM, gates i, c, f, o, and inner_activation."""
    random = np.random.default_rng(3)
    config = [
        {
            "class_name": "Embedding",
            "config": {"name": "embedding_1", "input_dim": 10, "output_dim": 4, "mask_zero": True},
        },
        {
            "class_name": "LSTM",
            "config": {"name": "lstm_1", "output_dim": 5, "activation": "tanh", "inner_activation": gates},
        },
        {"class_name": "Dense", "config": {"name": "dense_1", "output_dim": 2}},
    ]
    shapes = {"W": (4, 5), "U": (5, 5), "b": (5,)}
    arrays = {f"{part}_{gate}": random.normal(0, 0.6, shapes[part]) for gate in "icfo" for part in "WUb"}
    table = random.normal(0, 0.6, (10, 4))
    stored = {
        "embedding_1": {"embedding_1_W": table},
        "lstm_1": {f"lstm_1_{name}": array for name, array in arrays.items()},
        "dense_1": {"dense_1_W": np.ones((5, 2)), "dense_1_b": np.ones(2)},
    }
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"1.2.2"
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config}).encode()
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [name.encode() for name in stored]
        for layer, parts in stored.items():
            group = weights.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in parts]
            for name, array in parts.items():
                group[name] = array.astype(np.float32)
    return table, arrays


def test_keras_1(tmp_path):
    """Twelve arrays become three, each gate in its place; with consume_less="gpu" there are three already."""
    table, arrays = keras1_file(tmp_path / "old.h5")
    done = imported(tmp_path / "old.h5", tmp_path / "model")
    lstm = layers.LSTM(5, return_sequences=True)
    lstm.build((None, None, 4))
    lstm.set_weights([np.concatenate([arrays[f"{part}_{gate}"] for gate in "ifco"], axis=-1) for part in "WUb"])
    own = [np.asarray(lstm(table[np.array(row)][None].astype(np.float32)))[0] for row in ROWS]
    assert_same(own, states_of(done))
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        group = file["model_weights/lstm_1"]
        for name in list(group):
            del group[name]
        group.attrs["weight_names"] = [f"lstm_1_{part}".encode() for part in "WUb"]
        for part, array in zip("WUb", lstm.get_weights(), strict=True):
            group[f"lstm_1_{part}"] = array
    assert_same(own, states_of(imported(tmp_path / "old.h5", tmp_path / "gpu")))


def test_hard_gates_of_keras_1(tmp_path):
    """The default of Keras before 2.3 has slope 1/5; in Keras 3 this name means another function."""
    table, arrays = keras1_file(tmp_path / "old.h5", gates="hard_sigmoid")
    done = imported(tmp_path / "old.h5", tmp_path / "model")
    assert str(done.model.config.layers[0]) == "lstm 5 (hard sigmoid)"
    lstm = layers.LSTM(5, return_sequences=True, recurrent_activation=hard_sigmoid)
    lstm.build((None, None, 4))
    lstm.set_weights([np.concatenate([arrays[f"{part}_{gate}"] for gate in "ifco"], axis=-1) for part in "WUb"])
    own = [np.asarray(lstm(table[np.array(row)][None].astype(np.float32)))[0] for row in ROWS]
    assert_same(own, states_of(done))


def old_weights(path, version, bias):
    """Write weights alone, as Keras 2 did."""
    random = np.random.default_rng(4)
    arrays = {"kernel:0": (4, 20), "recurrent_kernel:0": (5, 20), "bias:0": (bias,)}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version.encode()
        file.attrs["layer_names"] = [b"embedding_1", b"lstm_1"]
        for layer, parts in (("embedding_1", {"embeddings:0": (10, 4)}), ("lstm_1", arrays)):
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}".encode() for name in parts]
            for name, shape in parts.items():
                group[f"{layer}/{name}"] = random.normal(0, 0.6, shape).astype(np.float32)


def test_weights_alone_of_old_keras(tmp_path):
    """They don't show hard_sigmoid or sigmoid, so the user must say it; CuDNN layers always have sigmoid."""
    old_weights(tmp_path / "old.h5", "2.2.4", 20)
    with pytest.raises(
        ImportRefusedError,
        match=r"weights alone, and Keras 2.2.4's default .* add --recurrent-activation hard_sigmoid, and if",
    ):
        imported(tmp_path / "old.h5", tmp_path / "model")
    assert imported(tmp_path / "old.h5", tmp_path / "model", gates="sigmoid").model.config.layer_dims == (5,)
    old_weights(tmp_path / "tf.h5", "2.2.4-tf", 20)
    with pytest.raises(
        ImportRefusedError,
        match=r"Keras 2.2.4-tf's default .* in TensorFlow 1, and sigmoid in TensorFlow 2.0 and 2.1; .* if it says",
    ):
        imported(tmp_path / "tf.h5", tmp_path / "refused")
    for version, given, gates in (
        ("2.2.4", "hard_sigmoid", "hard_sigmoid"),
        ("3.1.0", "hard_sigmoid", "hard_sigmoid_keras3"),
        ("2.2.4", "hard_sigmoid_keras3", "hard_sigmoid_keras3"),
    ):
        old_weights(tmp_path / "hard.h5", version, 20)
        done = imported(tmp_path / "hard.h5", tmp_path / f"{version}-{given}", gates=given)
        assert done.model.config.layers[0].gates == gates
        assert done.made.notes == [f"activations tanh and {gates} (as you said)"]
    old_weights(tmp_path / "cudnn.h5", "2.2.4", 40)
    assert imported(tmp_path / "cudnn.h5", tmp_path / "cudnn").model.config.layer_dims == (5,)
    with pytest.raises(ImportRefusedError, match=r"--recurrent-activation sigmoid: .*; leave it out"):
        imported(tmp_path / "cudnn.h5", tmp_path / "refused", gates="sigmoid")
    with pytest.raises(ImportRefusedError, match=r"--forget-bias 5: it has no LSTM .*; leave it out"):
        imported(tmp_path / "old.h5", tmp_path / "refused", gates="sigmoid", forget_bias=5.0)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_a_whole_file_takes_no_word_about_its_gates(suffix, tmp_path):
    """It shows them itself, so the option would change nothing."""
    keras.Sequential([layers.Input((None,)), layers.Embedding(9, 3), layers.LSTM(2)]).save(tmp_path / f"m.{suffix}")
    for option, given in (("recurrent-activation", {"gates": "hard_sigmoid"}), ("forget-bias", {"forget_bias": 5.0})):
        with pytest.raises(ImportRefusedError, match=f"--{option} .*; leave it out"):
            imported(tmp_path / f"m.{suffix}", tmp_path / "model", **given)


@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3)])
def test_cudnn_layouts(kind, gates):
    """CuDNNLSTM's variables contain each gate's (units, inputs) matrix end to end; recurrent ones are transposed."""
    random = np.random.default_rng(5)
    own = [random.normal(size=(5, 3)).astype(np.float32) for _ in range(gates)]
    square = [random.normal(size=(5, 5)).astype(np.float32) for _ in range(gates)]
    bias = random.normal(size=2 * gates * 5).astype(np.float32)
    kernel = np.hstack([matrix.reshape(3, 5) for matrix in own])
    arrays = {"kernel": kernel, "recurrent_kernel": np.hstack(square), "bias": bias}
    parts = {name: Array(name, array.shape, lambda array=array: array) for name, array in arrays.items()}
    made = convert(Pass("cudnn", kind, 3, 5, parts, reset=None if kind == "lstm" else "after"))
    np.testing.assert_array_equal(made["kernel"], np.hstack([matrix.T for matrix in own]))
    np.testing.assert_array_equal(made["recurrent_kernel"], np.hstack([matrix.T for matrix in square]))
    np.testing.assert_allclose(made["bias"], bias.reshape(2, -1).sum(0) if kind == "lstm" else bias.reshape(2, -1))


def test_a_refused_file_ends_the_command_with_its_status(tmp_path):
    """The file's arrays are still open when the process ends, and that must not crash it."""
    functional()[0].save(tmp_path / "model.keras")
    command = [sys.executable, "-m", "producer", "model", "import", "model.keras", "model", "--layer", "none"]
    done = subprocess.run([*command, "--no-parity"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "--layer none: there is no such recurrent layer" in done.stderr
    assert done.returncode == ExitStatus.FAILED


@pytest.mark.parametrize("suffix", ["keras", "h5", "weights.h5"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16"])
def test_weights_of_16_bits(dtype, suffix, tmp_path):
    """HDF5 has no bfloat16: its bits are stored as bytes. They are the float32 numbers that they stand for."""
    made = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(10, 4, dtype=dtype),
            layers.LSTM(5, return_sequences=True, recurrent_initializer="glorot_uniform", dtype=dtype),
        ]
    )
    randomize(made)
    exact = keras.Sequential(
        [keras.Input((None,), dtype="int32"), layers.Embedding(10, 4), layers.LSTM(5, return_sequences=True)]
    )
    exact.set_weights([np.asarray(array, np.float32) for array in made.get_weights()])
    source = tmp_path / f"model.{suffix}"
    made.save_weights(source) if suffix == "weights.h5" else made.save(source)
    done = imported(source, tmp_path / "model")
    assert_same(own_states(exact, exact.outputs[0]), states_of(done))


def test_arrays_of_weights_alone_that_could_be_on_the_way(tmp_path):
    """Integers, and a Dense layer in bfloat16 between the embedding and the LSTM, stop the import."""
    ids = keras.Input((None,), dtype="int32")
    between = layers.Dense(4, use_bias=False, dtype="bfloat16", name="between")
    lstm = layers.LSTM(5, return_sequences=True, dropout=0.1)
    made = keras.Model(ids, lstm(between(layers.Embedding(10, 4)(ids))))
    made.save_weights(tmp_path / "half.weights.h5")
    with h5py.File(tmp_path / "half.weights.h5") as half, h5py.File(tmp_path / "eight.weights.h5", "w") as eight:
        half.copy("layers", eight)
        del eight["layers/dense/vars/0"]
        eight["layers/dense/vars/0"] = np.ones((4, 4), np.int8)
        eight["layers/text/vars/0"] = ["a", "b"]
    for name in ("half", "eight"):
        with pytest.raises(ImportRefusedError, match=r"layers/dense/vars/0 \(4, 4\) can turn"):
            imported(tmp_path / f"{name}.weights.h5", tmp_path / "model")
    with h5py.File(tmp_path / "eight.weights.h5", "r+") as file:
        bias = file["layers/lstm/cell/vars/2"][()]
        del file["layers/dense"], file["layers/lstm/cell/vars/2"]
        file["layers/lstm/cell/vars/2"] = bias.astype(np.complex64)
    with pytest.raises(ImportRefusedError, match=r"its layers/lstm/cell/vars/2 can't be read"):
        imported(tmp_path / "eight.weights.h5", tmp_path / "model")
    with h5py.File(tmp_path / "eight.weights.h5", "r+") as file:
        del file["layers/lstm/cell/vars/2"]
        file["layers/lstm/cell/vars/2"] = bias
    assert imported(tmp_path / "eight.weights.h5", tmp_path / "model").made.left == []


@pytest.mark.parametrize("after", [True, False])
def test_a_gru_without_biases_needs_a_word(after, tmp_path):
    """Its arrays are the same with reset_after and without; with a bias they aren't, and the word changes nothing."""
    keras = pytest.importorskip("keras")
    layer = keras.layers.GRU(5, return_sequences=True, use_bias=False, reset_after=after)
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, layer(keras.layers.Embedding(10, 4, mask_zero=True)(ids)))
    layer.set_weights([3 * one for one in layer.get_weights()])
    model.save_weights(tmp_path / "gru.weights.h5")
    with pytest.raises(ImportRefusedError, match=r"doesn't show whether .*add --reset before if .* add --reset after"):
        imported(tmp_path / "gru.weights.h5", tmp_path / "model")
    said, other = ("after", "before") if after else ("before", "after")
    expected = [one[: len(row)] for one, row in zip(model.predict(padded(), verbose=0), ROWS, strict=True)]
    done = imported(tmp_path / "gru.weights.h5", tmp_path / "model", reset=said)
    assert_same(expected, states_of(done))
    assert any(f"resets the state {said}" in note for note in done.made.notes)
    wrong = states_of(imported(tmp_path / "gru.weights.h5", tmp_path / "wrong", reset=other))
    assert max(abs(one - two).max() for one, two in zip(expected, wrong, strict=True)) > 1e-3
    model.save(tmp_path / "gru.keras")
    with pytest.raises(ImportRefusedError, match=r"--reset after: the file shows where .*; leave it out"):
        imported(tmp_path / "gru.keras", tmp_path / "refused", reset="after")


def test_masks_that_are_imported_are_not_left_out(tmp_path):
    """Keras 3 writes them as operations of their own; one that only a head computes with is left out."""
    ids, frames = keras.Input((None,), dtype="int32"), keras.Input((None, 3))
    states = layers.LSTM(5, return_sequences=True)
    keras.Model(ids, states(layers.Embedding(10, 4, mask_zero=True)(ids))).save(tmp_path / "ids.keras")
    masked = layers.LSTM(5, return_sequences=True)(layers.Masking(0.0)(frames))
    keras.Model(frames, masked).save(tmp_path / "frames.keras")
    plain = layers.LSTM(5, return_sequences=True)(layers.Embedding(10, 4)(ids))
    seen = keras.ops.cast(keras.ops.not_equal(ids, 0), "float32")
    keras.Model(ids, [plain, seen]).save(tmp_path / "beside.keras")
    for name, options, left in (
        ("ids", {}, []),
        ("frames", {"vectors": True}, []),
        ("beside", {"unpadded": True}, ["(NotEqual)"]),
    ):
        done = imported(tmp_path / f"{name}.keras", tmp_path / name, **options)
        assert [text.split()[-1] for text in done.made.left if "Cast" not in text] == left


@pytest.mark.parametrize("number", [-99.0, 0.0])
def test_masking_whose_mask_is_lost(number, tmp_path):
    """It makes zeros of the vectors that it hides; only if they are zeros are the states the same without it."""
    frames, start = keras.Input((None, 3)), keras.Input((5,))
    masked = layers.Masking(number)(frames)
    rows = np.random.default_rng(3).normal(size=(1, 6, 3)).astype(np.float32)
    rows[0, 2] = number
    models = {
        "product": (keras.Model(frames, layers.LSTM(5, return_sequences=True)(masked * 2.0)), (rows,)),
        "state": (
            keras.Model([frames, start], layers.GRU(5, return_sequences=True)(masked, initial_state=start)),
            (rows, np.zeros((1, 5), np.float32)),
        ),
    }
    for name, (made, given) in models.items():
        options = {"vectors": True, "initial_states": name == "state"}
        made.save(tmp_path / f"{name}.keras")
        if number:
            with pytest.raises(ImportRefusedError, match=r"zeros of a vector that has only -99, but .*--unpadded"):
                imported(tmp_path / f"{name}.keras", tmp_path / "refused", **options)
        done = imported(tmp_path / f"{name}.keras", tmp_path / name, unpadded=bool(number), **options)
        (note,) = (one for one in done.made.notes if "vector" in one)
        assert ("no row may contain a vector that has only -99" in note) == bool(number)
        if not number and name == "product":
            assert np.abs(states_of(done, list(rows))[0] - np.asarray(made(*given))[0]).max() < 1e-6


def test_weights_alone_do_not_show_merge_mode(tmp_path):
    """A note says that the last layer's directions are taken side by side; the width of a layer above shows it."""
    ids = keras.Input((None,), dtype="int32")
    low = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(layers.Embedding(10, 4)(ids))
    for name, last in (("two", layers.Bidirectional(layers.LSTM(3), merge_mode="sum")), ("one", layers.LSTM(3))):
        made = keras.Model(ids, last(low))
        made.save_weights(tmp_path / f"{name}.weights.h5")
        names = ("bidirectional", "bidirectional_1" if name == "two" else "lstm")
        done = imported(tmp_path / f"{name}.weights.h5", tmp_path / name, layers=names)
        notes = [note for note in done.made.notes if "merge_mode" in note]
        assert len(notes) == (name == "two")
        assert not notes or notes[0].startswith("the outputs of bidirectional_1's two directions are side by side")
