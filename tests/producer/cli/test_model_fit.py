"""`unrolled model fit`, as a person types it: a model that learnt, whatever came in between."""

import json
import os
import shutil
import signal

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file
from support.languages import CHOICES, write_corpus
from support.processes import eventually, let_echoes_end
from support.shell import ENGINE, Crew, children, gone, unrolled
from support.skips import one_in
from tokenizers import Tokenizer

import unrolled as reader
from producer.cli.root import cli
from producer.demo.neighbours import nearest
from producer.training.rows import held_out
from unrolled.model.directory import open_model
from unrolled.store.lock import lock_file
from unrolled.training.plan import HEAD_FILE, RECORD_FILE, SCRATCH

OPTIONS = [
    *("--lstm-units", 16, "--lstm-layers", 2, "--embedding-dim", 16, "--max-length", 8, "--batch-tokens", 256),
    *("--learning-rate", 0.02, "--epochs", 6, "--keep-probability", 0.9, "--validation-share", 0.1),
]
#: Three trainings load TensorFlow, which may take a minute each where the machine is busy.
START_SECONDS = 120
FILES = ["config.json", HEAD_FILE, "model.safetensors", "tokenizer.json", RECORD_FILE]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with a corpus, and a model that was trained on it without an interruption."""
    path = tmp_path_factory.mktemp("fit")
    write_corpus(path / "corpus.jsonl", 3000)
    (path / "scratch").mkdir()
    command = ("model", "fit", "corpus.jsonl", "--out", "model", *OPTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(path / "scratch"))
        done = unrolled(*command, cwd=path, timeout=START_SECONDS)
    assert done.returncode == 0, done.stderr
    (path / "said").write_text(done.stdout + done.stderr)
    return path


@pytest.fixture(scope="module")
def vectors(place):
    """The corpus's states by that model, from the files of `unrolled run`."""
    done = unrolled(
        "run", "corpus.jsonl", "--model", "model", "--out", "vectors", "--with-tokens", "--engine", ENGINE, cwd=place
    )
    assert done.returncode == 0, done.stderr
    assert "verified; 3,000 rows in, 3,000 out" in done.stdout
    return reader.open(place / "vectors")


def record_of(model):
    return json.loads((model / RECORD_FILE).read_bytes())


def contents(model):
    return {path.name: path.read_bytes() for path in model.iterdir()}


def test_a_language_is_learnt(place):
    """On held-out rows the perplexity falls from that of frequencies nearly to that of the language itself."""
    record = record_of(place / "model")
    assert record["unigram_perplexity"] > 10 * CHOICES
    assert record["validation_perplexity"] < 1.25 * CHOICES
    perplexities = [epoch["validation_perplexity"] for epoch in record["epochs"]]
    assert len(perplexities) == 6
    assert perplexities[0] > 1.5 * perplexities[-1]
    assert record["validation_perplexity"] == min(perplexities) == perplexities[record["best_epoch"] - 1]
    assert sorted(path.name for path in (place / "model").iterdir()) == sorted(FILES)
    assert record["fingerprint"] == open_model(place / "model").fingerprint


def test_each_epoch_is_said(place):
    """Without a terminal each epoch is a line, TensorFlow prints nothing, and the last line has the result."""
    lines = (place / "said").read_text().splitlines()
    # On a slow machine there are others between them, on how far an epoch is.
    assert [line.split(":")[0] for line in lines if " in training, " in line] == [
        f"epoch  {n} of 6" for n in range(1, 7)
    ]
    assert lines[0].startswith("model: held-out perplexity ")
    assert not [line for line in lines if "oneDNN" in line or "cuda" in line.lower()]


def test_the_record_names_no_time_and_no_place(place):
    """The record would be equal after another run on another day."""
    record = record_of(place / "model")
    assert record["request"]["inputs"]["first"] == ["corpus.jsonl"]
    assert str(place) not in json.dumps(record)
    assert record["corpus"]["rows"] == 3000
    assert record["versions"].keys() == {"unrolled", "tensorflow", "keras", "numpy"}


