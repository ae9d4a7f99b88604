"""A job read for its report: every number, the same bytes each time, and only what is new again."""

import base64
import html
import json
import zlib
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.jobs import ROWS_PER_SHARD, finished_job, log_of, make_job, publish_shard, record_death, waiting
from support.report_jobs import record_time, report_job

from producer.jobs.decisions import retry
from producer.report.gathering import Gathering
from producer.report.options import ReportOptions
from producer.report.page.map_section import _packed
from producer.report.page.page import render
from producer.report.states.colours import Groups
from producer.terminal.text import figure
from unrolled.errors import OptionError, TransientError
from unrolled.format.positions import Positions
from unrolled.job import names
from unrolled.job.names import part_object, quarantine_object
from unrolled.protocol.opening import open_job
from unrolled.reading.dataset import open_dataset
from unrolled.reading.outcome import failed_rows

_OTHER_PLAN = 'The plan may be another job\'s: this job has other options (pooling is ["none"]; the plan has ["mean"]).'
BAD_ROW = {"file": "f", "position": 3, "id": None, "reason": "not UTF-8"}


def shown(job, **options):
    gathering = Gathering(job, ReportOptions(**options))
    gathering.look()
    return gathering.shown()


def test_the_numbers_are_those_of_the_job(tmp_path):
    """Rows, tokens, bytes, quarantine, deaths, time."""
    job = report_job(tmp_path / "out", 256, bad=[BAD_ROW], unpublished=2)
    (*_, last) = sorted(names.shards_in(job.objects.list(names.ROWS)))
    record_death(job, last)
    facts = shown(job).facts
    dataset = open_dataset(tmp_path / "out")
    lengths = [row.length for row in dataset]
    assert (facts.rows, facts.rows_published, facts.refused) == (257, 128, 1)
    assert facts.tokens_published == dataset.tokens == sum(lengths) == facts.lengths.tokens
    assert facts.lengths.longest == max(lengths)
    assert facts.size_bytes == sum(path.stat().st_size for path in (tmp_path / "out").glob("*.parquet"))
    assert (facts.shards, facts.parts, facts.dead, facts.state) == (4, 2, 1, "not complete")
    assert facts.deaths == [(str(last), "its worker died 3 times")]
    assert [(reason.text, reason.rows) for reason in facts.reasons] == [("not UTF-8", 1)]
    assert len(facts.time.workers) == 2
    assert facts.time.tokens == pytest.approx(facts.tokens, abs=4)


@pytest.mark.parametrize("options", [{}, {"of_tokens": True, "points": 150}, {"column": "max", "points": 40}])
def test_the_same_job_gives_the_same_bytes(tmp_path, options):
    """In another process, on another day, under another path."""
    job = report_job(tmp_path / "out", 200)
    page = render(shown(job, **options))
    (tmp_path / "out").rename(tmp_path / "moved")
    assert render(shown(open_job(tmp_path / "moved"), **options)) == page
    assert str(tmp_path) not in page


def test_a_point_is_a_row_s_vector(tmp_path):
    """Stored or computed from its tokens' vectors; rows without a token have none."""
    dataset_of = {}
    for name, pooling in (("stored", ("none", "mean")), ("computed", ("none",))):
        job = report_job(tmp_path / name, 150, pooling=pooling)
        gathering = Gathering(job, ReportOptions())
        gathering.look()
        dataset_of[name] = open_dataset(tmp_path / name)
        points = gathering._states.sample.points()
        expected = [row for row in dataset_of[name] if row.length]
        assert points.ids.tolist() == [row.id for row in expected]
        means = [row["mean"] if name == "stored" else row.outputs.mean(axis=0, dtype=np.float64) for row in expected]
        np.testing.assert_allclose(points.vectors, means, atol=1e-6)
        assert points.lengths.tolist() == [row.length for row in expected]


def test_a_point_is_a_token_s_vector(tmp_path):
    """With its place in the row, and the tokens around it."""
    job = report_job(tmp_path / "out", 60)
    found = shown(job, of_tokens=True, points=20_000)
    rows = list(open_dataset(tmp_path / "out"))
    assert len(found.state_map) == sum(row.length for row in rows)
    at = 0
    for row in rows:
        real = row.tokens[row.mask].tolist()
        for position, token in enumerate(real):
            assert found.state_map.ids[at] == row.id
            assert found.state_map.positions[at] == position
            assert f"[{token}]" in found.state_map.texts[at]
            at += 1


