"""ELMos and SeqVec: files of bilm's form, with every option that the form has, and what is refused."""

import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.elmo_files import OPTIONS, changed, layers_of, random_arrays, word_vector, write
from support.imported import imported
from support.kernels import ENGINES_HERE, needs_kernel
from support.reference import layer_states

from unrolled.errors import ModelError
from unrolled.tokenization.tokenizer import load_tokenizer
from worker.model_import import limits
from worker.model_import.errors import ImportRefusedError
from worker.model_import.parity.comparison import PLAIN, find_engine, run_engine
from worker.model_import.readers.elmo import file as elmo_file
from worker.model_import.readers.elmo.options import read_options

WORDS = ["the", "cat", "a-word-that-is-longer-than-nine-bytes", "naïve", "☃", "x", "<S>", "</S>", "<UNK>", "cat2"]
ROWS = [["the"], ["cat", "☃"], ["naïve", WORDS[2], "x", "the", "the", "<UNK>", "<S>", "cat2"]]


def ids_of(done, text):
    """The ids of a text, by the model's own tokenizer."""
    model = done.model
    return np.array(load_tokenizer(model.tokenizer_path, model.config.vocab_size).encode(text).ids)


def assert_right(done, options, arrays, rows=ROWS, vocabulary=None):
    """All layers of each row, from text."""
    weights = done.model.weights()
    for row in rows:
        found = layer_states(done.model.config, weights, ids_of(done, " ".join(row)))
        wanted = layers_of(row, options, arrays, vocabulary)
        assert len(found) == len(wanted)
        for one, other in zip(wanted, found, strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"char_cnn": {"activation": "tanh", "n_highway": 1}},
        {"char_cnn": {"n_highway": None, "filters": [[3, 2], [9, 7]]}},
        {"char_cnn": {"filters": [[2, 4]], "n_highway": 0, "n_characters": 261}},  # no projection of the convolutions
        {"lstm": {"use_skip_connections": False, "cell_clip": None}},
        {"lstm": {"n_layers": 3, "proj_clip": None}},
        {"lstm": {"n_layers": 1}},
        {"lstm": {"dim": 4}},  # states are not projected
    ],
    ids=str,
)
def test_every_option_is_computed(change, tmp_path):
    """Words from their characters, both directions, skips and clips, with <S> and </S> read and dropped."""
    options = changed(**change)
    arrays = random_arrays(options)
    source, words = write(tmp_path / "elmo", options, arrays, WORDS)
    done = imported(source, tmp_path / "model", vocabulary=words)
    assert_right(done, options, arrays)


def test_the_import_compares_with_the_programs_own_equations(tmp_path):
    """Both engines, and the words of the file; what was taken is printed."""
    arrays = random_arrays(OPTIONS)
    source, words = write(tmp_path / "elmo", OPTIONS, arrays, WORDS)
    done = imported(source, tmp_path / "model", vocabulary=words, parity=1e-5)
    compared = {(one.left, one.right) for one in done.parity.comparisons}
    assert compared == {("ELMo's own equations", other) for other in (PLAIN, *ENGINES_HERE)}
    assert (done.format, done.made.left) == ("ELMo", [])
    assert len(done.parity.missing) == 2 - len(ENGINES_HERE)
    layer = (
        "bidirectional lstm 6 projected to 4 (initial state of its own, cell clipped to 0.6, projection clipped to 0.5)"
    )
    how = "computed from their characters by 3 convolutions and 2 highway layers, once for each word, as the embedding"
    assert done.made.taken == [
        f"words.txt: 10 words, 4 wide, {how}",
        f"Cell0: {layer}",
        f"Cell1: {layer} + its input",
        "tokenizer: the words of words.txt; words are separated by blanks, and all others are <UNK>",
    ]
    assert (done.made.ids_from, done.made.ids_reason) == (1, "by the model's words, id 0 is never read")
    assert any("twice" in note for note in done.made.notes)


