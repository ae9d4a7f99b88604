"""Crafted Keras models with a graph: what Keras computes, or a refusal with the reason."""

from functools import cache

import numpy as np
import pytest
from support.crafted import RIGHT, Cases, check, pad
from support.imported import imported
from support.skips import one_in

from unrolled.errors import ModelError
from worker.model_import import token_maps
from worker.model_import.parity.plain_arithmetic import last_states

keras = pytest.importorskip("keras")
layers, ops = keras.layers, keras.ops
pytestmark = [
    # Keras's variables warn with NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # Of layers that pass no mask on, which some of these models have on purpose.
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask:UserWarning"),
]

CASES = Cases()
case = CASES.case
#: Without id 0, which is padding in Keras by custom.
ROWS = [[3], [1, 2], [9, 4, 4, 1, 7], [5, 6, 7, 8, 9, 1, 1, 2, 3]]


def text(length=None):
    return keras.Input((length,), dtype="int32", name="ids")


def words(**settings):
    return layers.Embedding(10, 4, name="words", **settings)


def lstm(units=5, **settings):
    return layers.LSTM(units, return_sequences=True, **settings)


MASKED = {"mask_zero": True}
VECTORS = {"vectors": True}


@case(suffix=".keras")
def masked_embedding():
    ids = text()
    return ids, lstm()(words(**MASKED)(ids))


@case(suffix=".h5")
def masked_embedding_in_hdf5():
    ids = text()
    return ids, lstm()(words(**MASKED)(ids))


@case(r"top: the model computes its mask .* Besides, top reads .*\(Attention\)", suffix=".keras")
def attention_between_two_layers_with_a_mask():
    ids = text()
    states = lstm(name="low")(words(**MASKED)(ids))
    return ids, lstm(name="top")(layers.Attention()([states, states]))


@case(suffix=".keras")
def attention_and_head_on_top():
    ids = text()
    states = lstm(name="states")(words(**MASKED)(ids))
    return ids, layers.Attention()([states, states]), states


@case(r"words reads flip \(Flip\)", suffix=".keras")
def ids_reversed_before_the_embedding():
    ids = text()
    return ids, lstm()(words()(ops.flip(ids, axis=1)))


@case(r"words reads .*\(Flip\)", suffix=".h5")
def ids_reversed_before_the_embedding_in_hdf5():
    ids = text()
    return ids, lstm()(words()(ops.flip(ids, axis=1)))


@case(r"words reads roll \(Roll\)", suffix=".keras")
def ids_shifted_before_the_embedding():
    ids = text()
    return ids, lstm()(words()(ops.roll(ids, 1, axis=1)))


@case(suffix=".keras", run=True)
def ids_cast_before_the_embedding():
    ids = text()
    return ids, lstm()(words(**MASKED)(ops.cast(ops.cast(ids, "int64"), "uint32")))


@case(suffix=".h5", run=True)
def ids_cast_before_the_embedding_in_hdf5():
    ids = keras.Input((None,), dtype="float32")
    return ids, lstm()(words()(ops.cast(ids, "int32")))


@case(r"words reads cast.*\(Cast\)", suffix=".keras")
def ids_cast_to_fewer_before_the_embedding():
    ids = text()
    return ids, lstm()(
        words()(
            ops.cast(
                ops.cast(
                    ids,
                    "uint8",
                ),
                "int32",
            )
        )
    )


@case(r"reads cast.*\(Cast\)", suffix=".keras")
def vectors_cast_to_integers():
    ids = text()
    return ids, lstm()(ops.cast(words()(ids), "int32"))


@case(r"words reads .*\(Minimum\)", suffix=".keras")
def ids_computed_before_the_embedding():
    ids = text()
    return ids, lstm()(words()(ops.minimum(ids + 1, 9)))


@case(r"words reads .*Rescaling", suffix=".keras")
def ids_scaled_before_the_embedding():
    ids = text()
    return ids, lstm()(words()(layers.Rescaling(0.5)(ids)))


@case(r"words reads .*(GetItem)", suffix=".keras")
def ids_cut_before_the_embedding():
    ids = text()
    return ids, lstm()(words()(ids[:, 1:]))


@case(suffix=".keras", parity=1e-5)
def dense_between_two_layers():
    ids = text()
    low = lstm(name="low")(words(**MASKED)(ids))
    return ids, lstm(4, name="top")(layers.Dense(7, activation="relu")(low))


@case(suffix=".h5", parity=1e-5)
def normalizations_between_two_layers():
    ids = text()
    low = layers.Bidirectional(lstm(), name="low")(words(**MASKED)(ids))
    normal = layers.BatchNormalization()(layers.Dropout(0.5)(layers.LayerNormalization()(low)))
    return ids, lstm(4, name="top")(layers.Activation("tanh")(layers.TimeDistributed(layers.Dense(3))(normal)))


@case(suffix=".keras", parity=1e-5, top="sum")
def adapters_between_two_layers():
    ids = text()
    low = lstm(6, name="low")(words()(ids))
    low = layers.Add()([low, layers.Dense(6)(layers.Dense(2, activation="relu")(layers.LayerNormalization()(low)))])
    return ids, layers.Add(name="sum")([low, lstm(6, name="top")(layers.LayerNormalization()(low))])


@case(suffix=".keras", parity=1e-5, layers=("low",), top="sums")
def sum_above_the_last_layer():
    ids = text()
    vectors = words()(ids)
    low = layers.Dense(4, activation="sigmoid")(layers.Bidirectional(lstm(), name="low")(vectors))
    sums = layers.Add(name="sums")([low, vectors])
    return ids, lstm(3, name="top")(sums), sums


@case(r"--top dense: it reads words", suffix=".keras", top="dense")
def dense_below_all_layers_is_no_top():
    ids = text()
    return ids, lstm()(layers.Dense(4, name="dense")(words(**MASKED)(ids)))


@case(
    r"--top item: item \(Dense\) can't be the top: its softmax .* not above a recurrent layer; a copy of the model "
    r"with linear there gives the logits; allowed: linear, tanh, .*; for the vectors that it reads, leave --top out",
    suffix=".keras",
    top="item",
)
def softmax_is_no_top():
    ids = text()
    return ids, layers.Dense(9, activation="softmax", name="item")(lstm()(words(**MASKED)(ids)))


@case(r"--top gru: it is a recurrent layer itself: --layer gru, without --top", suffix=".keras", top="gru")
def recurrent_layer_is_no_top():
    ids = text()
    return ids, layers.Dense(9)(lstm(name="gru")(words(**MASKED)(ids)))


@case(r"--top nothing: there is no such node; name a .* recurrent layer$", suffix=".keras", top="nothing")
def top_that_is_not_there():
    ids = text()
    return ids, lstm()(words(**MASKED)(ids))


@case(r"--top nothing: there is no such node; .* recurrent layer, such as head$", suffix=".keras", top="nothing")
def top_above_the_last_layer():
    ids = text()
    low = layers.Dense(5, name="mid")(lstm(name="a")(words(**MASKED)(ids)))
    return ids, layers.Dense(3, name="head")(lstm(4, name="b")(low))


@case(r"--top nothing: there is no such node; .* recurrent layer, such as norm, soft$", suffix=".keras", top="nothing")
def top_that_is_called_otherwise():
    ids = text()
    norm = layers.LayerNormalization(name="norm")(lstm()(words(**MASKED)(ids)))
    return ids, layers.Dense(3, activation="softmax")(layers.Activation("tanh", name="soft")(norm))


@case(r"top \(LSTM\) reads elu \(Dense\).*--layer low", then={"layers": ("low",)}, suffix=".keras")
def another_function_between_two_layers():
    ids = text()
    low = lstm(name="low")(words(**MASKED)(ids))
    return ids, lstm(4, name="top")(layers.Dense(5, activation="elu", name="elu")(low)), low


@case(r"top \(LSTM\) reads .*\(Add\).*--layer low", then={"layers": ("low",)}, suffix=".keras")
def two_sums_of_one_vector_between_two_layers():
    ids = text()
    low = lstm(4, name="low")(words()(ids))
    dense = layers.Dense(4)(low)
    return ids, lstm(4, name="top")(layers.Add()([layers.Add()([dense, low]), low])), low


@case(r"top \(LSTM\) reads .*\(Conv1D\).*--layer low", then={"layers": ("low",)}, suffix=".keras")
def convolution_between_two_layers():
    ids = text()
    low = lstm(name="low")(words()(ids))
    return ids, lstm(4, name="top")(layers.Conv1D(5, 3, padding="same", name="convolution")(low)), low


