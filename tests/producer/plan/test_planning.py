"""Plans of whole jobs, against what the jobs turn out to be."""

import gzip
import json
import random

import pytest
from support.kernels import needs_kernel
from support.model_configs import STACKED
from support.parts import written
from support.tokenizers import words

from producer.enqueue.cutter import Cutter, cuts, shard_limits
from producer.enqueue.submission import Submission, prepare
from producer.plan import timing
from producer.plan.planning import make_plan
from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches
from producer.sources.rows import Row
from producer.tokenization.tokenize import tokenize
from unrolled.errors import ModelError, OptionError, RequestError
from unrolled.format.columns import vector_bytes
from unrolled.format.output_spec import OutputSpec
from unrolled.format.positions import Positions
from unrolled.model.directory import open_model, save_model
from unrolled.model.weights import new_weights
from unrolled.settings.worker_options import WorkerOptions


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return save_model(folder, STACKED, new_weights(STACKED, 1), words().to_str()).path


def plan_of(model, *inputs, workers=1, measured=False, source=None, begin=lambda _: None, **options):
    submission = Submission(
        tuple(map(str, inputs)), "", model, SourceOptions(**(source or {})), engine="fused", **options
    )
    return make_plan(submission, WorkerOptions(engine="fused", threads=1), workers, measured=measured, begin=begin)


def facts_of(model, path, spec):
    """Rows, tokens and bytes of a job's parts: its rows, cut into shards, written as a worker writes them."""
    columns = spec.columns(open_model(model).config)
    options = SourceOptions()
    batches = tokenize(read_batches(check_inputs([str(path)], options), options), words(), STACKED.vocab_size)
    rows = tokens = size = 0
    for cut in cuts(
        batches,
        Cutter(*shard_limits(vector_bytes(columns, rows=0, tokens=1), vector_bytes(columns, rows=1, tokens=0))),
        None,
    ):
        good = [row for row in cut if isinstance(row, Row)]
        rows, tokens = rows + len(good), tokens + sum(row.tokens.size for row in good)
        size += written([row.tokens.tolist() for row in good], [row.id for row in good], spec, columns)
    return rows, tokens, size


def lines(count, seed=1, mean=12):
    rng = random.Random(seed)
    return [" ".join(rng.choices("ab", k=1 + int(rng.expovariate(1 / mean)))) for _ in range(count)]


def prose(folder):
    (folder / "prose.txt").write_text("\n".join(lines(6_000)))


def code(folder):
    for number in range(12):
        (folder / f"{number}.txt").write_text("\n".join(["", *lines(40 * number, seed=number, mean=4)]))


def huge_row(folder):
    (folder / "huge.txt").write_text(" ".join(random.Random(1).choices("ab", k=250_000)))


def tiny(folder):
    for number in range(200):
        (folder / f"{number}.jsonl").write_text(json.dumps({"id": f"{number}", "text": lines(1, seed=number)[0]}))


def compressed(folder):
    text = "".join(json.dumps({"text": line}) + "\n" for line in lines(6_000))
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress(text.encode()))


@pytest.mark.parametrize("pooling", [("none",), ("mean",)])
@pytest.mark.parametrize("make", [prose, code, huge_row, tiny, compressed])
def test_tokens_and_bytes_are_near(tmp_path, model, make, pooling):
    """Prose, code, one huge row, many tiny files, compressed: within 10 %, of each choice of what is stored."""
    make(tmp_path)
    plan = plan_of(model, tmp_path, pooling=pooling, precision="float16")
    for choice in plan.choices:
        layers = (0, 1) if choice.layers == "all" else None
        spec = OutputSpec(layers, tuple(choice.pooling.split(",")), choice.precision)
        if not choice.chosen and choice.layers == "all":
            continue  # the formula has tests of its own
        rows, tokens, size = facts_of(model, tmp_path, spec)
        assert plan.rows.rows.value == pytest.approx(rows, rel=0.01)
        assert plan.rows.tokens.value == pytest.approx(tokens, rel=0.1)
        assert choice.size.value == pytest.approx(size, rel=0.1)
    assert (plan.chosen.pooling, plan.chosen.precision) == (pooling[0], "float16")


def test_a_plan_says_what_is_in_the_way(tmp_path, model):
    """Inputs that can't be read are named; the others are planned."""
    (tmp_path / "good.txt").write_text("a b\na\n")
    (tmp_path / "bad.txt").write_bytes(b"PK\x03\x04 and so on")
    plan = plan_of(model, tmp_path)
    assert not plan.input.exact
    assert plan.rows.rows.value == 2
    (label,) = plan.input.unreadable
    assert label.endswith("bad.txt")
    assert "zip archive" in plan.input.unreadable[label]
    assert plan.to_json()["input"]["unreadable"] == plan.input.unreadable


def test_nothing_readable_is_an_error(tmp_path, model):
    """As it would be for the job."""
    (tmp_path / "bad.txt").write_bytes(b"PK\x03\x04")
    with pytest.raises(RequestError, match="zip archive"):
        plan_of(model, tmp_path)
    with pytest.raises(RequestError, match="no such file"):
        plan_of(model, tmp_path / "none")
    with pytest.raises(RequestError, match="a stream can be read once"):
        plan_of(model, "-")


def test_text_needs_a_tokenizer(tmp_path):
    """As for the job."""
    bare = save_model(tmp_path / "bare", STACKED, new_weights(STACKED, 1)).path
    (tmp_path / "a.txt").write_text("a b\n")
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        plan_of(bare, tmp_path / "a.txt")
    with pytest.raises(OptionError, match="layer 7"):
        plan_of(bare, tmp_path / "a.txt", layers="7")