def test_the_states_in_the_files_are_the_trained_models(place, vectors):
    """The states in the Parquet files and the softmax's weights give the held-out perplexity again."""
    record, head = record_of(place / "model"), load_file(place / "model" / HEAD_FILE)
    total, targets = 0.0, 0
    for row in vectors:
        if len(row.tokens) > 1 and held_out(row.tokens, int(record["options"]["validation_share"] * 2**64)):
            logits = row.outputs[:-1] @ head["kernel"] + head["bias"]
            total -= (logits - np.log(np.exp(logits).sum(1, keepdims=True)))[
                np.arange(len(logits)), row.tokens[1:] - 1
            ].sum()
            targets += len(logits)
    assert targets == record["validation"]["targets"]
    assert np.exp(total / targets) == pytest.approx(record["validation_perplexity"], rel=1e-4)


def test_neighbours_are_the_nearest_of_all(place, vectors):
    """The neighbours are those of a search over all states: one place for each word, the most similar first."""
    tokenizer = Tokenizer.from_file(str(place / "model" / "tokenizer.json"))
    ((typical, others),) = nearest(vectors, tokenizer, ["w4", "nowhere"], 5)
    rows = list(vectors)
    words = np.array([word for row in rows for word in tokenizer.decode(row.tokens).split()])
    states = np.concatenate([row.outputs for row in rows])
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    depth = np.concatenate([np.arange(row.length) for row in rows])
    mine = np.flatnonzero((words == "w4") & (depth >= 3))
    mean = states[words == "w4"].sum(axis=0)
    at = mine[(states[mine] @ mean).argmax()]
    cosines = states @ states[at]
    best = {word: cosines[words == word].max() for word in set(words) - {"w4"}}
    expected = sorted(best.items(), key=lambda item: -item[1])[:5]
    assert (typical.word, [other.word for other in others]) == ("w4", [word for word, _ in expected])
    assert [other.cosine for other in others] == pytest.approx([cosine for _, cosine in expected], abs=1e-5)
    assert f"{typical.before} w4 {typical.after}".strip() in (place / "corpus.jsonl").read_text()


def test_the_same_command_again_trains_nothing(place):
    """Another training into the directory of a model is refused."""
    before = contents(place / "model")
    done = unrolled("model", "fit", "./corpus.jsonl", "--out", "model", *OPTIONS, "--json", cwd=place)
    assert done.returncode == 0
    assert done.stderr == "model is trained already; the corpus isn't read again. To train the model again, remove it\n"
    assert json.loads(done.stdout) == {"path": "model", **record_of(place / "model")}
    other = unrolled("model", "fit", "corpus.jsonl", "--out", "model", *OPTIONS, "--seed", 1, cwd=place)
    assert other.returncode == 1
    assert "contains a model that was trained with --seed 0 (this command has 1); a model can't be tr" in other.stderr
    assert contents(place / "model") == before


def test_nothing_is_left_in_the_temporary_directory(place):
    """As files that TensorFlow makes of the program's own code."""
    assert [*(place / "scratch").rglob("*")] == []


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_of_the_model_is_missing(place, name):
    """The model isn't another one's; what is said to be removed lets it be trained again."""
    shutil.rmtree(place / "part", ignore_errors=True)
    shutil.copytree(place / "model", place / "part")
    (place / "part" / name).unlink()
    command = ("model", "fit", "corpus.jsonl", "--out", "part", *OPTIONS)
    done = unrolled(*command, cwd=place)
    lost = "config.json, model.safetensors or tokenizer.json was changed or removed since"
    said = lost if name == "tokenizer.json" else f"{name} is missing"
    rest = ", ".join(one for one in ("config.json", "model.safetensors", "tokenizer.json", HEAD_FILE) if one != name)
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: part: contains the model of this training, but {said}; restore it from a copy, or remove {rest}, "
        f"{RECORD_FILE} there and train again\n"
    )


def trainer(pid):
    found = children(pid, "worker.training")
    return found[0] if found else None