def test_the_comparison_sees_what_is_wrong(tmp_path, monkeypatch):
    """A network of characters that isn't the file's."""
    part = "CNN_high_1/b_carry"
    arrays = random_arrays(OPTIONS)
    source, words = write(tmp_path / "elmo", OPTIONS, arrays, WORDS)
    right = elmo_file.Program.__init__

    def wrong(self, options, stored, *rest):
        moved = type(stored[part])(part, stored[part].shape, lambda: arrays[part] + np.float32(0.05))
        right(self, options, {**stored, part: moved}, *rest)

    monkeypatch.setattr(elmo_file.Program, "__init__", wrong)
    with pytest.raises(ModelError, match=r"ELMo's own equations and .* differ by"):
        imported(source, tmp_path / "model", vocabulary=words, parity=1e-5)
    assert not (tmp_path / "model").exists()


def test_the_words_of_the_tensor_are_elmos_first_layer(tmp_path):
    """The notes and the guide say so."""
    arrays = random_arrays(OPTIONS)
    source, words = write(tmp_path / "elmo", OPTIONS, arrays, WORDS)
    done = imported(source, tmp_path / "model", vocabulary=words)
    table = done.model.weights()["embedding"]
    assert not table[0].any()
    for number, word in enumerate(WORDS, 1):
        np.testing.assert_allclose(table[number], word_vector(word, OPTIONS, arrays), rtol=0, atol=1e-6)


def test_many_words_of_all_lengths(tmp_path):
    """They are computed in batches of about one length."""
    arrays = random_arrays(OPTIONS)
    many = [f"w{'o' * (number % 23)}{number}" for number in range(700)]
    source, words = write(tmp_path / "elmo", OPTIONS, arrays, many)
    table = imported(source, tmp_path / "model", vocabulary=words).model.weights()["embedding"]
    for number in (0, 1, 22, 256, 511, 699):
        np.testing.assert_allclose(table[number + 1], word_vector(many[number], OPTIONS, arrays), rtol=0, atol=1e-6)


def test_amino_acids_are_split_into_letters(tmp_path):
    """As SeqVec reads a protein: every letter is a word; a letter without a vector is refused, and not guessed."""
    arrays = random_arrays(OPTIONS)
    source, words = write(tmp_path / "uniref50_v2", OPTIONS, arrays, list("LAGVESIKRDTPNQFYMHCWX"))
    done = imported(source.parent, tmp_path / "model", vocabulary=words)
    found = layer_states(done.model.config, done.model.weights(), ids_of(done, "SEQVENCE"))
    for one, other in zip(layers_of("SEQVENCE", OPTIONS, arrays), found, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)
    assert ids_of(done, "S E\nQ ").tolist() == ids_of(done, "SEQ").tolist()
    with pytest.raises(Exception, match="Missing"):
        ids_of(done, "SEQJ")
    assert any("a row with another character is refused" in text for text in done.made.taken)


@pytest.mark.parametrize("engine", [pytest.param("fused", marks=needs_kernel), "tensorflow"])
def test_a_row_has_the_same_bytes_in_any_company(engine, tmp_path):
    """Alone and among others, in any order."""
    source, words = write(tmp_path / "elmo", OPTIONS, random_arrays(OPTIONS), WORDS)
    done = imported(source, tmp_path / "model", vocabulary=words)
    program = find_engine(engine, done.model)
    random = np.random.default_rng(1)
    rows = [random.integers(1, len(WORDS) + 1, length, dtype=np.int32) for length in (1, 7, 2, 19, 7)]
    together = run_engine(program, done.model.config, rows)
    turned = run_engine(program, done.model.config, rows[::-1])[::-1]
    for row, one, other in zip(rows, together, turned, strict=True):
        (alone,) = run_engine(program, done.model.config, [row])
        np.testing.assert_array_equal(one, alone)
        np.testing.assert_array_equal(other, alone)