def test_what_the_user_asked_for_is_one_of_the_choices(tmp_path, model):
    """Whatever layers and poolings were named."""
    (tmp_path / "a.txt").write_text("a b\n" * 100)
    plan = plan_of(model, tmp_path, layers="0", pooling=("none,max",), precision="float16")
    assert (plan.chosen.layers, plan.chosen.pooling, plan.chosen.precision) == ("0", "none,max", "float16")
    assert len(plan.choices) == 3 * 3 * 2
    assert plan_of(model, tmp_path).chosen.layers == "last"


def test_positions_make_parts_smaller(tmp_path, model):
    """A fifth of the vectors; pooled rows have theirs."""
    (tmp_path / "a.txt").write_text("\n".join(lines(2_000)))
    every, all_tokens = (plan_of(model, tmp_path, positions=which) for which in ("every:5", "all"))
    spec = OutputSpec(positions=Positions("every", 5))
    assert every.chosen.size.value == pytest.approx(facts_of(model, tmp_path, spec)[2], rel=0.01)
    assert every.chosen.size.value < 0.5 * all_tokens.chosen.size.value
    pooled = [[each.size for each in plan.choices if each.pooling == "mean"] for plan in (every, all_tokens)]
    assert pooled[0] == pooled[1]


def test_rows_longer_than_the_model_was_made_for_are_counted(tmp_path, model):
    """Nothing is cut off them."""
    (tmp_path / "a.txt").write_text("a\n" * 6 + "a " * (STACKED.max_length + 1) + "\n")
    plan = plan_of(model, tmp_path)
    assert plan.max_length == STACKED.max_length
    assert (plan.rows.longer.value, plan.rows.lengths["longest"]) == (1, STACKED.max_length + 1)
    assert plan.rows.lengths["median"] == 1


@needs_kernel
@pytest.mark.parametrize(("long_rows", "computed"), [(1, 2 + 20_000), (2, 2 + 39_999), (0, 2)])
def test_long_rows_are_in_the_share_that_is_computed(tmp_path, model, long_rows, computed):
    """They are most of the tokens here, and share their first token at most."""
    same, long = ["a b"] * 500, ["a " * 9_999 + "b " * 10_001, "b " * 20_000]
    (tmp_path / "rows.txt").write_text("\n".join(same + ["b" + row[1:] for row in long[:long_rows]]))
    tokens = 1_000 + 20_000 * long_rows
    assert plan_of(model, tmp_path).rows.computed_share == pytest.approx(computed / tokens, abs=1e-3)


@needs_kernel
def test_times_come_from_a_process_of_their_own(tmp_path, monkeypatch, model):
    """With more workers, computing is shared, and queueing isn't."""
    monkeypatch.setattr(timing, "MEASURE_SECONDS", 0.1)
    (tmp_path / "a.txt").write_text("\n".join(lines(300)))
    plan = plan_of(model, tmp_path / "a.txt", workers=1_000_000, measured=True)
    times = plan.times
    assert "fused engine" in times.engine
    assert times.limit == "queueing"
    assert times.total.value == pytest.approx(times.start + times.queueing)
    assert times.tokens_per_second > 1000
    assert plan.worker_bytes > 2**24
    assert json.loads(json.dumps(plan.to_json()))["times"]["workers"] == 1_000_000


def test_without_an_engine_there_is_a_plan(tmp_path, monkeypatch, model):
    """It says why it has no times."""
    monkeypatch.setenv("UNROLLED_ISA", "none")
    (tmp_path / "a.txt").write_text("a b\n")
    steps = []
    plan = plan_of(model, tmp_path / "a.txt", measured=True, begin=steps.append)
    assert steps[-1] == "plan: measuring the engine"
    assert plan.times is None
    assert plan.no_times


def test_a_plan_writes_nothing(tmp_path, model):
    """Neither beside the input nor in the working directory."""
    (tmp_path / "a.txt").write_text("a b\n")
    before = sorted(tmp_path.rglob("*"))
    plan_of(model, tmp_path / "a.txt")
    assert sorted(tmp_path.rglob("*")) == before


def test_each_word_of_a_whole_input_counts_once(model, tmp_path):
    """Also those of rows that are longer than a piece of the input, which are read again with each piece."""
    path = tmp_path / "rows.jsonl"
    texts = ["a b c unknownword " * 20_000, *["a b"] * 50, "otherword c " * 5_000]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    plan = plan_of(model, path)
    words_there = sum(len(text.split()) for text in texts)
    assert not plan.input.exact  # their words may be cut
    assert plan.rows.words_read == pytest.approx(words_there, rel=0.01)
    assert plan.rows.unknown_share == pytest.approx(50_000 / words_there, rel=0.01)


@pytest.mark.parametrize(
    "options",
    [{}, {"pooling": ("mean", "last"), "layers": "all", "precision": "float16"}, {"positions": "last:2"}],
)
def test_a_plan_names_its_job(model, tmp_path, options):
    """The job that the same request makes, so that a report can tell whether the two belong together."""
    path = tmp_path / "rows.txt"
    path.write_text("a b c\n")
    found = plan_of(model, path, **options)
    submission = Submission((str(path),), str(tmp_path / "out"), model, engine="fused", **options)
    assert found.to_json()["job"] == json.loads(json.dumps(prepare(submission).job.job.to_json()))
