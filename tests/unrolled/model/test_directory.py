"""The model directory: what was saved is read, and everything else is refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.model_configs import STACKED, STACKED_JSON

from unrolled.errors import ModelError
from unrolled.job import names
from unrolled.job.inputs import Inputs
from unrolled.job.job import Job
from unrolled.model import directory
from unrolled.model import weights as weights_module
from unrolled.model.directory import open_model, save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.weights import new_weights
from unrolled.training.plan import SCRATCH


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model", STACKED, new_weights(STACKED, seed=1), '{"version": "1.0"}')


def test_round_trip(model):
    """An opened directory has the configuration, the exact weights, and the tokenizer that were saved."""
    opened = open_model(model.path)
    assert opened == model
    assert opened.config == STACKED
    weights = opened.weights()
    assert list(weights) == list(STACKED.shapes())
    for name, array in new_weights(STACKED, seed=1).items():
        np.testing.assert_array_equal(weights[name], array)
    assert opened.tokenizer_path.read_text() == '{"version": "1.0"}'


def test_a_training_that_is_not_finished(tmp_path):
    """It says so, rather than which file it lacks."""
    (tmp_path / SCRATCH).mkdir()
    with pytest.raises(
        ModelError, match="its training isn't finished; if it has stopped, the same `unrolled model fit`"
    ):
        open_model(tmp_path)
    (tmp_path / SCRATCH).rmdir()
    with pytest.raises(ModelError, match=r"has no file config.json"):
        open_model(tmp_path)


def test_a_jobs_directory_is_no_models(tmp_path):
    """It says so, with the job's model, whatever has become of the job's file."""
    content = Job("ab" * 32, Inputs.named(["a"]), "fused", "float32", live=False, options={}).encode("0" * 16)
    place = tmp_path / names.JOB
    place.parent.mkdir()
    begin = r"is a job's directory, not a model's; its model "
    for written, wanted in [(content, rf"\(fingerprint {'ab' * 32}\) is elsewhere"), (b"[", "is elsewhere")]:
        place.write_bytes(written)
        with pytest.raises(ModelError, match=begin + wanted + ": name the directory that --model named"):
            open_model(tmp_path)


def test_files_on_disk_are_the_documented_ones(model):
    """config.json and the tensors' names, shapes and types are a format that others read."""
    assert json.loads((model.path / "config.json").read_text()) == STACKED_JSON
    tensors = load_file(model.path / "model.safetensors")
    assert {name: (str(a.dtype), a.shape) for name, a in tensors.items()} == {
        "embedding": ("float32", (101, 3)),
        "lstm.0.kernel": ("float32", (3, 32)),
        "lstm.0.recurrent_kernel": ("float32", (8, 32)),
        "lstm.0.bias": ("float32", (32,)),
        "lstm.1.kernel": ("float32", (8, 32)),
        "lstm.1.recurrent_kernel": ("float32", (8, 32)),
        "lstm.1.bias": ("float32", (32,)),
    }
    assert sorted(p.name for p in model.path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]


def test_fingerprint_is_the_documented_digest(model):
    """The fingerprint is SHA-256 over name, NUL, length, NUL, bytes of each file, in this order."""
    import hashlib  # noqa: PLC0415 (only here)

    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        content = (model.path / name).read_bytes()
        digest.update(name.encode() + b"\0" + str(len(content)).encode() + b"\0" + content)
    assert model.fingerprint == digest.hexdigest()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_fingerprint_covers_every_file(model, name):
    """A change in any of the three files is another model."""
    place = model.path / name
    if name == "model.safetensors":
        tensors = load_file(place)
        tensors["lstm.1.bias"][0] += 1
        save_file(tensors, place)
    else:
        place.write_text(place.read_text() + " ")
    assert open_model(model.path).fingerprint != model.fingerprint


def test_tokenizer_is_optional(tmp_path, model):
    """Models whose rows are ids need no tokenizer; with and without one, the fingerprints differ."""
    bare = save_model(tmp_path / "bare", STACKED, new_weights(STACKED, seed=1))
    assert bare.tokenizer_path is None
    assert bare.fingerprint != model.fingerprint


def test_new_weights_follow_keras():
    """Ranges of the uniform parts, orthogonality of the recurrent part, and the forget gate's bias."""
    weights = new_weights(STACKED, seed=7)
    assert 0.04 < np.abs(weights["embedding"]).max() <= 0.05
    limit = np.sqrt(6 / (3 + 32))
    assert 0.8 * limit < np.abs(weights["lstm.0.kernel"]).max() <= limit
    recurrent = weights["lstm.1.recurrent_kernel"]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(8), atol=1e-6)
    np.testing.assert_array_equal(weights["lstm.0.bias"], [0] * 8 + [1] * 8 + [0] * 16)
    assert all(array.dtype == np.float32 for array in weights.values())