@case(r"--layer low", then={"layers": ("low",)}, suffix=".keras")
def last_state_repeated_for_a_second_layer():
    ids = text()
    low = lstm(name="low")(words(**MASKED)(ids))
    last = ops.max(low, axis=1)
    return ids, lstm(4, name="top")(layers.RepeatVector(3)(last)), low


@case(r"--layer low", then={"layers": ("low",)}, suffix=".keras")
def state_output_repeated_for_a_second_layer():
    ids = text()
    low, last, _ = layers.LSTM(5, return_sequences=True, return_state=True, name="low")(words(**MASKED)(ids))
    return ids, lstm(4, name="top")(layers.RepeatVector(3)(last)), low


@case(r"simple \(SimpleRNN\).*--layer low", then={"layers": ("low",)}, suffix=".keras")
def plain_rnn_on_top():
    ids = text()
    low = lstm(name="low")(words(**MASKED)(ids))
    return ids, layers.SimpleRNN(3, return_sequences=True, name="simple")(low), low


@case(r"within others: time_distributed", suffix=".keras")
def lstm_within_timedistributed():
    ids = keras.Input((3, 4), dtype="int32")
    return ids, layers.TimeDistributed(layers.LSTM(5))(words()(ids)), None


@case(r"states reads the model's input.*--one-hot.*--vectors", then=VECTORS, suffix=".keras")
def features_of_audio():
    frames = keras.Input((None, 13))
    return frames, lstm(name="states")(frames)


@case(vectors=True, suffix=".keras")
def masked_features():
    frames = keras.Input((None, 4))
    x = lstm(name="low")(layers.Masking(-1.0)(frames))
    return frames, layers.Bidirectional(lstm())(x)


@case(r"it changes vectors that no embedding makes.*--vectors", then=VECTORS, suffix=".keras")
def features_that_are_changed_below_the_first_layer():
    frames = keras.Input((None, 4))
    x = layers.Dense(6, activation="tanh")(layers.BatchNormalization()(layers.Masking(0.0)(frames)))
    x = layers.LayerNormalization()(x)
    return frames, layers.Bidirectional(lstm(3))(x)


@case(vectors=True, suffix=".keras")
def features_that_are_added_to_states():
    frames = keras.Input((None, 5))
    x = lstm(name="low")(frames) + frames
    return frames, layers.GRU(3, return_sequences=True)(x)


@case(r"reads rows of 9 vectors.*--unpadded", then={**VECTORS, "unpadded": True}, vectors=True, suffix=".keras")
def fixed_number_of_features():
    frames = keras.Input((9, 4))
    return frames, lstm()(frames)


@case(r"\(Masking\) reads normal .*isn't that of the rows' own vectors", vectors=True, suffix=".keras")
def mask_of_changed_features():
    frames = keras.Input((None, 4))
    return frames, lstm()(layers.Masking(0.0)(layers.LayerNormalization(name="normal")(frames)))


@case(r"in some of its layers only.*--unpadded", vectors=True, suffix=".keras")
def mask_that_only_the_lower_layer_has():
    frames = keras.Input((None, 4))
    x = lstm(name="low")(layers.Masking(0.0)(frames))
    return frames, layers.Bidirectional(lstm())(ops.add(x, 0.0))


@case(r"above an embedding, but not to vectors that rows contain", vectors=True, suffix=".keras")
def function_of_features_that_no_map_computes():
    frames = keras.Input((None, 4))
    return frames, lstm()(layers.Dense(4, activation="gelu")(frames))


@case(r"--vectors: .* reads words \(Embedding\), which makes vectors of ids", vectors=True, suffix=".keras")
def ids_that_are_called_vectors():
    ids = text()
    return ids, lstm()(words()(ids))


@case(r"--one-hot: .* reads words \(Embedding\), which makes vectors of ids", one_hot=True, suffix=".keras")
def ids_of_an_embedding_that_are_called_one_hot():
    ids = text()
    return ids, lstm()(words(**MASKED)(ids))


@case(r"--one-hot", then={"one_hot": True}, suffix=".keras")
def one_hot_vectors():
    vectors = keras.Input((None, 10))
    return vectors, lstm()(vectors)


@case(suffix=".keras")
def one_hot_in_the_graph():
    ids = text()
    return ids, lstm()(ops.one_hot(ids, 10))


@case(suffix=".keras", run=True)
def one_hot_ids_times_a_matrix():
    ids = text()
    matrix = np.random.default_rng(3).normal(0, 1, (10, 4)).astype(np.float32)
    return ids, lstm()(ops.tanh(ops.matmul(ops.one_hot(ids, 10), matrix)))


@case(suffix=".h5", run=True)
def one_hot_ids_in_a_dense_layer():
    ids = text()
    encoded = layers.CategoryEncoding(num_tokens=10, output_mode="one_hot")(ids)
    return ids, lstm()(layers.TimeDistributed(layers.Dense(4, use_bias=False))(layers.Dropout(0.1)(encoded)))


@case(suffix=".keras", padding=pad(9, "before"))
def padded_one_hot_ids_in_a_dense_layer():
    ids = text(9)
    return ids, lstm()(layers.Dense(4, activation="gelu")(ops.one_hot(ids, 10)))


@case(r"if they are ids as one-hot vectors: --one-hot", then={"one_hot": True}, suffix=".keras", run=True)
def one_hot_vectors_in_a_dense_layer():
    vectors = keras.Input((None, 10))
    return vectors, lstm()(layers.Dense(4, activation="relu")(vectors))


@case(r"nothing shows those of its padding.*--pad-id ID", suffix=".keras", one_hot=True, padding=pad(9))
def padded_one_hot_vectors_in_a_dense_layer():
    vectors = keras.Input((9, 10))
    return vectors, layers.Bidirectional(lstm())(layers.Dense(4)(vectors))


@case(suffix=".keras", parity=1e-5, vectors=True)
def normalization_of_vectors():
    frames = keras.Input((None, 4))
    return frames, lstm()(layers.Normalization(axis=-1)(layers.Masking(0.0)(frames)))


@case(suffix=".h5", run=True)
def normalizations_with_numbers():
    ids = text()
    vectors = layers.Normalization(axis=None, mean=0.5, variance=0.25)(words(**MASKED)(ids))
    low = lstm(4, name="low")(layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 0.0, 2.0])(vectors))
    return ids, lstm()(layers.Normalization(mean=0.1, variance=4.0, invert=True)(low))


@case(r"it has axis=\[1\]; only axis=-1", suffix=".keras")
def normalization_of_places():
    ids = text(9)
    return ids, lstm()(layers.Normalization(axis=1)(words()(ids)))


@case(suffix=".keras")
def category_encoding_in_the_graph():
    ids = text()
    return ids, lstm()(layers.CategoryEncoding(num_tokens=10, output_mode="one_hot")(ids))


@case(r"reads .*\(Flip\)", suffix=".keras")
def one_hot_of_reversed_ids():
    ids = text()
    return ids, lstm()(ops.one_hot(ops.flip(ids, axis=1), 10))


@case(r"--unpadded", then={"unpadded": True}, suffix=".keras")
def padding_that_the_source_computes():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(words()(ids))


@case(r"--unpadded", then={"unpadded": True}, suffix=".h5")
def padding_that_the_source_computes_in_hdf5():
    ids = text(9)
    return ids, lstm()(words()(ids))


ASKS = r"--pad 9 if after their tokens, --pad 9:pre if before them"


@case(ASKS, then={"padding": pad(9), "parity": 1e-5}, suffix=".keras")
def padded_after_the_tokens():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(words()(ids))


@case(ASKS, then={"padding": pad(9, "before")}, suffix=".h5", run=True)
def padded_before_the_tokens():
    ids = text(9)
    return ids, layers.GRU(4, return_sequences=True)(lstm()(words()(ids)))


@case(ASKS, then={"padding": pad(9, "before", id=4)}, suffix=".keras")
def padded_with_a_token_of_the_embedding():
    ids = text(9)
    return ids, lstm()(words()(ids))


@case(padding=pad(9), ids_from=0, suffix=".keras")
def padded_with_id_0_that_is_a_token_too():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(words()(ids))


@case(padding=pad(9), suffix=".keras", run=True)
def padded_where_it_changes_nothing():
    ids = text(9)
    return ids, lstm(3)(lstm()(words()(ids)))


@case(padding=pad(9, "before"), suffix=".keras")
def padded_where_it_changes_nothing_backward():
    ids = text(9)
    return ids, lstm(go_backwards=True)(words()(ids))