def test_vectors_of_chosen_tokens_alone(tmp_path):
    """Their places are those of the tokens; a row without a chosen one has no point."""
    positions = Positions("every", 4)
    job = report_job(tmp_path / "out", 90, pooling=("none",), positions=positions)
    rows = list(open_dataset(tmp_path / "out"))
    found = shown(job, of_tokens=True)
    assert found.state_map.positions.tolist() == [at for row in rows for at in range(3, row.length, 4)]
    tokens = [row.tokens[row.mask][at] for row in rows for at in range(3, row.length, 4)]
    assert all(f"[{token}]" in text for token, text in zip(tokens, found.state_map.texts, strict=True))
    assert shown(job).state_map.ids == [row.id for row in rows if row.length >= 4]
    assert "positions every:4" in render(found)


def test_long_names_are_groups_of_their_own(tmp_path):
    """Inputs and labels that begin alike; the page shows how they end."""
    folder = "corpus/" + "long-name/" * 20
    job = report_job(tmp_path / "out", 90, folder=folder)
    table = tmp_path / "labels.csv"
    lines = [f"{row.id},{'topic ' * 30}{at % 2}\n" for at, row in enumerate(open_dataset(tmp_path / "out"))]
    table.write_text("id,topic\n" + "".join(lines))
    found = shown(job, table=table, label_field="topic")
    groups = {shade.title: shade.counts for shade in found.state_map.colours if isinstance(shade, Groups)}
    assert groups == {"topic": [45, 44], "source file": [30, 30, 29]}
    data = json.loads(zlib.decompress(base64.b64decode(_packed(found.state_map))))
    names = {shade["title"]: shade["names"] for shade in data["colours"] if "names" in shade}
    assert [name[-1] for name in names["topic"]] == ["1", "0"]
    for shown_names in (names["source file"], data["files"]["names"]):
        assert {name[-11:] for name in shown_names} == {f"/file-{at}.txt" for at in range(3)}
        assert max(map(len, shown_names)) <= 120


@pytest.mark.parametrize(("name", "write"), [("t.csv", "{0}"), ("t.jsonl", '"{0}"')])
def test_labels_that_are_no_numbers_are_no_scale(tmp_path, name, write):
    """A ZIP code 0017 isn't 17, and 1_7 isn't either."""
    job = report_job(tmp_path / "out", 60)
    labels = [f"{at % 20:04}" if at % 2 else f"{at % 20 // 10}_{at % 10}" for at in range(60)]
    rows = list(zip((row.id for row in open_dataset(tmp_path / "out")), map(write.format, labels), strict=True))
    lines = [f"{key},{label}" if name == "t.csv" else f'{{"id": "{key}", "zip": {label}}}' for key, label in rows]
    (tmp_path / name).write_text("\n".join(["id,zip"] * (name == "t.csv") + lines) + "\n")
    shade = shown(job, table=tmp_path / name, label_field="zip").state_map.colours[0]
    assert isinstance(shade, Groups)
    assert shade.counts[:7] == [3] * 7
    assert shade.names[7] == "13 others"


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(("pooling", "kind"), [(("mean",), "row"), (("none",), "row"), (("none",), "token")])
def test_a_vector_that_is_not_finite_has_no_point(tmp_path, pooling, kind, value):
    """One number in one vector doesn't spoil the map of the others, and the page counts what is left out."""

    def change(shard, vectors):
        if shard == 1:
            vectors[3, 2] = value

    options = {"of_tokens": kind == "token"}
    whole = shown(report_job(tmp_path / "whole", 150, pooling=pooling), **options)
    found = shown(report_job(tmp_path / "out", 150, pooling=pooling, change=change), **options)
    assert len(found.state_map) == found.state_map.total == len(whole.state_map) - 1
    assert np.isfinite(found.state_map.coordinates).all()
    assert f"1 {kind} has no point, because its vector has a number that is infinite" in render(found)
    assert "is infinite" not in render(whole)


