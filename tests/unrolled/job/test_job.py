"""What makes a job this job and no other."""

import json
from dataclasses import replace

import pytest

from unrolled.errors import JobError
from unrolled.job.inputs import FEW_NAMES, LONG_NAME, Inputs
from unrolled.job.job import MOST_BYTES, Job

JOB = Job("ab" * 32, Inputs.named(["a.txt", "b.txt"]), "fused", "float32", live=False, options={"shard_tokens": 100})
KEY = "0123456789abcdef"


def test_what_is_written_is_read():
    """With the key that it was given."""
    assert Job.decode("job.json", JOB.encode(KEY)) == (JOB, KEY)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fingerprint": "cd" * 32}, "another model"),
        (
            {"inputs": Inputs.named(["a.txt"])},
            "other inputs (a.txt, b.txt; this command asks for a.txt; names are relative to the working directory)",
        ),
        ({"engine": "tensorflow"}, 'engine is "fused"; this command asks for "tensorflow"'),
        ({"arithmetic": "bfloat16"}, 'arithmetic is "float32"; this command asks for "bfloat16"'),
        ({"live": True}, "live is false; this command asks for true"),
        ({"options": {"shard_tokens": 200}}, "shard_tokens is 100; this command asks for 200"),
        ({"options": {}}, "shard_tokens is 100; this command asks for null"),
        ({"options": {"shard_tokens": 100, "layers": [0]}}, "layers is last; this command asks for [0]"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_everything_is_in_the_id(changes, said):
    """Whatever differs makes another job, and is named."""
    other = replace(JOB, **changes)
    assert other.id != JOB.id
    assert said in JOB.differences(other)
    assert JOB.differences(replace(JOB)) == ""


def test_sizes_that_follow_from_other_options_are_not_named():
    """Most users don't give them; where nothing else differs, they do."""
    other = replace(JOB, options={"shard_tokens": 200, "shard_rows": 3, "pooling": ["mean"]})
    assert JOB.differences(other) == 'other options (pooling is null; this command asks for ["mean"])'


def test_a_stream_is_told_of_once():
    """By the option that the user gave."""
    stream = replace(JOB, live=True, options=JOB.options | {"follow": True})
    other = replace(JOB, options=JOB.options | {"follow": False})
    assert stream.differences(other) == "other options (follow is true; this command asks for false)"


def test_a_million_names_make_a_small_object():
    """They are in the digest; the first few are kept for people."""
    names = [f"{'x' * 400}{number}" for number in range(100_000)]
    job = replace(JOB, inputs=Inputs.named(names))
    content = job.encode(KEY)
    assert len(content) < 10_000 < MOST_BYTES
    assert Job.decode("job.json", content)[0] == job
    assert (len(job.inputs.first), len(job.inputs.first[0])) == (FEW_NAMES, LONG_NAME)
    assert replace(JOB, inputs=Inputs.named([*names[:-1], "other"])).id != job.id


def changed(**values):
    content = json.loads(JOB.encode(KEY)) | values
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"describes no job \(it isn't JSON: Expecting value"),
        (b"[]", r"describes no job \(it isn't a JSON object, or a value in it is of the wrong kind\)"),
        (b"{}", r"describes no job \(it has no 'format_version'\)"),
        (b"[" * 100_000, "describes no job"),
        (b" " * (MOST_BYTES + 1), "at most 1,048,576"),
        (changed(format_version=1), "format version 1; this release reads 4"),
        (changed(live=True), "was changed since it was written"),
        (changed(id=3), "was changed since it was written"),
        (changed(fingerprint="../x"), "describes no job"),
        (changed(engine="magic"), "allowed: fused, tensorflow"),
        (changed(arithmetic=["float32"]), "allowed: float32, bfloat16"),
        (changed(key="x"), "describes no job"),
        (changed(options=3), "describes no job"),
        (changed(inputs=None), "describes no job"),
    ],
)
def test_what_is_no_job_is_refused(content, reason):
    """The text names the object, what was found, and what to do."""
    with pytest.raises(JobError, match=reason) as refused:
        Job.decode("OUT/_unrolled/job.json", content)
    assert "OUT/_unrolled/job.json" in str(refused.value)


def test_a_queue_is_of_one_model_engine_and_arithmetic():
    """A worker never meets a job that it would compute otherwise."""
    others = [
        replace(JOB, **one)
        for one in ({"fingerprint": "cd" * 32}, {"engine": "tensorflow"}, {"arithmetic": "bfloat16"})
    ]
    assert len({job.offer for job in (JOB, *others)}) == 4
    assert replace(JOB, options={}).offer == JOB.offer