@case(padding=pad(9), suffix=".keras")
def padded_after_the_tokens_of_a_backward_layer():
    ids = text(9)
    return ids, lstm(go_backwards=True)(words()(ids))


@case(padding=pad(9), suffix=".keras")
def padded_and_changed_before_the_first_layer():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(layers.Dense(3, activation="tanh")(words()(ids)))


@case(padding=pad(9, "before"), suffix=".keras")
def padded_with_a_dense_layer_between():
    ids = text(9)
    low = layers.Dense(6, activation="tanh")(layers.Bidirectional(lstm())(words()(ids)))
    return ids, lstm()(low)


@case(r"masks padding in low, but not in top", then={"unpadded": True}, suffix=".keras")
def product_between_two_layers_that_drops_the_mask_in_fixed_rows():
    ids = text(9)
    return ids, lstm(name="top")(lstm(4, name="low")(words(**MASKED)(ids)) * 0.5)


@case(padding=pad(9), suffix=".keras")
def padded_to_a_length_that_only_the_program_knows():
    ids = text()
    return ids, layers.Bidirectional(lstm())(words()(ids))


ZEROS = {"padding": pad(9, zeros=True), "one_hot": True}


@case(r"the source reads vectors.*--pad-id zeros", then=ZEROS, padding=pad(9), one_hot=True, suffix=".keras", run=True)
def padded_with_vectors_of_zeros():
    vectors = keras.Input((9, 10))
    return vectors, layers.Bidirectional(lstm())(vectors)


@case(padding=pad(9, "before"), suffix=".keras")
def padded_one_hot_in_the_graph():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(ops.one_hot(ids, 10))


@case(r"--pad 9: the source masks padding", padding=pad(9), suffix=".keras")
def padded_though_it_is_masked():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(words(**MASKED)(ids))


@case(r"--pad 8: the source reads rows of 9 tokens", padding=pad(8), suffix=".keras")
def padded_to_another_length():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(words()(ids))


@case(r"--pad and --unpadded contradict each other", padding=pad(9), unpadded=True, suffix=".keras")
def padded_and_unpadded():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(words()(ids))


@case(r"--pad-id 10: the source has the ids 0\.\.9", padding=pad(9, id=10), suffix=".keras")
def padded_with_an_id_that_it_lacks():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(words()(ids))


@case(r"--pad-id zeros is for ids as one-hot vectors", padding=pad(9, zeros=True), suffix=".keras")
def padded_with_zeros_in_place_of_an_id():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(words()(ids))


@case(suffix=".keras")
def fixed_length_with_a_mask():
    ids = text(9)
    return ids, lstm()(words(**MASKED)(ids))


@case(r"the model computes its mask \(not_equal", suffix=".keras")
def mask_of_the_models_own():
    ids = text()
    return ids, lstm()(words()(ids), mask=ops.not_equal(ids, 3))


@case(r"Masking.*ids 7", suffix=".keras")
def masking_of_a_real_vector():
    ids = text()
    return ids, lstm()(layers.Masking()(layers.Embedding(10, 4, name="zero7")(ids)))


@case(r"backward.*(recurrent_activation|gates)", suffix=".keras")
def backward_layer_with_other_gates():
    ids = text()
    back = lstm(go_backwards=True, recurrent_activation="hard_sigmoid")
    return ids, layers.Bidirectional(lstm(), backward_layer=back)(words(**MASKED)(ids))


@case(r"backward.*activation", suffix=".keras")
def backward_layer_with_another_activation():
    ids = text()
    back = lstm(go_backwards=True, activation="relu")
    return ids, layers.Bidirectional(lstm(), backward_layer=back)(words(**MASKED)(ids))


@case(r"--ids-from 0.*masks id 0", ids_from=0, suffix=".keras")
def id_0_taken_for_a_token_though_it_is_masked():
    ids = text()
    return ids, lstm()(words(**MASKED)(ids))


@case(r"reads .*\(Add\)", suffix=".keras")
def positions_that_are_added():
    ids = text(9)
    places = layers.Embedding(9, 4, name="places")(ops.arange(9) + ids * 0)
    return ids, lstm()(words()(ids) + places)


@case(suffix=".keras")
def one_layer_called_twice():
    ids = text()
    both = lstm(4, name="both")
    return ids, both(both(words(**MASKED)(ids)))


@case(r"2 stacks.*--layer ahead; --layer back", then={"layers": ("ahead",)}, suffix=".keras")
def forward_and_backward_side_by_side():
    ids = text()
    embedded = words(**MASKED)(ids)
    ahead = lstm(name="ahead")(embedded)
    return ids, layers.Concatenate()([ahead, lstm(go_backwards=True, name="back")(embedded)]), ahead


@case(r"starts from another layer's state", suffix=".keras", layers=("decoder",))
def decoder_that_starts_from_a_state():
    ids = text()
    _, *state = layers.LSTM(5, return_sequences=True, return_state=True, name="encoder")(words(**MASKED)(ids))
    return ids, lstm(name="decoder")(layers.Embedding(10, 4, name="other")(ids), initial_state=state)


@case(suffix=".keras")
def dense_on_the_embedding():
    ids = text()
    return ids, lstm()(layers.Dropout(0.5)(layers.Dense(7, activation="tanh")(words(**MASKED)(ids))))


@case(suffix=".h5")
def two_dense_layers_on_the_embedding_in_hdf5():
    ids = text()
    low = layers.Dense(6, use_bias=False, activation="relu")(words(**MASKED)(ids))
    return ids, lstm()(layers.TimeDistributed(layers.Dense(3, activation="softsign"))(low))


@case(suffix=".keras")
def normalizations_and_functions_on_the_embedding():
    ids = text()
    low = layers.LayerNormalization(epsilon=0.1)(words(**MASKED)(ids))
    low = layers.ReLU()(layers.BatchNormalization(center=False)(layers.Activation("elu")(low)))
    return ids, lstm()(layers.LayerNormalization(scale=False)(low))


@case(suffix=".keras", top="sum")
def dense_on_the_embedding_and_a_residual_layer():
    ids = text()
    low = layers.Dense(5)(words(**MASKED)(ids))
    return ids, layers.Add(name="sum")([lstm(5)(low), low])


@case(suffix=".keras", run=True, top="sum2")
def residual_layers_on_a_masked_embedding():
    ids = text()
    low = words(**MASKED)(ids)
    for number in range(3):
        low = layers.Add(name=f"sum{number}")([lstm(4)(low), low])
    return ids, low


@case(suffix=".h5", run=True, top="sum")
def residual_layers_on_a_masked_embedding_in_hdf5():
    ids = text()
    low = words(**MASKED)(ids)
    low = layers.Add()([low, lstm(4)(low)])
    return ids, layers.Add(name="sum")([low, layers.Bidirectional(lstm(2))(low)])


@case(suffix=".keras")
def residual_layers_of_vectors_that_masking_hides():
    ids = text()
    low = layers.Masking(0.0)(words()(ids))
    low = layers.Add()([lstm(4)(low), low])
    return ids, lstm()(low)


@case(r"masks padding in low, but not in top", then={"unpadded": True}, suffix=".keras")
def residual_layer_whose_sum_drops_the_mask_in_fixed_rows():
    ids = text(9)
    embedded = words(**MASKED)(ids)
    return ids, lstm(name="top")(lstm(4, name="low")(embedded) + embedded)


@case(r"computes its mask \(logical_or", suffix=".keras")
def two_masks_that_are_joined():
    ids = text()
    both = ops.logical_or(ops.not_equal(ids, 0), ops.not_equal(ids, 3))
    return ids, lstm()(words()(ids), mask=both)


@case(suffix=".keras", run=True)
def embedding_with_constants():
    ids = text()
    low = 1.5 - (words()(ids) * 4.0 + 0.25) / np.array([2.0, 3.0, 4.0, 5.0], np.float32)
    return ids, lstm()(ops.tanh(low * 0.5 - 0.125))


@case(suffix=".h5", run=True)
def embedding_with_constants_in_hdf5():
    ids = text()
    low = ops.multiply(words(**MASKED)(ids), ops.sqrt(4.0))
    return ids, lstm()(layers.Rescaling(2.0, offset=-0.5)(low))


@case(suffix=".keras", run=True)
def rescaled_by_a_number_for_each_place_of_a_vector():
    ids = text()
    low = layers.Rescaling([2.0, 3.0, 0.5, -1.0], offset=0.25)(words(**MASKED)(ids))
    return ids, lstm()(layers.Rescaling(1.5, offset=[0.5, 0.0, -0.25, 1.0, 2.0])(lstm()(low)))


