"""A job's store, made once and found again by everybody."""

import pytest
from support.jobs import decide, job_of

from unrolled.errors import JobError
from unrolled.job import names
from unrolled.job.inputs import Inputs
from unrolled.job.segment import Segment
from unrolled.protocol.opening import create_job, open_job


def test_a_job_is_found_again(tmp_path):
    """With the key that was drawn when it was made, by any spelling of its path, so that it is one job in Redis."""
    made = create_job(tmp_path / "out", job_of())
    (tmp_path / "link").symlink_to(tmp_path / "out")
    (tmp_path / "x").mkdir()
    for path in (tmp_path / "out", str(tmp_path / "out"), tmp_path / "link", tmp_path / "x" / ".." / "out"):
        found = open_job(path)
        assert (found.job, found.key) == (made.job, made.key)
    assert create_job(tmp_path / "out", job_of()).key == made.key
    assert create_job(tmp_path / "other", job_of()).key != made.key


def test_a_place_is_named_as_it_was_given(tmp_path, monkeypatch):
    """To people as they gave it, to other processes as an absolute path."""
    monkeypatch.chdir(tmp_path)
    job = create_job("out", job_of())
    assert (job.place, job.address) == ("out", str(tmp_path / "out"))


def test_another_job_is_refused(tmp_path):
    """What differs is named, and nothing is changed."""
    made = create_job(tmp_path / "out", job_of())
    with pytest.raises(
        JobError, match=r"other inputs \(rows.txt; this command asks for more.txt; names are .*another --out"
    ):
        create_job(tmp_path / "out", job_of(inputs=["more.txt"]))
    assert open_job(tmp_path / "out").job == made.job


@pytest.mark.parametrize(
    ("given", "append", "said"),
    [
        ({"inputs": ["a", "b", "c"]}, False, "Use --append to add the rows of the new inputs to that job"),
        ({"inputs": ["a", "c"]}, False, "or the options of that job to resume it"),
        ({"inputs": ["a", "c", "b"]}, True, "name that job's inputs first, in its order, and new ones after them"),
        ({"inputs": ["a"]}, True, "name that job's inputs first, in its order, and new ones after them"),
        (
            {"inputs": ["a", "b", "c"], "options": {"x": 1}},
            True,
            r"other options \(x is null; this command asks for 1\)",
        ),
        ({"inputs": ["a", "b"], "live": True}, True, "live is false; this command asks for true"),
    ],
)
def test_inputs_that_are_not_the_jobs_are_refused(tmp_path, given, append, said):
    """With `append`, they may be the job's and then others; the text says what to do, and nothing is changed."""
    create_job(tmp_path, job_of(inputs=["a", "b"]))
    with pytest.raises(JobError, match=said):
        create_job(tmp_path, job_of(**given), append=append)
    assert list(open_job(tmp_path).objects.list(names.LOG)) == []


def test_a_job_that_has_grown_has_its_present_inputs(tmp_path):
    """Those of the last `append` count; the job's identity stays what it was."""
    made = create_job(tmp_path, job_of(inputs=["a"]))
    decide(made, Segment("append", inputs=Inputs.named(["a", "b"])))
    assert create_job(tmp_path, job_of(inputs=["a", "b"])).job == made.job
    assert create_job(tmp_path, job_of(inputs=["a", "b", "c"]), append=True).job == made.job
    with pytest.raises(JobError, match="other inputs"):
        create_job(tmp_path, job_of(inputs=["a", "c"]), append=True)


def test_a_stream_is_not_appended_to(tmp_path):
    """It goes on by itself."""
    create_job(tmp_path, job_of(inputs=["-"], live=True))
    with pytest.raises(JobError, match=r"reads a stream, and --append adds to files.*--follow"):
        create_job(tmp_path, job_of(inputs=["-"]), append=True)


def test_other_files_are_not_taken_for_parts(tmp_path):
    """A directory with Parquet files and no job is somebody's data."""
    (tmp_path / "theirs.parquet").touch()
    with pytest.raises(JobError, match=r"holds theirs\.parquet and no job; use an empty directory"):
        create_job(tmp_path, job_of())
    assert not (tmp_path / names.FOLDER).exists()
    (tmp_path / names.LOG).mkdir(parents=True)
    (tmp_path / names.LOG / "000000.jsonl").touch()
    with pytest.raises(JobError, match=r"no job; restore _unrolled/job\.json from a copy, or use an empty directory"):
        create_job(tmp_path, job_of())


def test_no_job_is_reported(tmp_path):
    """With the command that makes one."""
    said = r"no job here \(_unrolled/job\.json is missing\); `unrolled run` or `unrolled enqueue` makes one"
    with pytest.raises(JobError, match=said):
        open_job(tmp_path)
    (tmp_path / "part.parquet").touch()
    with pytest.raises(JobError, match=r"part\.parquet: is a file; name the directory of a job"):
        open_job(tmp_path / "part.parquet")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(JobError, match=r"is missing\); it is the directory of a model; name the --out of a job"):
        open_job(tmp_path)


def test_a_longer_command_line_than_the_object_may_be(tmp_path):
    """Names of two megabytes make a job that can be opened again."""
    inputs = [f"corpus/{number:060d}.txt" for number in range(30_000)]
    made = create_job(tmp_path, job_of(inputs=inputs))
    assert open_job(tmp_path).job == made.job


def test_another_way_of_trying(tmp_path):
    """The job with other patience is the same job in the same store."""
    tried = []

    def steadily(what, action):
        tried.append(what)
        return action()

    job = create_job(tmp_path, job_of())
    patient = job.with_patience(steadily)
    assert (patient.job, patient.key, patient.place) == (job.job, job.key, job.place)
    assert patient.objects.read(names.JOB)
    assert tried == [f"read from {tmp_path}"]