@pytest.mark.timeout(600)
def test_kill_at_any_moment_costs_nothing(place):
    """After SIGKILL of the command or of its process, and after Ctrl-C, the bytes are those of an uninterrupted run."""
    scratch = place / "-killed" / SCRATCH
    command = ["model", "fit", "corpus.jsonl", "--out", "./-killed", *OPTIONS]
    with Crew() as crew:
        first = crew.start(*command, cwd=place)
        eventually((scratch / "best-1.safetensors").exists, "the end of an epoch", START_SECONDS)
        learning = trainer(first.pid)
        first.kill()
        eventually(lambda: gone([learning]), "the end of a training whose command was killed")
        starting = crew.start(*command, cwd=place)
        eventually(lambda: trainer(starting.pid), "a training that starts")
        learning = trainer(starting.pid)
        starting.kill()
        eventually(lambda: gone([learning]), "the end of a training that was starting", 3)
        second = crew.start(*command, cwd=place)
        eventually(lambda: trainer(second.pid), "a training")
        learning = trainer(second.pid)
        assert str(scratch / "lock") in [each.path for each in learning.open_files()]  # a third one waits for it
        learning.kill()
        assert second.wait(START_SECONDS) == 1
        assert "ended with status -9, see ./-killed/_fit/log;" in second.stderr.read()
        third = crew.start(*command, cwd=place)
        first_best = scratch / "best-1.safetensors"
        eventually(lambda: list(scratch.glob("best-*")) and not first_best.exists(), "more epochs", START_SECONDS)
        os.kill(third.pid, signal.SIGINT)
        assert third.wait(START_SECONDS) == 130
        assert "Run the same command again and it resumes." in third.stderr.read()
    done = unrolled(*command, cwd=place, timeout=START_SECONDS)
    assert done.returncode == 0, done.stderr
    assert "resuming in epoch" in done.stderr or "all epochs are done" in done.stderr
    assert "done before" in done.stderr
    assert contents(place / "-killed") == contents(place / "model")
    assert not [each for each in psutil.Process().children() if "worker.training" in each.cmdline()]


@pytest.mark.parametrize("number", one_in(2, [signal.SIGINT, signal.SIGTERM]))
def test_a_signal_after_the_last_epoch_does_not_deny_the_model(place, number):
    """It is complete then, and the command says so; one that comes earlier leaves no whole model."""
    name = f"late-{number.name}"
    with Crew() as crew:
        process = crew.start(
            "model", "fit", "corpus.jsonl", "--out", name, "--lstm-units", 8, "--embedding-dim", 8, "--epochs", 1,
            "--max-length", 8, cwd=place,
        )  # fmt: skip
        for line in process.stderr:
            if line.startswith("epoch"):
                break
        os.kill(process.pid, number)
        status, said = process.wait(START_SECONDS), process.stdout.read()
    is_complete = (place / name / RECORD_FILE).exists()
    assert (status == 0, "fingerprint" in said, not (place / name / SCRATCH).exists()) == (is_complete,) * 3


def test_a_second_signal_is_no_failure_of_the_training(place):
    """A training that doesn't end at the first one is killed at the second, and resumes all the same."""
    with Crew() as crew:
        process = crew.start(
            "model", "fit", "corpus.jsonl", "--out", "twice", "--lstm-units", 8, "--embedding-dim", 8, cwd=place
        )
        eventually(lambda: trainer(process.pid), "a training", START_SECONDS)
        trainer(process.pid).send_signal(signal.SIGSTOP)
        os.kill(process.pid, signal.SIGINT)
        for line in process.stderr:
            if line.startswith("Stopping: "):
                break
        let_echoes_end()  # a minute is waited for the training, if this isn't a second one
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(START_SECONDS) == 130
        assert "Run the same command again and it resumes." in process.stderr.read()


def test_a_corpus_in_place_of_a_tokenizer(place):
    """There is no model yet whose tokenizer could be restored."""
    done = unrolled("model", "fit", "corpus.jsonl", "--out", "none", "--tokenizer", "corpus.jsonl", cwd=place)
    assert done.returncode == 1
    assert "corpus.jsonl is not a tokenizer file of Hugging Face tokenizers (" in done.stderr
    assert "; give --tokenizer a tokenizer.json; without the option, one is made from the words of the" in done.stderr