@case(suffix=".keras")
def rescaled_by_an_array():
    ids = text()
    return ids, lstm()(layers.Rescaling(np.array([2.0, 3.0, 0.5, -1.0]))(words(**MASKED)(ids)))


@case(r"Rescaling.*its scale and offset must be numbers that float32 can hold", suffix=".keras")
def rescaled_by_what_float32_can_not_hold():
    ids = text()
    return ids, lstm()(layers.Rescaling(2.0, offset=-1e300)(words(**MASKED)(ids)))


@case(r"--pad 9 if after", then={"padding": pad(9)}, suffix=".keras", run=True)
def padded_because_a_product_drops_the_mask():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(words(**MASKED)(ids) * 4.0)


@case(suffix=".keras")
def fixed_length_with_a_mask_that_rescaling_keeps():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(layers.Rescaling(4.0)(words(**MASKED)(ids)))


@case(r"reads .*\(Multiply\)", suffix=".keras")
def scales_that_depend_on_the_position():
    ids = text(9)
    return ids, lstm()(words(**MASKED)(ids) * np.arange(9, dtype=np.float32)[:, None])


class Dense(layers.Dense):
    """A layer of somebody's own, with the name of one of Keras's."""

    def call(self, inputs):
        return ops.flip(super().call(inputs), axis=1)


@case(r"reads .*test_keras_graphs\.Dense\)", suffix=".keras")
def layer_of_ones_own_with_a_known_name():
    ids = text()
    return ids, lstm()(Dense(4)(words(**MASKED)(ids)))


@case(r"reads .*\(LayerNormalization\)", suffix=".keras")
def normalization_along_the_tokens():
    ids = text(9)
    return ids, lstm()(layers.LayerNormalization(axis=1)(words(**MASKED)(ids)))


@case(r"it masks vectors that consist of one number, and changes vectors", suffix=".keras")
def masking_of_a_changed_vector():
    ids = text()
    return ids, lstm()(layers.Dense(4)(layers.Masking(0.0)(words()(ids))))


@case(r"reads conv1d(_\d+)? \(Conv1D\)", suffix=".keras")
def convolution_between():
    ids = text()
    return ids, lstm()(layers.Conv1D(4, 3, padding="same")(words()(ids)))


@case(r"reads dense \(Dense\): its activation is 'hard_silu'", suffix=".keras")
def unknown_activation_below_a_normalization():
    ids = text()
    return ids, lstm()(
        layers.BatchNormalization()(layers.Dense(10, activation="hard_silu", name="dense")(words()(ids)))
    )


@case(suffix=".keras", parity=1e-5)
def gelu_and_a_normalization_on_the_embedding():
    ids = text()
    return ids, lstm()(layers.BatchNormalization()(layers.Dense(10, activation="gelu")(words(**MASKED)(ids))))


FUNCTIONS = (
    "celu", "elu", "exponential", "gelu", "hard_tanh", "leaky_relu", "log_sigmoid", "log_softmax", "mish", "relu6",
    "selu", "silu", "softmax", "softplus", "softsign", "squareplus", "swish", "tanh_shrink",
)  # fmt: skip


@case(suffix=".keras")
def all_functions_on_the_embedding():
    ids = text()
    low = words(**MASKED)(ids)
    for function in FUNCTIONS:
        low = layers.Dense(6, activation=function)(low)
    return ids, lstm()(low)


@case(suffix=".h5")
def layers_of_functions_on_the_embedding_in_hdf5():
    ids = text()
    low = layers.LeakyReLU(negative_slope=0.1)(words(**MASKED)(ids))
    low = layers.UnitNormalization()(layers.ELU(alpha=0.3)(low))
    low = layers.ReLU(max_value=0.6, negative_slope=0.2, threshold=0.1)(layers.PReLU(shared_axes=[1])(low))
    return ids, lstm()(layers.TimeDistributed(layers.Dense(5, activation="leaky_relu"))(low))


@case(suffix=".keras", parity=1e-5)
def layers_as_activations():
    ids = text()
    low = layers.Dense(6, activation=layers.LeakyReLU(negative_slope=0.1))(words(**MASKED)(ids))
    low = layers.Dense(5, activation=layers.ReLU())(layers.Dense(6, activation=layers.ELU(alpha=0.3))(low))
    low = layers.Activation(layers.ReLU(max_value=0.6, negative_slope=0.2, threshold=0.1))(low)
    return ids, lstm()(low)


@case(r"\(Dense\): its activation is a layer, Softmax; put that layer after this one", suffix=".keras")
def softmax_as_activation():
    ids = text()
    return ids, lstm()(layers.Dense(6, activation=layers.Softmax())(words()(ids)))


@case(r"reads p_re_lu \(PReLU\)", suffix=".keras")
def slopes_that_depend_on_the_position():
    ids = text(9)
    return ids, lstm()(layers.PReLU(name="p_re_lu")(words()(ids)))


@case(suffix=".keras", parity=1e-5)
def convolution_of_width_1():
    ids = text()
    low = lstm(name="low")(layers.Conv1D(6, 1, activation="gelu")(words()(ids)))
    return ids, lstm(name="top")(layers.Conv1D(3, 1, activation="relu", padding="causal")(low))


@case(ASKS, then={"padding": pad(9)}, suffix=".keras")
def padded_because_a_convolution_drops_the_mask():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(layers.Conv1D(6, 1)(words(**MASKED)(ids)))


@case(r"\(Conv1D\): it has strides=\[2\]; only strides=1", suffix=".keras")
def convolution_that_skips_tokens():
    ids = text()
    return ids, lstm()(layers.Conv1D(6, 1, strides=2)(words()(ids)))


@case(r"\(Conv1D\): it has groups=2", suffix=".h5")
def convolution_in_groups():
    ids = text()
    return ids, lstm()(layers.Conv1D(6, 1, groups=2)(words()(ids)))


@case(r"top \(LSTM\) reads function \(Dense\): its gelu can be .* above an embedding", suffix=".keras")
def function_between_two_layers_below_a_normalization():
    ids = text()
    low = layers.Dense(5, activation="gelu", name="function")(lstm(name="low")(words(**MASKED)(ids)))
    return ids, lstm(4, name="top")(layers.LayerNormalization()(low))


@case(r"reads code \(Lambda\): it runs code of the model's own", suffix=".keras")
def code_of_the_models_own_on_the_embedding():
    ids = text()
    return ids, lstm()(layers.Lambda(lambda x: x * 2, output_shape=(None, 4), name="code")(words()(ids)))


@case(r"reads sum \(Add\): it adds vectors below the first recurrent layer", suffix=".keras")
def residual_dense_on_the_embedding():
    ids = text()
    low = words()(ids)
    return ids, lstm()(layers.Add(name="sum")([low, layers.Dense(4)(low)]))


@case(r"reads both \(Concatenate\)", suffix=".keras")
def two_embeddings_side_by_side():
    ids = text()
    return ids, lstm()(layers.Concatenate(name="both")([words()(ids), layers.Embedding(10, 3, name="other")(ids)]))


@case(r"forward layer has 6 units and its backward layer 4", suffix=".keras")
def two_directions_of_different_sizes():
    ids = text()
    back = lstm(4, go_backwards=True)
    return ids, layers.Bidirectional(lstm(6), backward_layer=back)(words(**MASKED)(ids))


@case(r"different kinds \(forward LSTM, backward GRU\)", suffix=".keras")
def two_directions_of_different_kinds():
    ids = text()
    back = layers.GRU(5, return_sequences=True, go_backwards=True)
    return ids, layers.Bidirectional(lstm(), backward_layer=back)(words(**MASKED)(ids))


@case(r"its layers differ in reset_after", suffix=".keras")
def two_directions_that_reset_differently():
    ids = text()
    ahead, back = (layers.GRU(5, return_sequences=True, reset_after=one, go_backwards=one) for one in (False, True))
    return ids, layers.Bidirectional(ahead, backward_layer=back)(words(**MASKED)(ids))


@case(suffix=".keras")
def two_directions_of_which_one_has_no_bias():
    ids = text()
    back = lstm(go_backwards=True, use_bias=False)
    return ids, layers.Bidirectional(lstm(), backward_layer=back)(words(**MASKED)(ids))