def test_only_the_first_layer(tmp_path):
    """With --layer, as of other files."""
    arrays = random_arrays(OPTIONS)
    source, words = write(tmp_path / "elmo", OPTIONS, arrays, WORDS)
    done = imported(source, tmp_path / "model", vocabulary=words, layers=("Cell0",), parity=1e-5)
    weights = done.model.weights()
    for row in ROWS:
        (found,) = layer_states(done.model.config, weights, ids_of(done, " ".join(row)))
        np.testing.assert_allclose(found, layers_of(row, OPTIONS, arrays)[0], rtol=0, atol=1e-5)
    with pytest.raises(ModelError, match="--layer Cell0 --layer Cell1"):
        imported(source, tmp_path / "other", vocabulary=words, layers=("Cell1",))


def test_models_of_words_have_their_vectors_in_the_file(tmp_path):
    """A program can train without characters; the words are then those of the training."""
    options = changed(char_cnn=None)
    arrays = random_arrays(options, words=len(WORDS))
    source, words = write(tmp_path / "elmo", options, arrays, WORDS)
    done = imported(source, tmp_path / "model", vocabulary=words, parity=1e-5)
    assert_right(done, options, arrays, vocabulary=WORDS)
    (tmp_path / "elmo/options.json").write_text(json.dumps(options | {"char_cnn": None}))
    assert imported(source, tmp_path / "null", vocabulary=words).model.fingerprint == done.model.fingerprint
    words.write_text("\n".join(word for word in [*WORDS[:-1], "x"] if word != "<S>") + "\nmore\n")
    with pytest.raises(ModelError, match="the vocabulary has no <S>"):
        imported(source, tmp_path / "other", vocabulary=words)
    words.write_text("too\nfew\n")
    with pytest.raises(
        ModelError, match=r"embedding is \(10, 4\), not \(2, 4\).*words that the model was trained with"
    ):
        imported(source, tmp_path / "other", vocabulary=words)


def test_options_are_found_beside_the_weights(tmp_path):
    """By the name that AllenNLP gives them, or as they are given."""
    arrays = random_arrays(OPTIONS)
    source, words = write(tmp_path / "elmo", OPTIONS, arrays, WORDS, "elmo_2x6_weights.hdf5", "elmo_2x6_options.json")
    imported(source, tmp_path / "beside", vocabulary=words)
    (tmp_path / "elmo/elmo_2x6_options.json").rename(tmp_path / "given.json")
    with pytest.raises(ModelError, match=r"whose sizes are in another file, options.json.*--options FILE"):
        imported(source, tmp_path / "missing", vocabulary=words)
    imported(source, tmp_path / "given", vocabulary=words, elmo_options=tmp_path / "given.json")


def test_a_head_is_left(tmp_path):
    """The softmax of the training."""
    arrays = random_arrays(OPTIONS) | {"softmax/W": np.ones((5, 4), np.float32), "softmax/b": np.ones(5, np.float32)}
    source, words = write(tmp_path / "elmo", OPTIONS, arrays, WORDS)
    assert imported(source, tmp_path / "model", vocabulary=words).made.left == ["softmax/W (head)", "softmax/b (head)"]


def test_lines_of_words(tmp_path):
    """As bilm reads them: stripped, with a line that counts as none; of equal lines the last has the word's id."""
    arrays = random_arrays(OPTIONS)
    source, words = write(tmp_path / "elmo", OPTIONS, arrays, [" the\t", "!!!MAXTERMID", "cat", "the"])
    done = imported(source, tmp_path / "model", vocabulary=words)
    assert done.model.config.vocab_size == 3
    assert ids_of(done, "the cat").tolist() == [3, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "words.txt is empty"),
        (b"a\n\nb\n", "line 2 is empty"),
        (b"a\nthe 1061396\n", "line 2 has white space inside: 'the 1061396'"),
        (b"a\xff\n", "isn't UTF-8"),
    ],
)
def test_files_that_are_no_list_of_words(content, message, tmp_path):
    """The line is named."""
    source, words = write(tmp_path / "elmo", OPTIONS, random_arrays(OPTIONS), WORDS)
    words.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        imported(source, tmp_path / "model", vocabulary=words)
    assert not (tmp_path / "model").exists()