def test_seed_decides_the_weights():
    """A seed always gives the same model, and another seed gives another."""
    first, same, other = (new_weights(STACKED, seed)["embedding"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("\x80", "not JSON"),
        ("[]", "must contain an object"),
        ("{}", "config.json has no format_version, so it is damaged, or of another program"),
        ('{"format_version": 2}', "format_version 2, but this program reads 1"),
        ('{"format_version": true}', "format_version True"),
        ('{"format_version": 1}', "lacks"),
        (json.dumps({**json.loads(STACKED.to_json()), "units": 1}), "unknown fields .'units'"),
        (STACKED.to_json().replace("100", "1e2"), "vocab_size is 100.0"),
        (STACKED.to_json().replace("100", "NaN"), "vocab_size is nan"),
        (STACKED.to_json() + " " * (1 << 20), "more than 1,048,576 bytes"),
    ],
)
def test_hostile_config(model, text, message):
    """A bad config.json is refused; the error says what is wrong, and in which directory."""
    (model.path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=message) as caught:
        open_model(model.path)
    assert str(model.path) in str(caught.value)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_truncated_weights(model, keep):
    """A model.safetensors cut anywhere does not open."""
    place = model.path / "model.safetensors"
    place.write_bytes(place.read_bytes()[:keep])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        open_model(model.path)


def test_too_little_memory_is_no_damage(tmp_path):
    """The file is whole: the limit is named, and nothing about a copy."""
    config = replace(STACKED, vocab_size=600_000)
    save_model(tmp_path / "model", config, new_weights(config, 1))
    code = """if True:
        import resource, sys
        import safetensors.numpy
        from unrolled.model.directory import ModelDirectory, open_model
        model = open_model(sys.argv[1])
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), -1))
        for action in (lambda: open_model(sys.argv[1]), model.weights):
            try:
                action()
            except Exception as error:
                print(error)
    """
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model")], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(found) == 2
    for line in found:
        assert "model.safetensors: can't be read; there is not enough memory, because this process is limited" in line


def test_a_pointer_of_git_lfs_in_the_place_of_the_weights(model):
    """A clone without `git lfs pull` has the file, so it isn't damaged."""
    (model.path / "model.safetensors").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4' * 64}\n"
    )
    with pytest.raises(ModelError, match=r"model.safetensors: it is a pointer of Git LFS.*run git lfs pull$"):
        open_model(model.path)


def test_foreign_weights(model):
    """Bytes of another format are refused, and a header with absurd sizes."""
    place = model.path / "model.safetensors"
    for content in (b"\x89HDF\r\n\x1a\n" + bytes(1000), b"\xff" * 8 + b"{}", bytes(8)):
        place.write_bytes(content)
        with pytest.raises(ModelError, match="not a whole safetensors file"):
            open_model(model.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lstm.1.bias": None}, "lstm.1.bias is missing"),
        ({"lstm.1.bias": np.zeros(31, np.float32)}, r"F32 \(31,\), but the configuration needs F32 \(32,\)"),
        ({"lstm.1.bias": np.zeros(32, np.float64)}, r"F64 \(32,\)"),
        ({"lstm.2.bias": np.zeros(32, np.float32)}, "no layer uses: .'lstm.2.bias'"),
    ],
)
def test_tensors_must_fit_the_configuration(model, change, message):
    """Tensors that are missing, too many, or of another shape or type are named."""
    place = model.path / "model.safetensors"
    tensors = {**load_file(place), **change}
    save_file({name: array for name, array in tensors.items() if array is not None}, place)
    with pytest.raises(ModelError, match=message):
        open_model(model.path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_must_be_finite(model, tmp_path, monkeypatch, bad):
    """NaN and infinity would spread to all outputs, so they are refused on opening and on saving, wherever they are."""
    place = model.path / "model.safetensors"
    monkeypatch.setattr(weights_module, "_BLOCK_NUMBERS", 7)
    tensors = load_file(place)
    tensors["lstm.0.kernel"][-1, -1] = bad
    save_file(tensors, place)
    with pytest.raises(ModelError, match=r"lstm\.0\.kernel has NaN or infinity"):
        open_model(model.path)
    with pytest.raises(ModelError, match=r"lstm\.0\.kernel has NaN or infinity"):
        save_model(tmp_path / "other", STACKED, tensors)
    assert not (tmp_path / "other").exists()


def test_files_swapped_after_opening(model):
    """Weights are never read under another model's fingerprint."""
    tensors = new_weights(STACKED, seed=2)
    save_file(tensors, model.path / "model.safetensors")
    with pytest.raises(ModelError, match="changed after"):
        model.weights()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_files_that_changed_are_reported(model, name):
    """A process that reads a file later can ask whether the file is still that of the model that was opened."""
    model.check_unchanged()
    path = model.path / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelError, match="changed after the model was opened"):
        model.check_unchanged()
    path.unlink()
    with pytest.raises(ModelError, match=r"changed after|can't be read"):
        model.check_unchanged()