@case(suffix=".keras", run=True, top="sums")
def sum_of_the_embedding_and_the_last_layer():
    ids = text()
    vectors = layers.Embedding(10, 5, name="words", **MASKED)(ids)
    sums = layers.Add(name="sums")([vectors, lstm(name="top")(lstm(name="low")(vectors))])
    return ids, layers.Dense(3)(sums), sums


def two_layers_and_their_sum():
    ids = text()
    low = lstm(6, name="low")(words(**MASKED)(ids))
    top = lstm(6, name="top")(low)
    sums = layers.Add(name="sums")([low, top])
    return ids, layers.Dense(3)(sums), top, sums


@case(suffix=".keras", run=True)
def sum_of_two_layers_that_is_left_out():
    ids, end, top, _ = two_layers_and_their_sum()
    return ids, end, top


@case(suffix=".h5", run=True, layers=("low", "top"))
def sum_of_two_named_layers_that_is_left_out():
    ids, end, top, _ = two_layers_and_their_sum()
    return ids, end, top


@case(suffix=".keras", run=True, top="sums")
def sum_of_two_layers_that_is_named():
    ids, end, _, sums = two_layers_and_their_sum()
    return ids, end, sums


@case(suffix=".keras", run=True, layers=("low",))
def layer_whose_residual_sum_the_next_layer_reads():
    ids = text()
    vectors = words(**MASKED)(ids)
    low = lstm(4, name="low")(vectors)
    return ids, lstm(name="top")(layers.Add()([low, vectors])), low


@case(
    r"low \(LSTM\) has .* added to its output, and norm, .* is made the embedding, .* its output alone: --layer low",
    then={"layers": ("low",)}, suffix=".keras",
)  # fmt: skip
def first_layer_with_a_norm_before_it_within_a_sum():
    ids = text()
    vectors = words(**MASKED)(ids)
    low = lstm(4, name="low")(layers.LayerNormalization(name="norm")(vectors))
    return ids, lstm(name="top")(layers.Add()([low, vectors])), low


@case(suffix=".h5")
def last_layer_that_is_averaged_with_its_square():
    ids = text()
    vectors = words(**MASKED)(ids)
    low = lstm(name="low")(vectors)
    return ids, layers.Average()([low, layers.Multiply()([low, low])]), low


BROUGHT = {"initial_states": True, "parity": 1e-5}


@case(r"starts from another layer's state, or from one that the model .* is given.*--initial-states", BROUGHT, ".keras")
def initial_states_that_the_model_is_given():
    ids, *given = text(), keras.Input((5,)), keras.Input((5,))
    return [ids, *given], lstm()(words()(ids), initial_state=given)


@case(r"starts from another layer's state", BROUGHT, ".h5")
def initial_states_of_a_stack_of_two_kinds_in_hdf5():
    ids, *given = text(), *(keras.Input((width,)) for width in (5, 5, 3))
    low = lstm()(words()(ids), initial_state=given[:2])
    return [ids, *given], layers.GRU(3, return_sequences=True, reset_after=False)(low, initial_state=given[2:])


@case(suffix=".keras", **BROUGHT)
def initial_states_of_two_directions():
    ids, *given = text(), *(keras.Input((4,)) for _ in range(4))
    low = layers.Bidirectional(lstm(4))(words()(ids), initial_state=given)
    return [ids, *given], lstm(3)(low)


@case(suffix=".keras", **BROUGHT)
def initial_states_of_cells_and_backward_layers():
    ids, *given = text(), *(keras.Input((width,)) for width in (6, 6, 4, 3, 3))
    cells = [layers.LSTMCell(6), layers.GRUCell(4)]
    low = layers.RNN(cells, return_sequences=True)(words()(ids), [given[:2], given[2:3]])
    back = lstm(3, go_backwards=True)(low, initial_state=given[3:])
    return [ids, *given], lstm(2, go_backwards=True)(back)


@case(r"--initial-states: no layer starts from a state that isn't a constant", suffix=".keras", initial_states=True)
def initial_states_that_no_layer_reads():
    ids = text()
    return ids, lstm()(words()(ids))


@case(suffix=".keras")
def functions_and_sums_with_numbers_between_layers():
    ids = text()
    low = lstm(name="low")(words()(ids)) * 0.5 + 1.0
    return ids, lstm(3, name="top")(ops.tanh(low))


@case(suffix=".keras")
def model_within_the_model_that_is_called_twice():
    ids = text()
    vectors = keras.Input((None, 4))
    inner = keras.Model(vectors, lstm(4, name="one")(vectors), name="inner")
    return ids, inner(inner(words()(ids)))


@case(suffix=".keras", run=True)
def models_within_the_model():
    ids = text()
    inner = keras.Sequential([layers.Dense(3), lstm(4), layers.Dropout(0.2)], name="inner")
    return ids, lstm()(inner(words(**MASKED)(ids)))


@case(suffix=".h5", run=True)
def models_within_the_model_in_hdf5():
    ids = text()
    vectors = keras.Input((None, 4))
    inner = keras.Model(vectors, layers.Bidirectional(lstm(3, name="one"))(vectors), name="inner")
    return ids, lstm()(inner(words(**MASKED)(ids)))


@case(suffix=".keras", run=True)
def last_layer_within_a_model():
    ids = text()
    vectors = keras.Input((None, 4))
    inner = keras.Model(vectors, lstm(3)(layers.Dense(4, activation="gelu")(vectors)), name="inner")
    return ids, inner(words(**MASKED)(ids))


@case(suffix=".keras", run=True)
def embedding_within_a_model():
    within = text()
    inner = keras.Model(within, layers.Dense(4)(words(**MASKED)(within)), name="inner")
    ids = text()
    return ids, lstm()(inner(ids))


@case(suffix=".h5", run=True)
def masking_in_hdf5():
    ids = text()
    return ids, lstm()(layers.Masking(0.5)(words()(ids)))


@case(r"computes padding like a token", then={"unpadded": True}, suffix=".keras")
def masking_that_hides_nothing_in_fixed_rows():
    ids = text(9)
    return ids, lstm()(layers.Masking(0.0)(words()(ids)))


@case(r"computes padding like a token", then={"unpadded": True}, suffix=".keras")
def masking_of_what_masking_has_hidden_in_fixed_rows():
    ids = text(9)
    return ids, lstm()(layers.Masking(0.3)(layers.Masking(0.0)(words(**MASKED)(ids))))


@case(r"computes padding like a token", then={"unpadded": True}, suffix=".keras", ids_from=0)
def masking_of_one_hot_ids_in_fixed_rows():
    ids = text(9)
    return ids, lstm()(layers.Masking(0.0)(ops.one_hot(ids, 10)))


@case(r"computes its mask \(any.*Masking of its vectors", suffix=".keras")
def masking_of_states_in_fixed_rows():
    ids = text(9)
    return ids, lstm(name="top")(layers.Masking(0.0)(lstm(4, name="low")(words(**MASKED)(ids))))


@case(r"masks padding in low, but not in top", then={"unpadded": True}, suffix=".keras")
def outputs_turned_around_without_their_mask_in_fixed_rows():
    ids = text(9)
    low = lstm(4, go_backwards=True, name="low")(words(**MASKED)(ids))
    return ids, lstm(go_backwards=True, name="top")(low)


@case(r"inner/states: the model computes its mask \(not_equal", suffix=".keras")
def mask_that_a_model_within_the_model_is_given():
    ids = text()
    vectors = keras.Input((None, 4))
    inner = keras.Model(vectors, lstm(name="states")(layers.Dense(3)(vectors)), name="inner")
    return ids, inner(words(**MASKED)(ids), mask=ops.not_equal(ids, 3))


@case(suffix=".keras", parity=1e-5)
def mask_of_id_0_that_a_model_within_the_model_is_given_in_fixed_rows():
    ids = text(9)
    vectors = keras.Input((None, 4))
    inner = keras.Model(vectors, layers.Bidirectional(lstm())(layers.Dense(3)(vectors)), name="inner")
    return ids, inner(words()(ids), mask=ops.not_equal(ids, 0))


@case(suffix=".keras", run=True)
def product_within_a_model():
    ids = text()
    vectors = keras.Input((None, 4))
    inner = keras.Model(vectors, vectors * 2.0 - 1.0, name="inner")
    return ids, lstm()(inner(words()(ids)))


@case(r"both is called more than once, and its calls read different vectors", suffix=".keras")
def one_layer_that_reads_two_vectors():
    ids = text()
    vectors = words()(ids)
    both = lstm(4, name="both")
    return ids, layers.Concatenate()([both(vectors), both(layers.Dense(4)(vectors))])