def test_a_sample_is_drawn_from_finite_vectors_alone(tmp_path):
    """It has as many points as there may be."""

    def change(_, vectors):
        vectors[: len(vectors) // 2] = np.inf

    found = shown(report_job(tmp_path / "out", 200, pooling=("mean",), change=change), points=40)
    assert len(found.state_map) == 40
    assert "rows have no point, because their vectors have" in render(found)
    found = shown(report_job(tmp_path / "none", 20, change=lambda _, vectors: vectors.fill(np.nan)))
    assert "Every vector has a number that is infinite or not a number" in render(found)


def test_a_sample_has_the_components_of_all(tmp_path):
    """The axes don't depend on how many points are drawn."""
    job = report_job(tmp_path / "out", 300)
    whole, few = shown(job).state_map, shown(job, points=50).state_map
    assert (len(whole), len(few)) == (299, 50)
    assert whole.note == few.note
    places = dict(zip(whole.ids, whole.coordinates.tolist(), strict=True))
    for row_id, place in zip(few.ids, few.coordinates.tolist(), strict=True):
        np.testing.assert_allclose(place, places[row_id])


def test_a_second_look_reads_what_is_new_alone(tmp_path, monkeypatch):
    """A live report costs what has changed."""
    report_job(tmp_path / "done", 256)
    job = report_job(tmp_path / "out", 256, unpublished=2, ended=False)
    parts = sorted((tmp_path / "done").glob("part-*.parquet"))
    gathering = Gathering(job, ReportOptions())
    read = []
    gathering.look(read.append)
    assert len(read) == 2
    (tmp_path / "out" / parts[2].name).write_bytes(parts[2].read_bytes())
    gathering.look(read.append)
    assert len(read) == 3
    store, counted = job.objects.store, []
    monkeypatch.setattr(type(store), "open", lambda *arguments: counted.append(arguments))
    gathering.look(read.append)
    assert (len(read), counted) == (3, [])


def test_a_damaged_part_is_named_and_the_others_are_shown(tmp_path):
    """A report is no verification, but it doesn't hide what it met."""
    job = report_job(tmp_path / "out", 256)
    shard = sorted(names.parts_in(job.objects.list(names.PARTS)))[1]
    path = tmp_path / "out" / part_object(shard)
    path.write_bytes(path.read_bytes()[:-40])
    found = shown(job)
    assert len(found.facts.damaged) == 1
    assert path.name in found.facts.damaged[0]
    assert found.facts.rows_published == 192
    page = render(found)
    assert path.name in page
    assert '<b class="bad">complete, but damaged</b>' in page


@pytest.mark.parametrize("options", [{}, {"of_tokens": True}])
def test_a_part_that_is_damaged_at_its_end_is_not_on_the_map(tmp_path, options):
    """Nor in its components, although its first row groups can be read."""
    pages = []
    for name in ("damaged", "gone"):
        job = report_job(tmp_path / name, 96, units=600, lengths=200, rows_per_shard=48)
        shard = min(names.parts_in(job.objects.list(names.PARTS)))
        path = tmp_path / name / part_object(shard)
        content = bytearray(path.read_bytes())
        last = pq.ParquetFile(path).metadata.row_group(1)
        for column in range(last.num_columns):
            content[last.column(column).data_page_offset] ^= 0xFF
        path.write_bytes(content) if name == "damaged" else path.unlink()
        pages.append(shown(job, points=200, **options))
    damaged, gone = pages
    assert len(damaged.facts.damaged) == 1
    assert set(damaged.state_map.ids) == set(gone.state_map.ids)
    assert damaged.state_map.total == gone.state_map.total
    assert damaged.state_map.note == gone.state_map.note
    assert damaged.state_map.coordinates.tolist() == gone.state_map.coordinates.tolist()


def test_a_store_that_fails_meanwhile_spoils_a_gathering(tmp_path, monkeypatch):
    """Rows of a part that was read halfway must not count twice: the next attempt starts from its beginning."""
    job = report_job(tmp_path / "out", 128)
    gathering, store = Gathering(job, ReportOptions()), type(job.objects.store)

    def fail(*_):
        raise TransientError("away")

    with monkeypatch.context() as patched:
        patched.setattr(store, "open", fail)
        with pytest.raises(TransientError):
            gathering.look()
    assert gathering.spoilt
    assert shown(job).facts.rows_published == 128


def test_what_is_damaged_beside_the_parts_is_no_end(tmp_path):
    """A list of bad rows and a record of time that can't be read."""
    job = report_job(tmp_path / "out", 128, bad=[BAD_ROW])
    (tmp_path / "out" / quarantine_object(log_of(job).inputs[0])).write_bytes(b'{"file": 1}\n')
    job.objects.create(names.times_object("x"), b"nonsense")
    facts = shown(job).facts
    assert "restore the list of bad rows from a copy" in facts.damaged[0]
    assert len(facts.time.workers) == 2


@pytest.mark.parametrize(
    ("pooling", "options", "said"),
    [
        (("mean",), {"of_tokens": True}, "no vectors of tokens"),
        (("mean",), {"column": "last"}, "allowed for this map: mean"),
        (("none",), {"column": "x"}, "allowed for this map: mean, max, last, first"),
        (("none", "mean"), {"column": "mean", "of_tokens": True}, "allowed for this map: outputs"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(tmp_path, pooling, options, said):
    """With those that do."""
    job = report_job(tmp_path / "out", 20, pooling=pooling)
    with pytest.raises(OptionError, match=said):
        shown(job, **options)


def test_the_time_between_two_commands_is_no_working_time(tmp_path):
    """The page names the pause, and its rate is that of the work."""
    job = report_job(tmp_path / "out", 128, records=False)
    tokens = shown(job).facts.tokens
    record_time(job, tokens // 2, 1, 64, workers=1, seconds=2.0)
    page = render(shown(job))
    assert "isn't counted" not in page
    assert "1 worker computed 49.9\N{NO-BREAK SPACE}% of it in 2.0 s" in page
    assert "% of the published tokens: a worker writes its last when it has nothing" in page
    found = shown(job)
    page = render(replace(found, facts=replace(found.facts, state="not complete")))
    assert "% of the published tokens: workers write them now and then." in page
    record_time(job, tokens - tokens // 2, 1, 64, workers=1, seconds=2.0, later=170.0)
    found = shown(job)
    assert found.facts.time.seconds == pytest.approx(4, abs=0.1)
    page = render(found)
    assert "computed it in 4.0 s (a pause of 2 min 48 s isn't counted)" in page
    assert "pause of 2 min 48 s</text>" in page
    assert f"<dt>tokens a second</dt><dd>{figure(found.facts.time.tokens / found.facts.time.seconds)}</dd>" in page
    assert "tokens more than are published" not in page
    assert "<td>computed here</td>" in page
    record_time(job, tokens, 2, 128, workers=1, seconds=2.0, later=180.0)
    page = render(shown(job))
    assert "tokens more than are published" in page
    assert "<td>computed here" not in page  # what was computed twice isn't told apart
    assert "tokens, those of failed and repeated rows included, needed no computation" in page


def test_what_was_queued_again_is_counted_once(tmp_path):
    """A row that failed and was retried twice is one row."""
    job = make_job(tmp_path / "out", shards=2)
    publish_shard(job, waiting(job)[1])
    for number in range(1, 3):
        publish_shard(job, waiting(job)[0], failed={0: "too long"} if number > 1 else {0: "too long", 2: "too long"})
        retry(job.objects, None, failed_rows, failed=True)
        assert "<p>2 failed rows queued again.</p>" in render(shown(job))


def test_rows_that_are_gone_are_trouble(tmp_path):
    """They don't wait as others do; what helps a dead shard depends on why it died."""
    job = make_job(tmp_path / "out", shards=3)
    first, second, third = waiting(job)
    publish_shard(job, first)
    record_death(job, second)
    job.objects.delete(names.rows_object(third))
    page = render(shown(job))
    assert "<p>1 dead shard; <code>unrolled status</code> says what helps.</p>" in page
    assert "<p>1 shard without a part or rows; <code>unrolled verify</code> says more.</p>" in page


def test_a_job_has_one_name(tmp_path):
    """In the heading and in the table of what gave the vectors."""
    job = report_job(tmp_path / "out", 20)
    page = render(shown(job))
    assert f"job {job.key} " in page
    assert f"<tr><td>job</td><td>{job.key}</td></tr>" in page


def test_a_job_that_has_just_begun_has_a_report(tmp_path):
    """Without a part, without a record of time."""
    job = report_job(tmp_path / "out", 20, unpublished=1, records=False)
    page = render(shown(job))
    assert "No vector is published yet, so there is no map." in page
    assert "No worker has recorded its time" in page


@pytest.mark.parametrize("end", ["failed", "empty", "dead"])
def test_a_job_without_a_vector_has_a_report(tmp_path, end):
    """Once it is done, none is awaited."""
    job = make_job(tmp_path / "out", shards=1)
    shard = log_of(job).inputs[0]
    if end == "dead":
        record_death(job, shard)
    elif end == "failed":
        publish_shard(job, shard, failed=dict.fromkeys(range(ROWS_PER_SHARD), "too long"))
    else:
        job = report_job(tmp_path / "empty", 10, lengths=0)
    said = "No vector was published, so" if end == "dead" else "No row has a vector, so"
    assert f"{said} there is no map." in render(shown(job))


def test_the_plan_is_beside_the_fact(tmp_path):
    """Once the job is finished; the plan of another model is refused."""
    job = finished_job(tmp_path / "out", shards=2)
    facts = shown(job).facts
    plan = {
        "format_version": 1,
        "model": job.job.fingerprint,
        "rows": {"rows": {"value": 10, "error": 1}, "tokens": {"value": 2 * facts.tokens, "error": None}},
        "choices": [{"chosen": True, "size": {"value": facts.size_bytes, "error": 0}}],
        "times": None,
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    found = shown(job, plan=tmp_path / "plan.json")
    assert [(one.name, one.planned, one.fact) for one in found.plan] == [
        ("rows", 10, facts.rows - facts.refused),
        ("tokens", 2 * facts.tokens, facts.tokens),
        ("bytes", facts.size_bytes, facts.size_bytes),
    ]
    page = render(found)
    assert "Plan and fact" in page
    assert "+100.0 %" in page
    assert "Plan and fact" not in render(shown(job))
    other = replace(job.job, options=job.job.options | {"pooling": ["mean"]})
    for planned, note in ((job.job, ""), (other, _OTHER_PLAN)):
        (tmp_path / "plan.json").write_text(json.dumps(plan | {"job": planned.to_json()}))
        found = shown(job, plan=tmp_path / "plan.json")
        assert found.plan_note == note
        assert len(found.plan) == 3
        assert (html.escape(_OTHER_PLAN) in render(found)) == bool(note)
    unfinished = make_job(tmp_path / "unfinished", shards=2)
    assert shown(unfinished, plan=tmp_path / "plan.json").plan == ()
    (tmp_path / "plan.json").write_text(json.dumps(plan | {"model": "cd" * 32}))
    with pytest.raises(OptionError, match="another model"):
        shown(job, plan=tmp_path / "plan.json")


def test_the_time_of_the_plan_is_beside_the_whole_time(tmp_path):
    """A job has just been finished, and a worker hasn't written its last record: the time so far isn't the job's."""
    job = report_job(tmp_path / "out", 128, records=False)
    tokens = shown(job).facts.tokens
    plan = {
        "format_version": 1,
        "model": job.job.fingerprint,
        "rows": {"rows": {"value": 128, "error": 0}, "tokens": {"value": tokens, "error": 0}},
        "choices": [{"chosen": True, "size": {"value": 1, "error": 0}}],
        "times": {"total": {"value": 92.0, "error": None}, "start": 2.0},
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    record_time(job, tokens // 2, 1, 64, workers=1)
    assert [one.name for one in shown(job, plan=tmp_path / "plan.json").plan] == ["rows", "tokens", "bytes"]
    record_time(job, tokens - tokens // 2, 1, 64, workers=1, later=1.0)
    assert shown(job, plan=tmp_path / "plan.json").plan[3] == ("seconds", 90.0, None, 91.0, False)