def test_a_damaged_tokenizer_is_not_trained_for(place):
    """The model would get it, and no text could be read by it."""
    with Crew() as crew:
        process = crew.start(
            "model", "fit", "corpus.jsonl", "--out", "hurt", "--lstm-units", 8, "--embedding-dim", 8, cwd=place
        )
        eventually((place / "hurt" / SCRATCH / "plan.json").exists, "the rows made", START_SECONDS)
        process.kill()
    (place / "hurt" / SCRATCH / "tokenizer.json").write_text("{")
    again = unrolled(
        "model", "fit", "corpus.jsonl", "--out", "hurt", "--lstm-units", 8, "--embedding-dim", 8, cwd=place
    )
    assert again.returncode == 1
    assert "tokenizer.json: is missing, damaged, or of another training; remove hurt/_fit and fit again" in again.stderr


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        ([], 0, "raced is trained already; the corpus isn't read again"),
        (["--seed", "1"], 1, "raced: contains a model that was trained with --seed 0 (this command has 1)"),
    ],
)
def test_a_training_that_another_command_ends_meanwhile_is_done(place, options, status, text):
    """Of two commands at once, the second waits for the first, and then has nothing to do, or nothing to change."""
    shutil.rmtree(place / "raced", ignore_errors=True)
    model, lock = place / "raced", place / "raced" / SCRATCH / "lock"
    lock.parent.mkdir(parents=True)
    with Crew() as crew:
        with lock_file(lock):
            second = crew.start("model", "fit", "corpus.jsonl", "--out", "raced", *OPTIONS, *options, cwd=place)
            process = psutil.Process(second.pid)
            eventually(lambda: str(lock) in [each.path for each in process.open_files()], "the wait", START_SECONDS)
            for name in FILES:
                shutil.copy(place / "model" / name, model)
            shutil.rmtree(lock.parent)
        assert second.wait(START_SECONDS) == status
        assert text in second.stderr.read()
    assert contents(model) == contents(place / "model")


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["none.txt", "--out", "m"], 1, "input 'none.txt': no such file or directory"),
        (["corpus.jsonl", "--out", "m", "--epochs", "0"], 2, "0 is not in the range"),
        (["corpus.jsonl", "--out", "m", "--validation-share", "1"], 2, "1.0 is not in the range 0<x<1"),
        (["corpus.jsonl", "--out", "corpus.jsonl"], 2, "--out corpus.jsonl: is a file; name a directory"),
        (["corpus.jsonl", "--out", "m", "--text-field", "body"], 1, "none of its first 1,000 rows can be used"),
        (["corpus.jsonl", "--out", "m", "--vocab-size", "9", "--text-field", "body"], 1, "row 0: has no 'body'"),
        (["corpus.jsonl"], 2, "--out"),
    ],
)
def test_what_can_not_be_trained(place, arguments, status, text):
    """An error is one line, before TensorFlow is loaded."""
    done = unrolled("model", "fit", *arguments, cwd=place)
    assert done.returncode == status
    assert text in done.stderr


def test_a_device_that_is_not_there_is_told_before_the_corpus_is_read(place):
    """A corpus may take hours to read; a refusal leaves nothing."""
    import tensorflow as tf  # noqa: PLC0415 - the other tests of this file do without

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("machine: there is a GPU")
    done = unrolled("model", "fit", "corpus.jsonl", "--out", "gpu", *OPTIONS, "--device", "gpu", cwd=place)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: --device is gpu, but TensorFlow sees no GPU")
    assert not (place / "gpu").exists()


def test_a_pattern_that_matches_the_models_directory(tmp_path):
    """The files are found before it is made."""
    (tmp_path / "a.txt").write_text("a b\n")
    found = CliRunner().invoke(
        cli, ["model", "fit", str(tmp_path / "*"), "--out", str(tmp_path / "model"), "--epochs", "1"]
    )
    assert (found.exit_code, "there is no row to hold out" in found.stderr) == (1, True), found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_model_below_its_corpus_is_no_part_of_it(place, tmp_path):
    """Its files are left out, so that the same command finds the same corpus."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    shutil.copy(place / "corpus.jsonl", corpus)
    command = ("model", "fit", "corpus", "--out", "corpus/model", *OPTIONS)
    first = unrolled(*command, cwd=tmp_path, timeout=START_SECONDS)
    assert first.returncode == 0, first.stderr
    again = unrolled(*command, cwd=tmp_path)
    assert (again.returncode, "corpus/model is trained already" in again.stderr) == (0, True), again.stderr


def test_a_model_is_not_made_in_its_corpus(tmp_path):
    """Its files would be read as texts the next time."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.txt").write_text("a b\n" * 20)
    found = CliRunner().invoke(cli, ["model", "fit", str(corpus), "--out", f"{corpus}/", "--epochs", "1"])
    assert found.exit_code == 2
    assert "is an input, too; use another directory for the model" in found.stderr
    assert [path.name for path in corpus.iterdir()] == ["a.txt"]