@case(suffix=".keras", run=True)
def softmax_as_a_layer():
    ids = text()
    return ids, lstm()(layers.Softmax()(words()(ids)))


@case(r"reads softmax.* \(Softmax\): it is called with a mask", suffix=".keras")
def softmax_of_masked_vectors():
    ids = text(4)
    return ids, lstm()(layers.Softmax()(words(**MASKED)(ids)))


@case(r"states reads join \(Concatenate\)", suffix=".keras")
def two_masked_embeddings_that_are_joined():
    ids = text()
    pair = [words(**MASKED)(ids), layers.Embedding(10, 4, **MASKED)(ids)]
    return ids, lstm(name="states")(layers.Concatenate(name="join")(pair))


@case(suffix=".keras")
def mask_that_only_the_second_layer_has():
    ids = text()
    low = layers.Dense(3)(lstm(4)(words()(ids)))
    return ids, lstm()(low, mask=ops.not_equal(ids, 0))


@case(r"backwards reads flip.*\(Flip\).*If the states of the other layers.*--layer ahead", suffix=".keras")
def two_directions_by_hand():
    ids = text()
    vectors = words()(ids)
    ahead = lstm(name="ahead")(vectors)
    back = lstm(name="backwards")(ops.flip(vectors, axis=1))
    return ids, layers.Concatenate()([ahead, ops.flip(back, axis=1)])


@case(r"top \(LSTM\) reads flip.*\(Flip\).*--layer low", suffix=".keras")
def turned_back_between_two_layers():
    ids = text()
    low = lstm(go_backwards=True, name="low")(words()(ids))
    return ids, lstm(name="top")(ops.flip(low, axis=1))


@case(r"b reads permute \(Permute\)", suffix=".keras")
def tokens_and_numbers_exchanged():
    ids = text(4)
    return ids, lstm(name="b")(layers.Permute((2, 1))(words()(ids)))


@case(r"b reads reshape \(Reshape\)", suffix=".keras")
def two_tokens_in_one_step():
    ids = text(6)
    return ids, lstm(name="b")(layers.Reshape((3, 8))(words()(ids)))


@case(suffix=".keras")
def zeros_as_first_state():
    ids = text()
    zeros = ops.zeros((1, 5))
    return ids, lstm()(words()(ids), initial_state=[zeros, zeros])


def drawn(rows, units, seed):
    """A constant, as a state that a layer starts from."""
    return ops.convert_to_tensor(np.random.default_rng(seed).normal(0, 1, (rows, units)).astype(np.float32))


@case(suffix=".keras", run=True, parity=1e-5)
def constants_as_first_states():
    ids = text()
    low = layers.GRU(4, return_sequences=True)(words(**MASKED)(ids), initial_state=drawn(1, 4, 1))
    both = layers.Bidirectional(lstm(3))(low, initial_state=[drawn(1, 3, seed) for seed in range(4)])
    back = lstm(2, go_backwards=True)(both, [drawn(1, 2, 5), drawn(1, 2, 6)])
    return ids, lstm(5, go_backwards=True)(back, initial_state=[np.zeros((1, 5)), np.ones((1, 5))])


@case(suffix=".h5", run=True)
def constants_as_first_states_in_hdf5():
    ids = text()
    low = lstm()(words()(ids), [drawn(1, 5, 1), drawn(1, 5, 2)])
    return ids, layers.GRU(3, return_sequences=True, reset_after=False)(low, initial_state=[drawn(1, 3, 3)])


@case(suffix=".keras", run=True)
def cells_of_different_kinds_that_start_from_constants():
    ids = text()
    cells = [layers.LSTMCell(6), layers.GRUCell(6), layers.LSTMCell(6), layers.GRUCell(3)]
    states = [[drawn(1, 6, 1), drawn(1, 6, 2)], [drawn(1, 6, 3)], [drawn(1, 6, 4), drawn(1, 6, 5)], [drawn(1, 3, 6)]]
    return ids, layers.RNN(cells, return_sequences=True)(words()(ids), states)


@case(suffix=".h5", run=True)
def cells_of_different_kinds_in_hdf5():
    ids = text()
    return ids, layers.RNN([layers.LSTMCell(6), layers.GRUCell(5)], return_sequences=True)(words(**MASKED)(ids))


@case(r"states: its initial_state isn't one constant vector for all rows", suffix=".keras")
def constants_that_are_other_states_in_each_row():
    ids = text()
    return ids, lstm(name="states")(words()(ids), initial_state=[drawn(2, 5, 1), drawn(2, 5, 2)]), None


@case(r"both: it is called more than once, and its calls start from different states", suffix=".keras")
def one_layer_that_starts_from_two_states():
    ids = text()
    both = lstm(4, name="both")
    return ids, both(both(words()(ids)), initial_state=[drawn(1, 4, 1), drawn(1, 4, 2)])


@case(suffix=".keras", parity=1e-5)
def one_layer_that_starts_twice_from_one_state():
    ids = text()
    both, state = lstm(4, name="both"), [drawn(1, 4, 1), drawn(1, 4, 2)]
    return ids, both(both(words()(ids), initial_state=state), initial_state=state)


@case(r"states: it is called with a constant mask", suffix=".keras")
def constant_mask():
    ids = text(9)
    return ids, lstm(name="states")(words()(ids), mask=np.arange(9)[None] % 2 == 0)


@case(suffix=".keras", run=True)
def padding_masked_by_a_mask_in_its_place():
    ids = text(9)
    return ids, layers.Bidirectional(lstm())(words()(ids), None, ops.not_equal(ids, 0))


@case(r"states: it is called with a constant mask", suffix=".h5")
def constant_mask_by_its_place():
    ids = text(9)
    return ids, layers.Bidirectional(lstm(), name="states")(words()(ids), None, np.arange(9)[None] % 2 == 0)


@case(r"reads noise \(Dropout\): it is called with training=True", suffix=".keras")
def dropout_that_stays_on():
    ids = text()
    return ids, lstm()(layers.Dropout(0.5, name="noise")(words()(ids), training=True))


@case(r"states: it is called with training=True", suffix=".keras")
def dropout_of_states_that_stays_on():
    ids = text()
    return ids, layers.Bidirectional(lstm(recurrent_dropout=0.1), name="states")(words()(ids), training=True)


@case(r"reads inner/noise \(SpatialDropout1D\): it is called with training=True", suffix=".keras")
def dropout_within_a_model_that_stays_on():
    ids = text()
    inner = keras.Sequential([layers.Dense(3), layers.SpatialDropout1D(0.1, name="noise")], name="inner")
    return ids, lstm()(inner(words()(ids), training=True))


@case(suffix=".keras", run=True)
def training_where_it_changes_nothing():
    ids = text()
    low = layers.Dropout(0.5)(words(**MASKED)(ids), training=False)
    return ids, lstm()(layers.LayerNormalization()(low), training=True)


@case(r"computes padding like a token", then={"unpadded": True}, suffix=".keras")
def first_state_without_the_embeddings_mask_in_fixed_rows():
    ids = text(9)
    ones = ops.ones((1, 5))
    return ids, lstm()(words(**MASKED)(ids), initial_state=[ones, ones])


@case(r"starts from another layer's state", suffix=".keras")
def ones_as_first_state():
    ids = text()
    vectors = words()(ids)
    ones = ops.ones_like(vectors[:, 0, :1]) * ops.ones((1, 5))
    return ids, lstm()(vectors, initial_state=[ones, ones])


@keras.saving.register_keras_serializable("own")
class LSTM(layers.LSTM):
    """A layer of somebody's own, with the name of one of Keras's."""

    def call(self, sequences, initial_state=None, mask=None, training=False):
        return super().call(ops.flip(sequences, axis=1), initial_state, mask, training)


@case(r"can't be imported, or within others: states \(own>LSTM\)", suffix=".keras")
def recurrent_layer_of_ones_own_with_a_known_name():
    ids = text()
    return ids, LSTM(5, return_sequences=True, name="states")(words()(ids))


@case(r"it is Bidirectional\(own>LSTM\)", suffix=".keras")
def two_directions_of_a_layer_of_ones_own():
    ids = text()
    return ids, layers.Bidirectional(LSTM(5, return_sequences=True))(words()(ids))


