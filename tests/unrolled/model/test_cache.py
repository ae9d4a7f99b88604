"""Models in buckets: copied once, checked each time, and a model that changes is another one."""

import os
import pickle
import shutil
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner
from support.bucket_server import Answer, bucket_server
from support.kernels import THREADS
from support.shell import UNITS, make_model

import unrolled
from producer.cli.root import cli
from unrolled import patience
from unrolled.errors import ModelError, RequestError, TransientError
from unrolled.model import cache
from unrolled.model.cache import cache_directory
from unrolled.model.directory import open_model, save_model
from unrolled.model.files import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from unrolled.store.cloud import objects

URL = "s3://bucket/models/names"


@pytest.fixture
def server(tmp_path, monkeypatch):
    with bucket_server(tmp_path / "buckets") as found:
        for name, value in found.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(objects, "_RETRIES", {"max_retries": 0})
        yield found


@pytest.fixture
def source(server):
    """The directory that is the model in the bucket."""
    place = server.directory / "bucket" / "models" / "names"
    make_model(place, tokenizer_json="{}")
    return place


def copies(tmp_path):
    return sorted(path for path in (tmp_path / "cache" / "models").iterdir() if not path.name.startswith("."))


def fetched(server):
    return [request.path for request in server.requests if request.method == "GET" and "list-type" not in request.path]


def test_a_copy_is_the_model(server, source, tmp_path):
    """It has the fingerprint of the directory, and is fetched once, also by other spellings of the URL."""
    expected = open_model(source)
    model = open_model(URL)
    assert (model.fingerprint, model.config) == (expected.fingerprint, expected.config)
    assert model.weights().keys() == expected.weights().keys()
    assert model.tokenizer_path.read_text() == "{}"
    count = len(fetched(server))
    assert count >= 3
    for url in (URL, f"{URL}/", "s3:/bucket/models/names"):
        assert open_model(url).path == model.path
    assert len(fetched(server)) == count
    assert copies(tmp_path) == [model.path]


def test_a_model_that_changes_is_another_one(source):
    """As a directory whose files are replaced."""
    first = open_model(URL)
    (source / TOKENIZER_FILE).write_text("[]")
    second = open_model(URL)
    assert second.fingerprint == open_model(source).fingerprint != first.fingerprint
    assert first.weights()  # a model that is open stays as it was


def test_a_copy_that_was_damaged_is_fetched_again(server, source):
    """The disk failed, or somebody wrote into it."""
    path = open_model(URL).path
    with (path / WEIGHTS_FILE).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    count = len(fetched(server))
    assert open_model(URL).fingerprint == open_model(source).fingerprint
    assert len(fetched(server)) > count


def test_a_model_without_a_tokenizer(source):
    """It may be absent, as in a directory."""
    (source / TOKENIZER_FILE).unlink()
    assert open_model(URL).tokenizer_path is None


@pytest.mark.parametrize(("url", "message"), [
    ("s3://bucket/none", f"s3://bucket/none: has no object {CONFIG_FILE}; a model needs"),
    ("s3://no-such-bucket/m", "404 NoSuchBucket; make the bucket, or correct its name"),
    ("https://host/model", "https:// is not a place for objects"),
    ("s3://user:secret-word@bucket/m", "no name, password or query"),
])  # fmt: skip
@pytest.mark.usefixtures("server")
def test_refusals(url, message, tmp_path):
    """Nothing is made for them."""
    with pytest.raises((RequestError, TransientError)) as caught:
        open_model(url)
    assert message in str(caught.value)
    assert "secret-word" not in str(caught.value)
    assert not list(tmp_path.glob("cache/models/[!.]*"))


@pytest.mark.parametrize(
    "words",
    [
        ("model", "new", "URL", "--vocab-size", "9"),
        ("model", "import", "URL", "here"),
        ("tokenizer", "fit", "rows.txt", "--out", "URL", "--vocab-size", "9"),
        ("enqueue", "rows.txt", "--model", "m", "--out", "URL"),
        ("status", "URL"),
        ("wait", "URL"),
    ],
)
@pytest.mark.parametrize("url", ["s3://KEY:SECRET@bucket/m", "s3://bucket/m?X-Amz-Signature=SECRET"])
def test_no_secret_of_a_url_is_printed(url, words, tmp_path, monkeypatch):
    """Where a URL is refused, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.txt").write_text("a b\n")
    found = CliRunner().invoke(cli, [url if word == "URL" else word for word in words])
    assert found.exit_code in (1, 2), found.output
    assert "SECRET" not in found.output
    assert "KEY" not in found.output


@pytest.mark.usefixtures("source")
def test_a_model_is_not_made_in_a_bucket(tmp_path, monkeypatch):
    """Nor in a directory of that name."""
    monkeypatch.chdir(tmp_path)
    model = open_model(URL)
    with pytest.raises(
        RequestError, match=r"s3://bucket/new: a model can't be made in a bucket; make it in a directory"
    ):
        save_model("s3://bucket/new", model.config, model.weights())
    assert not (tmp_path / "s3:").exists()


def test_a_server_that_goes_wrong_costs_time_only(server, source, monkeypatch):
    """Each trouble is said."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.01)
    lines = []
    server.faults["HEAD"] = [Answer.SLOW_DOWN, None, Answer.LOST_ANSWER]
    server.faults["GET"] = [None, Answer.HALF_ANSWER, Answer.SLOW_DOWN]
    path = cache.local_copy(URL, patience.Patience(lines.append).until_done)
    assert open_model(path).fingerprint == open_model(source).fingerprint
    assert [line for line in lines if "can't read" in line]