def test_a_configuration_that_changes_while_it_is_read(model, monkeypatch):
    """Another model's files arrive after config.json is read: neither is taken for the other's."""
    fingerprint_of = directory.fingerprint_of

    def fingerprint_of_another(path):
        config = path / "config.json"
        config.write_text(config.read_text().replace("sigmoid", "hard_sigmoid").replace("\n", "\n ", 1))
        return fingerprint_of(path)

    monkeypatch.setattr(directory, "fingerprint_of", fingerprint_of_another)
    with pytest.raises(ModelError, match="changed while the model was opened"):
        open_model(model.path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file(model, name):
    """A missing file is named."""
    (model.path / name).unlink()
    with pytest.raises(ModelError, match=name):
        open_model(model.path)


def test_not_a_directory(tmp_path, model):
    """Neither an absent path, a file, a pipe nor a NUL byte is a model."""
    with pytest.raises(ModelError, match="does not exist"):
        open_model(tmp_path / "none")
    with pytest.raises(ModelError, match="is a file; name the directory of a model"):
        open_model(model.path / "config.json")
    (tmp_path / "gru.keras").touch()
    with pytest.raises(ModelError, match=r"is a file; name .*: unrolled model import .*gru\.keras DIRECTORY$"):
        open_model(tmp_path / "gru.keras")
    with pytest.raises(ModelError):
        open_model("a\0b")
    (model.path / "config.json").unlink()
    os.mkfifo(model.path / "config.json")
    with pytest.raises(ModelError, match=r"no file config\.json"):
        open_model(model.path)


def test_links_are_fine(tmp_path, model):
    """A directory of symbolic links, as in model caches, has the fingerprint of the files."""
    linked = tmp_path / "linked"
    linked.mkdir()
    for place in model.path.iterdir():
        (linked / place.name).symlink_to(place)
    assert open_model(linked).fingerprint == model.fingerprint


def test_saving_again_changes_nothing(model):
    """A model can be saved again in its own directory."""
    again = save_model(model.path, STACKED, new_weights(STACKED, seed=1), '{"version": "1.0"}')
    assert again.fingerprint == model.fingerprint


def test_another_model_is_never_overwritten(model):
    """Other weights, another tokenizer or other sizes leave the directory as it was."""
    wider = replace(STACKED, layers=(LayerConfig(9), LayerConfig(8)))
    for config, seed, tokenizer in ((STACKED, 2, None), (STACKED, 1, "{}"), (wider, 1, None)):
        with pytest.raises(ModelError, match="contains another"):
            save_model(model.path, config, new_weights(config, seed), tokenizer)
    assert open_model(model.path) == model


def test_saving_needs_fitting_weights(tmp_path):
    """Weights of other sizes than the configuration's are refused, and nothing is written."""
    weights = new_weights(replace(STACKED, layers=(LayerConfig(9), LayerConfig(8))), seed=1)
    with pytest.raises(ModelError, match=r"lstm\.0\.kernel is float32"):
        save_model(tmp_path / "model", STACKED, weights)
    assert not (tmp_path / "model").exists()


def test_saving_where_nothing_can_be_written(tmp_path):
    """A path below a file is an error of one sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="can't be written"):
        save_model(tmp_path / "file" / "model", STACKED, new_weights(STACKED, seed=1))


def test_a_tokenizer_may_be_there_first(tmp_path):
    """A directory with only a tokenizer becomes a model with that tokenizer."""
    (tmp_path / "tokenizer.json").write_text("{}")
    saved = save_model(tmp_path, STACKED, new_weights(STACKED, seed=1))
    assert saved.tokenizer_path == tmp_path / "tokenizer.json"
    (tmp_path / "tokenizer.json").unlink()
    assert open_model(tmp_path).fingerprint != saved.fingerprint


def test_reading_is_light():
    """The module loads neither TensorFlow nor safetensors before a model is opened."""
    code = (
        "import sys, unrolled.model.directory as m; "
        "sys.exit(any(n in sys.modules for n in ('tensorflow', 'safetensors')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