def test_the_words_are_asked_for(tmp_path):
    """ELMo reads any word; a model needs a list. Other files need none."""
    source, words = write(tmp_path / "elmo", OPTIONS, random_arrays(OPTIONS), WORDS)
    with pytest.raises(ModelError, match=r"--vocabulary words.txt"):
        imported(source, tmp_path / "model")
    other = Path(__file__).parents[2] / "torch_models/lstm2.safetensors"
    with pytest.raises(ModelError, match="no weights of an ELMo, so --vocabulary says nothing"):
        imported(other, tmp_path / "model", vocabulary=words)
    with pytest.raises(ModelError, match="no weights of an ELMo, so --options says nothing"):
        imported(other, tmp_path / "model", elmo_options=words)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bidirectional": False}, "bidirectional is False"),
        ({"lstm": {"dim": 0}}, "dim is 0; a whole number in 1..65,536"),
        ({"lstm": {"dim": 10**30}}, "dim is 1000"),
        ({"lstm": {"dim": True}}, "dim is True"),
        ({"lstm": {"n_layers": 10**6}}, "n_layers is 1000000"),
        ({"lstm": {"projection_dim": "4"}}, "projection_dim is '4'"),
        ({"lstm": {"projection_dim": 5}}, r"is \(11, 4\), not \(11, 5\)"),
        ({"lstm": {"n_layers": 3}}, "Cell2/LSTMCell/W_0 is missing, not"),
        ({"lstm": {"n_layers": 1}}, "Cell1/LSTMCell/W_0 isn't used"),
        ({"lstm": {"use_skip_connections": None}}, "use_skip_connections is None; true or false"),
        ({"lstm": {"cell_clip": 0}}, "cell_clip is 0; null, or a number above 0"),
        ({"lstm": {"proj_clip": -3}}, "proj_clip is -3"),
        ({"lstm": {"proj_clip": float("nan")}}, "proj_clip is nan"),
        ({"char_cnn": {"activation": "gelu"}}, "activation is 'gelu'"),
        ({"char_cnn": {"filters": []}}, "filters are"),
        ({"char_cnn": {"filters": [[1, 3]] * 1000}}, "filters are"),
        ({"char_cnn": {"filters": [[1, 3, 4]]}}, "a pair of numbers"),
        ({"char_cnn": {"filters": [[10, 3]]}}, "a filter is 10 characters wide, but words have 9"),
        ({"char_cnn": {"filters": [[1, 60000], [1, 60000]]}}, "120,000 outputs"),
        ({"char_cnn": {"max_characters_per_token": 10**9}}, "max_characters_per_token is 1000000000"),
        ({"char_cnn": {"max_characters_per_token": 2, "filters": [[1, 3]]}}, "a word needs 3"),
        ({"char_cnn": {"n_characters": 60}}, "n_characters is 60; only models of bytes"),
        ({"char_cnn": {"n_highway": 1}}, "CNN_high_1/W_carry isn't used"),
        ({"char_cnn": {"n_highway": -1}}, "n_highway is -1"),
        ({"char_cnn": {"embedding": 3}}, "embedding is 3; an object is expected"),
        ({"char_cnn": {"embedding": {"dim": 2}}}, r"char_embed is \(261, 3\), not \(261, 2\)"),
        ({"char_cnn": None}, "embedding is missing"),
    ],
    ids=str,
)
def test_options_that_cant_be(change, message, tmp_path):
    """Of the wrong type, of hostile size, or of other weights; before anything is computed."""
    source, words = write(tmp_path / "elmo", changed(**change), random_arrays(OPTIONS), WORDS)
    with pytest.raises(ModelError, match=message) as caught:
        imported(source, tmp_path / "model", vocabulary=words)
    assert "options" in str(caught.value)
    assert not (tmp_path / "model").exists()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.integers() | st.floats() | st.sampled_from(["relu", "", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dim", "x"]), inner, max_size=2),
    max_leaves=6,
)
PLACES = [("bidirectional",), ("lstm",), ("char_cnn",)]
PLACES += [(part, name) for part in ("lstm", "char_cnn") for name in OPTIONS[part]]


@given(st.sampled_from(PLACES), VALUES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_of_an_option(tmp_path, place, value):
    """It is read, or refused with its file's name."""
    options = changed()
    inner = options if len(place) == 1 else options[place[0]]
    inner[place[-1]] = value
    (tmp_path / "options.json").write_text(json.dumps(options))
    numbers, message = 0, ""
    try:
        numbers = sum(map(math.prod, read_options(tmp_path / "options.json").shapes().values()))
    except ImportRefusedError as error:
        message = str(error)
    assert numbers > 0 or "options.json" in message


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, "{}", '{"lstm": 3}'])
def test_options_of_noise(text, tmp_path):
    """The file is named."""
    source, words = write(tmp_path / "elmo", OPTIONS, random_arrays(OPTIONS), WORDS)
    (tmp_path / "elmo/options.json").write_text(text)
    with pytest.raises(ModelError, match=r"options.json"):
        imported(source, tmp_path / "model", vocabulary=words)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"char_embed": None}, "char_embed is missing"),
        ({"char_embed": np.ones((60, 3), np.float32)}, r"char_embed is \(60, 3\), not \(261, 3\)"),
        ({"CNN/W_cnn_1": np.ones((1, 2, 3, 4), np.int32)}, "CNN/W_cnn_1 is missing"),
        ({"CNN_proj/W_proj": np.ones((11, 4, 1), np.float32)}, r"CNN_proj/W_proj is \(11, 4, 1\)"),
        ({"CNN_norm/gamma": np.ones(11, np.float32)}, "CNN_norm/gamma isn't used"),
        ({"RNN_1/RNN/MultiRNNCell/Cell0/LSTMCell/W_P_0": None}, "W_P_0 is missing"),
    ],
    ids=str,
)
def test_weights_that_cant_be(change, message, tmp_path):
    """Missing, of another shape or type, or of a network that the program doesn't have."""
    arrays = {name: array for name, array in (random_arrays(OPTIONS) | change).items() if array is not None}
    source, words = write(tmp_path / "elmo", OPTIONS, arrays, WORDS)
    with pytest.raises(ModelError, match=message):
        imported(source, tmp_path / "model", vocabulary=words)