def test_a_trouble_that_stays_leaves_nothing(server, tmp_path):
    """No half copy."""
    make_model(server.directory / "bucket" / "models" / "names")
    server.faults["GET"] = [Answer.SLOW_DOWN] * 9
    with pytest.raises(TransientError, match="503 SlowDown"):
        open_model(URL)
    assert copies(tmp_path) == []


@pytest.mark.parametrize("times", [1, 9])
def test_a_model_that_changes_while_it_is_fetched(source, monkeypatch, tmp_path, times):
    """Its objects may be of two models: it is fetched again, a few times."""
    copy, left = cache._copy, [times]

    def copy_and_change(bucket, info, target, steadily):
        copy(bucket, info, target, steadily)
        if info.name.endswith(TOKENIZER_FILE) and left[0]:
            left[0] -= 1
            (source / TOKENIZER_FILE).write_text(f"{left}")

    monkeypatch.setattr(cache, "_copy", copy_and_change)
    if times == 1:
        assert open_model(URL).fingerprint == open_model(source).fingerprint
        assert len(copies(tmp_path)) == 1
    else:
        with pytest.raises(ModelError, match="changes while it is read"):
            open_model(URL)
        assert copies(tmp_path) == []


def test_workers_that_start_at_once(server, source, tmp_path):
    """Several processes and threads use one copy, which one of them has fetched."""
    script = f"from unrolled.model.directory import open_model; print(open_model({URL!r}).path)"
    crew = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    threads = [threading.Thread(target=open_model, args=(URL,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    said = {process.communicate()[0].strip() for process in crew}
    for thread in threads:
        thread.join()
    assert said == {str(path) for path in copies(tmp_path)}
    assert len(said) == 1
    assert len([path for path in fetched(server) if path.endswith(WEIGHTS_FILE)]) == 1
    assert open_model(source).fingerprint == open_model(said.pop()).fingerprint


def test_the_cache_is_bounded(source, monkeypatch, tmp_path):
    """The copy that was used longest ago goes first."""
    monkeypatch.setattr(cache, "MOST_COPIES", 3)
    paths = []
    for number in range(5):
        (source / TOKENIZER_FILE).write_text(f"{number}")
        paths.append(open_model(URL).path)
        for age, path in enumerate(reversed(paths)):
            if path.exists():
                os.utime(path, (1e9 - age, 1e9 - age))
    assert copies(tmp_path) == sorted(paths[-3:])


@pytest.mark.parametrize(("environment", "place"), [
    ({"UNROLLED_CACHE": "/data/cache", "XDG_CACHE_HOME": "/x"}, "/data/cache"),
    ({"XDG_CACHE_HOME": "/x"}, "/x/unrolled"),
])  # fmt: skip
def test_where_the_cache_is(environment, place):
    """In the order of the documentation."""
    assert str(cache_directory(environment)) == place
    assert str(cache_directory({})).endswith("/.cache/unrolled")
    assert str(cache_directory({"UNROLLED_CACHE": "~/c"})).startswith("/")


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_names_another_place():
    """As in a container that runs under a number of its own."""
    with pytest.raises(RequestError, match=r"^~/.cache/unrolled: this user has no home directory; .* UNROLLED_CACHE$"):
        cache_directory({})
    assert str(cache_directory({"UNROLLED_CACHE": "/data/cache"})) == "/data/cache"


@pytest.mark.usefixtures("source")
def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    """The text names the variable that moves it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "file"))
    with pytest.raises(TransientError, match="or let UNROLLED_CACHE name another directory"):
        open_model(URL)


def test_an_encoder_s_pickle_names_the_url(source, tmp_path, monkeypatch):
    """Another machine has another cache, or none yet."""
    (source / TOKENIZER_FILE).unlink()
    encoder = unrolled.load(URL, threads=THREADS)
    assert repr(encoder).startswith(f"<Encoder of '{URL}'")
    content = pickle.dumps(encoder)
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "elsewhere"))
    assert pickle.loads(content).encode([[1, 2, 3]])[0].shape == (3, UNITS)
    (source / CONFIG_FILE).unlink()
    with pytest.raises(ModelError, match=f"{URL}: has no object"):
        pickle.loads(content)