def write(case, directory):
    keras.utils.set_random_seed(1)
    ids, end, *wanted = case.make()
    model = keras.Model(ids, end)
    random = np.random.default_rng(2)
    for variable in model.variables:
        drawn = random.normal(0, 0.6, variable.shape)
        variable.assign(np.abs(drawn) if "variance" in variable.path else drawn)
    for layer in model.layers:
        if layer.name == "zero7":
            table = layer.get_weights()[0]
            table[7] = 0
            layer.set_weights([table])
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()
    source = directory / f"model{case.suffix}"
    model.save(source)
    part = model if not wanted or wanted[0] is None else keras.Model(ids, wanted[0])

    first, *states = ids if isinstance(ids, list) else [ids]

    def computed(given, begun=None):
        batch = given[None]
        if begun is not None:
            parts = np.split(begun[None], np.cumsum([one.shape[1] for one in states])[:-1], axis=1)
            batch = [batch, *parts]
        made = np.asarray(part(batch))[0]
        # Keras returns the last token's output first.
        return made[::-1] if "padded" in case.name and "backward" in case.name else made

    @cache
    def of_ids(*row):
        return computed(np.eye(11, 10, dtype=np.float32)[[*row]] if len(first.shape) == 3 else np.array(row, np.int32))

    def own(row, begun=None):
        if begun is not None:
            return computed(np.array(row, np.int32), begun)
        return computed(row) if row.dtype == np.float32 else of_ids(*row)

    return source, case.padded(own)


@pytest.mark.parametrize("case", one_in(2, CASES.parameters))
def test_keras_graphs(case, tmp_path):
    """Each model's outcome."""
    source, own = write(case, tmp_path)
    # A fixed length allows whole rows alone, and CategoryEncoding takes a single id for a whole row.
    whole = case.padding is None and ("padding" in case.name or "fixed" in case.name)
    rows = ROWS[-1:] if whole else ROWS[1:]
    check(case, source, own, tmp_path, rows)


def joined_in_two_places():
    ids = text()
    embedded = layers.Embedding(10, 5, name="words", **MASKED)(ids)
    low = lstm(name="low")(embedded)
    top = lstm(name="top")(low)
    sums = layers.Add(name="sums")([low, top])
    return keras.Model(ids, [layers.Dense(3)(sums), layers.Multiply(name="product")([embedded, top])])


def test_nodes_that_join_states_are_named(tmp_path):
    """A sum above the last layer that isn't taken is left out, and the note says that the vectors are those before."""
    joined_in_two_places().save(tmp_path / "model.keras")
    made = imported(tmp_path / "model.keras", tmp_path / "model").made
    assert {"sums (Add)", "product (Multiply)"} <= set(made.left)
    (note,) = [one for one in made.notes if "the vectors are those of top, before" in one]
    assert "sums (Add)" in note
    assert "product (Multiply)" in note


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_graph_in_float16_is_run_in_float16(tmp_path, name):
    """Its own outputs differ from those of the layers in float32, so they are near and not the same."""
    ids = text()
    vectors = layers.Dense(6, dtype="mixed_float16")(words(**MASKED)(ids))
    model = keras.Model(ids, layers.Bidirectional(lstm(dtype="mixed_float16"))(vectors))
    model.save(tmp_path / name)
    done = imported(tmp_path / name, tmp_path / "model", parity=1e-5)
    rounded = done.parity.rounded
    assert rounded.left == "the file's graph in Keras, which computes in mixed_float16,"
    assert 1e-5 < rounded.largest < 1e-2
    assert not any("the file's graph" in one.left for one in done.parity.comparisons)
    assert any("the source computes in mixed_float16" in note for note in done.made.notes)


def test_dropout_that_rounds_vectors_below_a_large_mean(tmp_path):
    """Keras gives each layer its input in the layer's type; the mean is subtracted from the little that has left."""
    frames = keras.Input((None, 3))
    far = layers.Normalization(mean=[20_000.0] * 3, variance=[25.0] * 3)
    keras.Model(frames, lstm()(far(layers.Dropout(0.1, dtype="mixed_float16")(frames)))).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"in mixed_float16, and plain .* differ by .* rounding makes at most 10 %"):
        imported(tmp_path / "model.keras", tmp_path / "model", vectors=True, parity=1e-5)


def test_a_normalization_far_from_zero(tmp_path):
    """States of numbers near its mean are Keras's; the comparison draws such numbers, and the lines tell its parts."""
    frames = keras.Input((None, 2))
    norm = layers.Normalization(mean=[2_460_000.0, 0.5], variance=[100.0, 4.0], name="norm")
    model = keras.Model(frames, lstm(name="states")(norm(frames)))
    model.save(tmp_path / "model.keras")
    done = imported(tmp_path / "model.keras", tmp_path / "model", vectors=True, parity=1e-5)
    assert done.made.taken[1:3] == [
        "norm (Normalization): its mean: scale 2",
        "norm (Normalization): its deviation: scale 2",
    ]
    vectors = np.random.default_rng(1).normal([2_460_000, 0.5], [10, 2], (30, 2)).astype(np.float32)
    made = last_states(done.made.config, done.made.weights, vectors, np.float32)
    np.testing.assert_allclose(made, model.predict(vectors[None], verbose=0)[0], rtol=0, atol=1e-6)


def two_differences(vectors):
    return layers.Normalization(mean=[10_000.3] * 2, variance=[1 / 9] * 2)(layers.Rescaling(1.0, -20_000.0)(vectors))


def adapted_in_float64(vectors):
    norm = layers.Normalization(dtype="float64")
    norm.adapt(np.random.default_rng(3).normal(2_460_000.123, 1, (1, 1000, 2)))
    return norm(vectors)


#: Functions of vectors near a large mean, with that mean and their deviation.
FAR = {
    "two differences": (two_differences, 30_000.3, 1 / 3),
    "two differences and a sum": (
        lambda vectors: layers.Rescaling(1.0, 5.0)(two_differences(vectors)),
        30_000.3,
        1 / 3,
    ),
    "an array of float64": (
        lambda vectors: keras.ops.divide(keras.ops.subtract(vectors, np.array([2_460_000.12, 0.12])), 10.0),
        [2_460_000, 0],
        10,
    ),
    "a number of Python": (lambda vectors: keras.ops.subtract(vectors, 2_460_000.12), 2_460_000, 1),
    "a mean of float64": (adapted_in_float64, 2_460_000, 1),
    "a tiny factor": (layers.Rescaling(1e-18, -1.7), 1.7e18, 1e18),
    "a dead channel": (
        layers.BatchNormalization(gamma_initializer=keras.initializers.Constant(1e-14), moving_mean_initializer="ones"),
        1,
        1,
    ),
    "a float16 layer above": (
        lambda vectors: layers.TimeDistributed(layers.Dropout(0.1, dtype="mixed_float16"))(two_differences(vectors)),
        30_000.3,
        1 / 3,
    ),
}


@pytest.mark.parametrize("name", FAR)
def test_all_digits_near_a_large_mean(tmp_path, name):
    """Those of constants with more digits than float32 too, and of sums of constants."""
    function, mean, deviation = FAR[name]
    frames = keras.Input((None, 2))
    model = keras.Model(frames, lstm(name="states")(function(frames)))
    model.save(tmp_path / "model.keras")
    done = imported(tmp_path / "model.keras", tmp_path / "model", vectors=True, parity=1e-5)
    assert max(one.largest for one in done.parity.comparisons) < 1e-6
    vectors = np.random.default_rng(1).normal(mean, deviation, (30, 2)).astype(np.float32)
    made = last_states(done.made.config, done.made.weights, vectors, np.float32)
    np.testing.assert_allclose(made, model.predict(vectors[None], verbose=0)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("mean", "deviation", "above"),
    [
        (20_000.0, 5.0, lambda vectors: vectors),
        (20_000.0, 5.0, layers.Rescaling(1.0, 10.0)),
        (20_000.0, 5.0, layers.Dropout(0.1, dtype="mixed_float16")),
        (0.0, 1e6, lambda vectors: vectors),
    ],
)
def test_a_wrong_factor_below_the_first_layer_is_noticed(tmp_path, monkeypatch, mean, deviation, above):
    """The gates of the rows that are compared aren't saturated."""
    right = token_maps.Normalization.layers

    def doubled(self, inputs):
        difference, quotient = right(self, inputs)
        quotient.tensors["gain"] *= 2
        return difference, quotient

    monkeypatch.setattr(token_maps.Normalization, "layers", doubled)
    frames = keras.Input((None, 2))
    norm = layers.Normalization(mean=[mean] * 2, variance=[deviation**2] * 2)
    keras.Model(frames, lstm()(above(norm(frames)))).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"and plain float64 arithmetic differ by"):
        imported(tmp_path / "model.keras", tmp_path / "model", vectors=True, parity=1e-5)