def test_arrays_that_are_not_stored(tmp_path):
    """HDF5 can claim what it doesn't contain, as options can."""
    options = changed(lstm={"dim": 2**16})
    source, words = write(tmp_path / "elmo", options, random_arrays(OPTIONS), WORDS)
    with h5py.File(source, "a") as file:
        name = "RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell/W_0"
        del file[name]
        file.create_dataset(name, (8, 2**18), "f4", chunks=(8, 2**18))
    with pytest.raises(ModelError, match="but the file stores only 0; it is damaged"):
        imported(source, tmp_path / "model", vocabulary=words)


def test_a_vocabulary_that_is_too_large_is_refused_before_it_is_computed(tmp_path, monkeypatch):
    """Its vectors must fit into a model."""
    monkeypatch.setattr(limits, "MOST_BYTES", 20_000)
    source, words = write(tmp_path / "elmo", OPTIONS, random_arrays(OPTIONS), map(str, range(1500)))
    with pytest.raises(ModelError, match=r"words.txt: \(1501, 4\) takes 24,016 bytes; at most 20,000 are allowed"):
        imported(source, tmp_path / "model", vocabulary=words)


def test_numbers_that_are_none(tmp_path):
    """Weights with NaN: nothing is written."""
    arrays = random_arrays(OPTIONS)
    arrays["char_embed"][:] = np.nan
    source, words = write(tmp_path / "elmo", OPTIONS, arrays, WORDS)
    with pytest.raises(ModelError, match="NaN or infinity in it"):
        imported(source, tmp_path / "model", vocabulary=words, parity=1e-5)
    assert not (tmp_path / "model").exists()
