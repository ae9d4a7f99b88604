"""Inputs and models in a bucket, by the commands that a person types, on a real S3 server."""

import gzip
import json
import re
import shlex

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from support.bucket_server import Answer, bucket_server
from support.shell import ENGINE, REPOSITORY, Crew, end, make_model, unrolled, write_rows

import unrolled as reader
from producer.cli.root import cli
from producer.local.broker import EmbeddedBroker

ROWS = {f"row-{number}": [1 + number % 50, 0, 2, 3][: number % 5] for number in range(900)}
CORPUS, MODEL, OUT = "s3://bucket/corpus/", "s3://bucket/models/names", "s3://bucket/jobs/out"
NEW_URL = "s3://bucket/new"
NEW = ("--vocab-size", "9", "--max-length", "8", "--lstm-units", "4", "--lstm-layers", "1")


@pytest.fixture
def server(tmp_path, monkeypatch):
    with bucket_server(tmp_path / "buckets") as found:
        for name, value in found.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield found


@pytest.fixture
def place(server):
    """The directory of a bucket with a model and a corpus in three formats."""
    bucket = server.directory / "bucket"
    make_model(bucket / "models" / "names")
    (bucket / "corpus" / "sub").mkdir(parents=True)
    parts = [dict(list(ROWS.items())[start : start + 300]) for start in range(0, 900, 300)]
    path = write_rows(bucket / "corpus" / "a.jsonl", parts[0])
    path.with_suffix(".jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    table = pa.table({"id": list(parts[1]), "tokens": list(parts[1].values())})
    pq.write_table(table, bucket / "corpus" / "b.parquet", row_group_size=50)
    lines = [f"{name},{' '.join(map(str, tokens))}\n" for name, tokens in parts[2].items()]
    (bucket / "corpus" / "sub" / "c.csv").write_text("".join(["id,tokens\n", *lines]))
    return bucket


def command(*arguments):
    """A command that ends soon, in this process."""
    return CliRunner().invoke(cli, [*map(str, arguments)])


def words(name, *more, out=OUT):
    return (name, CORPUS, "--model", MODEL, "--out", str(out), "--shard-tokens", "200", *more)


def test_everything_in_a_bucket(place, server, tmp_path):
    """Corpus, model and job, on a server that goes wrong now and then; a change of the first two is noticed."""
    server.faults["GET"] = [None, Answer.SLOW_DOWN, None, None, Answer.LOST_ANSWER, Answer.BROKEN] * 3
    server.faults["HEAD"] = [None, Answer.SLOW_DOWN]
    done = unrolled(*words("run", "--engine", ENGINE), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{OUT}: verified; 900 rows in, 900 out" in done.stdout
    rows = {row.id: row.length for row in reader.open(OUT)}
    assert rows == {name: sum(map(bool, tokens)) for name, tokens in ROWS.items()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["buckets", "cache"]
    content = (place / "corpus/sub/c.csv").read_text()
    (place / "corpus/sub/c.csv").write_text(content.replace("row-700", "row-7oo"))
    again = unrolled(*words("run", "--engine", ENGINE), cwd=tmp_path)
    assert again.returncode == 1
    assert "the input has changed since this job began" in again.stderr
    (place / "corpus/sub/c.csv").write_text(content)
    make_model(place / "models/other", units=6)
    for path in (place / "models/other").iterdir():
        path.replace(place / "models/names" / path.name)
    again = command(*words("run", "--engine", ENGINE))
    assert again.exit_code == 1
    assert "holds a job with another model" in again.output


@pytest.mark.usefixtures("server")
def test_workers_with_a_model_in_a_bucket(place, tmp_path):
    """`enqueue`, `worker`, `wait` and `doctor` take the URL of a model; worker and job agree on its fingerprint."""
    with EmbeddedBroker() as broker, Crew() as crew:
        options = {"broker": broker.url, "engine": ENGINE}
        worker = crew.worker(tmp_path / "log", **options, model=MODEL)
        out = tmp_path / "out"
        done = unrolled(*words("enqueue", "--broker", broker.url, "--engine", ENGINE, out=out))
        assert done.returncode == 0, done.stderr
        assert "900 rows" in done.stdout
        assert unrolled("wait", out, "--broker", broker.url).returncode == 0
        found = unrolled("doctor", out, "--model", MODEL, "--broker", broker.url, "--json")
        checks = {check["name"]: check for check in json.loads(found.stdout)["checks"]}
        assert checks["workers"]["outcome"] == checks["model"]["outcome"] == "ok"
        assert end(worker) == 0
    shown = [json.loads(command("model", "show", path, "--json").output) for path in (MODEL, place / "models/names")]
    assert shown[0]["fingerprint"] == shown[1]["fingerprint"]


@pytest.mark.parametrize(("words", "status", "message"), [
    (("run", "s3://bucket/none", "--model", MODEL, "--out", "out"), 1, "no such object"),
    (("run", CORPUS, "--model", "s3://bucket/none", "--out", "out"), 1, "s3://bucket/none: has no object config.json"),
    (("run", CORPUS, "--model", "ftp://host/model", "--out", "out"), 2, "ftp:// is not a place for objects"),
    (("run", "https://host/a.txt", "--model", MODEL, "--out", "out"), 2, "https:// is not a place for objects"),
    (("run", CORPUS, "--model", MODEL, "--out", "hdfs://host/out"), 2, "hdfs:// is not a place for objects"),
    (("model", "new", "s3://bucket/new", *NEW), 1, "a model can't be made in a bucket"),
    (("model", "fit", CORPUS, "--out", "s3://bucket/new"), 1, "a model can't be made in a bucket"),
    (("tokenizer", "fit", CORPUS, "--vocab-size", "9", "--out", NEW_URL), 1, "a model can't be made in a bucket"),
])  # fmt: skip
@pytest.mark.usefixtures("place")
def test_a_url_is_never_a_directory_of_that_name(words, status, message, tmp_path, monkeypatch):
    """What can't be served is refused in one line, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    done = command(*words)
    assert done.exit_code == status, done.output
    assert message in done.output
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["buckets"]


def test_the_commands_of_the_documentation(place, server, tmp_path):
    """docs/operations.md, word for word."""
    server.new_bucket("my-bucket")
    bucket = server.directory / "my-bucket"
    (place / "models/names").rename(bucket / "my-model")
    (bucket / "corpus").mkdir()
    (place / "corpus/a.jsonl.gz").rename(bucket / "corpus/a.jsonl.gz")
    text = (REPOSITORY / "docs" / "operations.md").read_text()
    block = re.search(r"^## Buckets\n.*?^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    for line in block.splitlines():
        name, *words = shlex.split(line)
        assert name == "unrolled"
        done = unrolled(*words, cwd=tmp_path, engine=ENGINE)
        assert done.returncode == 0, done.stderr
    assert len(reader.open("s3://my-bucket/vectors")) == 300


def test_training_on_a_corpus_in_a_bucket(place, tmp_path):
    """The inputs of `tokenizer fit` are those of a job."""
    (place / "texts").mkdir()
    (place / "texts" / "a.txt.gz").write_bytes(gzip.compress(b"the cat sat\nthe cat ran\n"))
    done = unrolled(
        "tokenizer", "fit", "s3://bucket/texts", "--vocab-size", "9", "--out", "tokenizer.json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "4" in done.stdout