def test_a_sum_of_layers_is_noted(tmp_path):
    """A residual sum above the last layer is one of the nodes that are left out, listed and noted."""
    ids, end, *_ = two_layers_and_their_sum()
    keras.Model(ids, end).save(tmp_path / "model.keras")
    made = imported(tmp_path / "model.keras", tmp_path / "model").made
    assert "sums (Add)" in made.left
    (note,) = [one for one in made.notes if "the vectors are those of top, before" in one]
    assert "sums (Add)" in note
    assert "--top sums" in note


def test_a_sum_that_cannot_be_taken_is_not_advised(tmp_path):
    """The norm below the first layer is made a part of the embedding, so what is below it can't be added."""
    ids = keras.Input((None,), dtype="int32")
    vectors = words(**MASKED)(ids)
    end = layers.Add(name="sum")([vectors, lstm(4, name="low")(layers.LayerNormalization()(vectors))])
    keras.Model(ids, end).save(tmp_path / "model.keras")
    (note,) = imported(tmp_path / "model.keras", tmp_path / "model").made.notes
    assert note == "the vectors are those of low, before sum (Add), where the source joins them with other vectors"
    with pytest.raises(ModelError, match="what is below it can't be added; for its output alone: --layer low"):
        imported(tmp_path / "model.keras", tmp_path / "other", top="sum")


def test_a_sum_that_is_taken_has_its_own_name(tmp_path):
    """The note names the sum whose vectors these are, and not the layer below it."""
    ids, _, _, sums = two_layers_and_their_sum()
    keras.Model(ids, layers.Add(name="more")([sums, lstm(6, name="last")(sums)])).save(tmp_path / "model.keras")
    made = imported(tmp_path / "model.keras", tmp_path / "model", layers=("low", "top"), top="sums").made
    assert [one for one in made.notes if "the vectors are those of" in one] == [
        "the vectors are those of sums, before more (Add), where the source joins them with other vectors"
    ]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras's, about layers that it doesn't quantize
@pytest.mark.parametrize(("mode", "name"), [("int8", "words"), ("int4", "words"), ("float8", "dense")])
def test_quantized_models_are_refused_by_that_name(tmp_path, mode, name):
    """The reason is the quantization, and not the shapes that it leaves behind."""
    ids = text()
    model = keras.Model(ids, lstm()(layers.Dense(4, name="dense")(words()(ids))))
    model.quantize(mode)
    model.save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=rf"{name}.*quantized to {mode}.*; import the model from before"):
        imported(tmp_path / "model.keras", tmp_path / "model")


def test_states_that_go_on_are_noted(tmp_path):
    """A stateful layer begins a batch with the states of the batch before."""
    ids = keras.Input(batch_shape=(1, None), dtype="int32")
    keras.Model(ids, lstm(stateful=True, name="states")(words()(ids))).save(tmp_path / "model.keras")
    made = imported(tmp_path / "model.keras", tmp_path / "model").made
    assert any("states: it keeps its state from one batch to the next" in note for note in made.notes)


def test_a_refusal_names_no_hidden_directory(tmp_path):
    """The comparison's directory is removed, and its name says nothing to the user."""
    ids = text()
    states = layers.Bidirectional(lstm(6), backward_layer=lstm(4, go_backwards=True))(words()(ids))
    keras.Model(ids, states).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="6 units") as refusal:
        imported(tmp_path / "model.keras", tmp_path / "model", parity=1e-5)
    assert ".import-" not in str(refusal.value)


@pytest.mark.parametrize("layer", ["encoder", "decoder"])
@pytest.mark.parametrize(("length", "other"), [(None, 9), (9, None)])
def test_a_fixed_length_is_that_of_the_layers_own_input(tmp_path, layer, length, other):
    """An encoder and a decoder read different inputs, and one of these alone may have a length that is computed."""
    source, target = keras.Input((length,)), keras.Input((other,))
    _, *state = layers.LSTM(5, return_state=True, name="encoder")(words()(source))
    made = lstm(name="decoder")(layers.Embedding(10, 4, name="other")(target), initial_state=state)
    keras.Model([source, target], made).save(tmp_path / "model.keras")
    options = {"layers": (layer,), "initial_states": layer == "decoder"}
    fixed = length if layer == "encoder" else other
    if fixed is None:
        assert imported(tmp_path / "model.keras", tmp_path / "model", **options).model.config.max_length == 512
        return
    with pytest.raises(ModelError, match=f"reads rows of {fixed} tokens and doesn't mask padding"):
        imported(tmp_path / "model.keras", tmp_path / "model", **options)


def test_the_graph_is_run_with_drawn_initial_states(tmp_path):
    """The comparison gives them to the file's own graph, and the import says what a row brings."""
    found = next(one for one in CASES if one.name == "initial_states_of_two_directions")
    source, _ = write(found, tmp_path)
    done = imported(source, tmp_path / "model", **BROUGHT)
    assert done.parity.whole
    assert done.parity.comparisons[0].left == "the file's graph in Keras"
    ids, both = text(), keras.Input((5,))
    keras.Model([ids, both], lstm()(words()(ids), initial_state=[both, both])).save(tmp_path / "one.keras")
    assert imported(tmp_path / "one.keras", tmp_path / "one", **BROUGHT).parity.whole  # one tensor, drawn once
    (line,) = (one for one in done.made.taken if one.startswith("initial states"))
    assert line.startswith("initial states: each row brings 16 numbers, layer 0's h (4), from ")
    assert line.count("layer 0's backward c (4), from") == 1


def test_a_graph_that_takes_no_row_of_one_token(tmp_path):
    """CategoryEncoding takes a single id for a whole row; the other rows are compared."""
    found = next(one for one in CASES if one.name == "category_encoding_in_the_graph")
    source, _ = write(found, tmp_path)
    parity = imported(source, tmp_path / "model", parity=1e-5).parity
    assert (parity.whole, parity.comparisons[0].left) == (True, "the file's graph in Keras")


def test_why_a_graph_is_not_run(tmp_path, monkeypatch):
    """It is rebuilt by then, and Keras's first line names only the layer that was called."""
    ids = text()
    keras.Model(ids, lstm()(words()(ids))).save(tmp_path / "model.keras")

    def fails(*_):
        raise ValueError("Exception encountered when calling Functional.call().\n\n\x1b[1mits reason\x1b[0m\nmore")

    monkeypatch.setattr("worker.model_import.parity.frameworks.keras_graph._run", fails)
    parity = imported(tmp_path / "model.keras", tmp_path / "model", parity=1e-5).parity
    assert [why for why in parity.missing if "the file's graph in Keras: Keras can't run it (its reason)" in why]


def test_one_hot_vectors_beside_an_embedding(tmp_path):
    """What is advised without the option is taken with it."""
    ids, vectors = text(), keras.Input((None, 10))
    both = [lstm(name="a")(vectors), lstm(name="b")(words()(ids))]
    keras.Model([vectors, ids], both).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=r"a reads.*: --one-hot.*If the states of the other layers.*: --layer b"):
        imported(tmp_path / "model.keras", tmp_path / "model")
    made = imported(tmp_path / "model.keras", tmp_path / "model", one_hot=True).made
    assert [one.split(":")[0] for one in made.taken if "lstm" in one] == ["a"]
    low = lstm(name="low")(vectors)
    main = lstm(name="main")(layers.Conv1D(4, 3, padding="causal", name="conv")(vectors))
    keras.Model(vectors, [low, main]).save(tmp_path / "conv.keras")
    with pytest.raises(ModelError, match=r"main reads conv \(Conv1D\).*If the states of the other layers.*--layer low"):
        imported(tmp_path / "conv.keras", tmp_path / "conv", one_hot=True)


def test_rows_of_vectors_beside_convolved_embeddings(tmp_path):
    """What reads embeddings alone can't be meant by --vectors, whatever is between."""
    ids, vectors = text(), keras.Input((None, 10))
    convolved = layers.Conv1D(4, 3, padding="causal")(words()(ids))
    keras.Model([vectors, ids], [lstm(name="a")(vectors), lstm(name="b")(convolved)]).save(tmp_path / "model.keras")
    made = imported(tmp_path / "model.keras", tmp_path / "model", vectors=True).made
    assert [one.split(":")[0] for one in made.taken if "lstm" in one] == ["a"]


def test_some_are_right():
    """A reader that refuses everything would pass most of these tests."""
    assert sum(one.outcome == RIGHT or one.then is not None for one in CASES) >= 12
