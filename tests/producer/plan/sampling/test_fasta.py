"""FASTA files in pieces: a record begins at a header, wherever a piece begins."""

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from producer.plan.sampling import line_frame
from producer.plan.sampling.sample import Sampler
from producer.plan.sampling.units import frames_of
from producer.sources.discovery import discover
from producer.sources.options import SourceOptions
from producer.sources.reading import InputPlan, read_batches
from producer.sources.rows import BadRow
from producer.tokenization.tokenize import tokenize
from unrolled.model.config import ModelConfig
from unrolled.tokenization.characters import build

CONFIG = ModelConfig.stacked(30, 40, num_lstm_units=1, num_lstm_layers=1, embedding_dim=1)


LETTERS = build({letter: number for number, letter in enumerate("ACDEFGHIKLMNPQRSTVWY", 2)}, 1)


def sampler_of(path, **options):
    chosen = SourceOptions(**options)
    files = discover([str(path)], chosen).files
    frames, _ = frames_of(files, chosen)
    return Sampler(frames, LETTERS, CONFIG, [file.size_bytes for file in files], special_tokens=True)


def facts_of(path, **options):
    """The sums over all rows, as a job reads them."""
    chosen = SourceOptions(**options)
    # Not `check_inputs`, which refuses some: what a sample makes of those is looked at, too.
    plan = InputPlan(tuple(discover([str(path)], chosen).files), (), None, None)
    rows = [row for batch in tokenize(read_batches(plan, chosen), LETTERS, 30) for row in batch]
    lengths = [int(np.count_nonzero(row.tokens)) for row in rows if not isinstance(row, BadRow)]
    return {
        "rows": len(lengths),
        "quarantined": len(rows) - len(lengths),
        "tokens": sum(lengths),
        "empty": lengths.count(0),
    }


def counted(sample, facts):
    return {name: sample.sums[name].value for name in facts}


lines = st.lists(
    st.one_of(
        st.sampled_from([b">a", b">b described", b">", b">>", b";x", b"", b"\r", b">d\re", b"AC>d", b"\xff", b" >e"]),
        st.text("ACDEFGHIK*", max_size=30).map(str.encode),
    ),
    max_size=14,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines, st.sampled_from([b"\n", b"\r\n"]), st.integers(1, 40), st.sampled_from([6, 10**6]))
@example([b">a", b"ACD", b">b", b"EF"], b"\n", 7, 10**6)  # a piece ends between a line's end and a header
def test_every_piece_is_counted_once(tmp_path, monkeypatch, given_lines, end, piece_bytes, limit):
    """However small the pieces are, their sums are those of a job."""
    monkeypatch.setattr(line_frame, "PIECE_BYTES", piece_bytes)
    monkeypatch.setattr(line_frame, "_BLOCK_BYTES", 3)
    path = tmp_path / "a.fa"
    path.write_bytes(end.join(given_lines))
    facts = facts_of(path, max_row_bytes=limit)
    sample = sampler_of(path, max_row_bytes=limit).sample(60)
    assert sample.exact
    assert counted(sample, facts) == pytest.approx(facts, abs=1e-6)


@pytest.fixture
def proteins(tmp_path, monkeypatch):
    """The path of proteins of very different lengths, one of them of many pieces, on lines of 60 letters."""
    monkeypatch.setattr(line_frame, "PIECE_BYTES", 8 * 1024)
    monkeypatch.setattr(line_frame, "WHOLE_ROW_BYTES", 16 * 1024)
    monkeypatch.setattr(line_frame, "PART_BYTES", 2 * 1024)
    rng, path = random.Random(1), tmp_path / "a.fasta"
    with path.open("w") as file:
        for number in range(900):
            length = 100_000 if number == 300 else int(rng.expovariate(1 / 150))
            sequence = "".join(rng.choices("ACDEFGHIKLMNPQRSTVWY", k=length))
            wrapped = "\n".join(sequence[at : at + 60] for at in range(0, length, 60))
            file.write(f">sp|P{number}|X described\n{wrapped}\n")
    return path


@pytest.mark.parametrize("limit", [2**24, 100_000, 99_999, 80_000, 3_000])
def test_a_long_record(proteins, limit):
    """It is counted once, by a part of it, and is bad exactly where a job says so: the ends of lines don't count."""
    facts, sample = facts_of(proteins, max_row_bytes=limit), sampler_of(proteins, max_row_bytes=limit).sample(60)
    assert facts["quarantined"] == (limit < 100_000)
    found = counted(sample, facts)
    assert found == pytest.approx(facts | {"tokens": found["tokens"]})
    assert found["tokens"] == pytest.approx(facts["tokens"], rel=0.002)
    size = "100000" if limit > 3_000 else "about 101688"
    reason = f"{proteins}: sequence of {size} bytes; allowed: {limit} (--max-row-bytes)"
    assert sample.reasons == [reason] * (limit < 100_000)


def test_a_sample_is_near(proteins):
    """Some pieces say how many rows and tokens there are."""
    facts, sample = facts_of(proteins), sampler_of(proteins).sample(0, least_draws=16)
    assert not sample.exact
    assert sample.sums["tokens"].value == pytest.approx(facts["tokens"], rel=0.1)
    found, error = sample.sums["rows"]
    assert abs(found - facts["rows"]) <= 2 * error


def test_rows_that_follow_each_other(proteins):
    """A pool's rows are whole records from inside the file."""
    rows = sampler_of(proteins).run(2_000, 60)
    numbers = [int(row.id[4:-2]) for row in rows]
    assert numbers == list(range(numbers[0], numbers[0] + len(rows)))
    assert numbers[0] > 0
