"""Samples of inputs of different shapes, against all of their rows."""

import csv
import gzip
import io
import json
import random
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from support.ragged_rows import ragged
from support.tokenizers import words
from tokenizers import normalizers

from producer.plan.sampling import line_frame, units
from producer.plan.sampling.sample import LONG_ROW_TOKENS, Sampler
from producer.plan.sampling.units import frames_of
from producer.sources.discovery import discover
from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches
from producer.sources.rows import BadRow
from producer.tokenization.tokenize import tokenize
from unrolled.format.positions import Positions
from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig
from unrolled.model.padding import Padding

MAX_LENGTH = 40
CONFIG = ModelConfig.stacked(3, MAX_LENGTH, num_lstm_units=1, num_lstm_layers=1, embedding_dim=1)


def sampler_of(*inputs, positions=None, config=CONFIG, tokenizer=None, **options):
    chosen = SourceOptions(**options)
    frames, left_out = frames_of(discover([str(each) for each in inputs], chosen).files, chosen)
    assert not left_out
    sizes = [file.size_bytes for file in discover([str(each) for each in inputs], chosen).files]
    return Sampler(frames, tokenizer or words(), config, sizes, special_tokens=True, positions=positions)


def facts_of(*inputs, **options):
    """The sums over all rows, as the producer reads them."""
    chosen = SourceOptions(**options)
    batches = read_batches(check_inputs([str(each) for each in inputs], chosen), chosen)
    rows = [row for batch in tokenize(batches, words(), 3) for row in batch]
    good = [row for row in rows if not isinstance(row, BadRow)]
    lengths = [int(np.count_nonzero(row.tokens)) for row in good]
    return {
        "rows": len(good),
        "quarantined": len(rows) - len(good),
        "id_bytes": sum(len(row.id.encode()) for row in good),
        "token_ids": sum(row.tokens.size for row in good),
        "tokens": sum(lengths),
        "empty": lengths.count(0),
        "longer": sum(length > MAX_LENGTH for length in lengths),
        "long_tokens": sum(length for length in lengths if length > LONG_ROW_TOKENS),
    }


def texts(count, *, seed=1, mean=12):
    """Texts of very different lengths."""
    rng = random.Random(seed)
    return [" ".join(rng.choices("ab", k=int(rng.expovariate(1 / mean)))) for _ in range(count)]


def write_texts(path, rows):
    """A file of rows in the format that its name says."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": rows}), path)
    else:
        content = as_jsonl(rows).encode()
        path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def as_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows((f"row {number}", text) for number, text in enumerate(rows))
    return path


def as_jsonl(rows):
    return "".join(json.dumps({"id": f"r{number}", "text": text}) + "\n" for number, text in enumerate(rows))


def one_file(folder):
    return write_lines(folder / "big.txt", texts(15_000))


def tiny_files(folder):
    for number in range(300):
        (folder / f"{number:04}.jsonl").write_text(as_jsonl(texts(20, seed=number)))
    return folder


def growing_rows(folder):
    """The rows at the end are ten times as long as those at the beginning."""
    lines = [text for part in range(40) for text in texts(500, seed=part, mean=3 + part)]
    return write_lines(folder / "growing.txt", lines)


def table(folder):
    path = folder / "rows.parquet"
    pq.write_table(pa.table({"text": texts(15_000)}), path, row_group_size=2_000)
    return path


def one_row_group(folder):
    """Long rows before short ones, in one row group, as pandas and Polars write it."""
    path = folder / "rows.parquet"
    pq.write_table(pa.table({"text": texts(10_000, mean=24) + texts(10_000, seed=2, mean=2)}), path)
    return path


def arrow(folder):
    path, rows = folder / "rows.arrow", pa.table({"text": texts(15_000)})
    with pa.ipc.new_file(str(path), rows.schema) as writer:
        writer.write_table(rows, max_chunksize=5_000)
    return path


def comma_separated(folder):
    return as_csv(folder / "rows.csv", texts(15_000))


def records_of_lines(folder):
    """CSV whose texts contain the ends of lines."""
    return as_csv(folder / "rows.csv", [text.replace("a b a", "a\nb\na") for text in texts(15_000)])


def zipped(folder):
    path = folder / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(as_jsonl(texts(15_000)).encode(), 1))
    return path


def zstandard_files(folder):
    for number in range(6):
        content = as_jsonl(texts(6_000, seed=number)).encode()
        (folder / f"{number}.jsonl.zst").write_bytes(zstandard.compress(content))
    return folder


def mixed(folder):
    """Plain, compressed and tabular inputs in one directory."""
    for make in (one_file, zipped, table):
        make(folder)
    return folder


SHAPES = [
    one_file, tiny_files, growing_rows, table, one_row_group, arrow, comma_separated, records_of_lines, zipped,
    zstandard_files, mixed,
]  # fmt: skip

#: Draws from inputs of which a draw is a large part.
DRAWS = {zipped: 3, zstandard_files: 4, records_of_lines: 3}


@pytest.fixture(scope="module", params=SHAPES, ids=lambda make: make.__name__)
def shape(request, tmp_path_factory):
    """The function that makes an input, the input's path, and its facts."""
    path = request.param(tmp_path_factory.mktemp("input"))
    return request.param, path, facts_of(path)


def test_a_whole_input_is_counted(shape):
    """With enough time every row is read, and every sum is the fact, to the last row."""
    _, path, facts = shape
    facts = dict(facts)
    sample = sampler_of(path).sample(60)
    assert sample.exact
    size_bytes = sum(file.size_bytes for file in discover([str(path)], SourceOptions()).files)
    assert sample.read_bytes == pytest.approx(size_bytes, rel=1e-3)  # row groups have whole numbers of bytes
    found = {name: sample.sums[name].value for name in facts}
    ids, fact = found.pop("id_bytes"), facts.pop("id_bytes")
    assert found == pytest.approx(facts)
    assert all(estimate.error == 0 for estimate in sample.sums.values())
    assert ids == pytest.approx(fact, rel=0.05)  # the number in an automatic id is guessed


def test_a_sample_is_near(monkeypatch, shape):
    """From a fifth of the input or so, tokens are within 10 %, and rows too or within what is said to be the error."""
    monkeypatch.setattr(line_frame, "PIECE_BYTES", 8 * 1024)
    monkeypatch.setattr(units, "_RAW_BYTES", 512)
    make, path, facts = shape
    sample = sampler_of(path, batch_rows=200).sample(0, least_draws=DRAWS.get(make, 16))
    assert not sample.exact
    for name in ("tokens", "token_ids"):
        assert sample.sums[name].value == pytest.approx(facts[name], rel=0.1), name
    # Ids that are numbered grow along a file.
    for name, share in (("rows", 0.1), ("id_bytes", 0.35)):
        found, error = sample.sums[name]
        assert abs(found - facts[name]) <= max(2 * error, share * facts[name]), name
    assert abs(sample.sums["tokens"].value - facts["tokens"]) <= 2 * sample.sums["tokens"].error


def test_the_rows_of_parquet_files_are_known(tmp_path):
    """Their footers say how many there are, however few are read, and however different the row groups are."""
    rows = texts(4_000, mean=60) + ["a"] * 6_000
    pq.write_table(pa.table({"text": rows}), tmp_path / "a.parquet", row_group_size=500)
    sample = sampler_of(tmp_path / "a.parquet", batch_rows=50).sample(0, least_draws=8)
    assert not sample.exact
    assert sample.sums["rows"] == (10_000, 0)
    assert sample.sums["automatic"].value == pytest.approx(10_000)


@pytest.mark.parametrize("unpacked", [True, False])
def test_one_huge_row(tmp_path, unpacked):
    """A row that is much longer than a piece counts once, and its tokens are counted by a part of it."""
    text = " ".join(random.Random(1).choices("ab", k=1_200_000))
    path = tmp_path / ("huge.txt" if unpacked else "huge.txt.gz")
    path.write_bytes(text.encode() if unpacked else gzip.compress(text.encode(), 1))
    sample = sampler_of(path).sample(60)
    assert sample.sums["rows"].value == pytest.approx(1)
    assert sample.sums["tokens"].value == pytest.approx(1_200_000, rel=0.01)
    assert sample.sums["long_tokens"].value == sample.sums["tokens"].value
    assert sample.long_rows[0].length == pytest.approx(1_200_000, rel=0.01)


@pytest.mark.parametrize("format", ["jsonl", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("known_first", [True, False])
def test_huge_rows_whose_beginning_is_unlike_the_rest(tmp_path, format, known_first):  # noqa: A002 - as above
    """They are read in all places where that is possible; a part's words may be cut, so nothing is called exact."""
    rng = random.Random(1)
    parts = [(rng.choices("ab", k=30_000), [f"other{rng.randrange(1000)}" for _ in range(60_000)]) for _ in range(4)]
    rows = [" ".join(known + other if known_first else other + known) for known, other in parts]
    path = write_texts(tmp_path / f"rows.{format}", rows)
    sample = sampler_of(path).sample(60)
    assert sample.sums["rows"].value == pytest.approx(4)
    assert sample.in_part
    is_read = format == "jsonl"
    assert not sample.exact
    assert sample.sums["tokens"].error == (0 if is_read else None)
    if is_read:
        assert sample.unknown_share == pytest.approx(2 / 3, abs=0.01)
        assert sample.sums["tokens"].value == pytest.approx(360_000, rel=0.001)
        assert sample.length_at(0.5, 1.0) == pytest.approx([90_000] * 2, rel=0.003)
    else:
        assert 0.1 < sample.read_bytes / path.stat().st_size < 0.4


def test_a_huge_row_in_a_small_part_of_the_input(tmp_path):
    """Nobody knows how its rest is."""
    small = write_lines(tmp_path / "small.txt", texts(100_000))
    text = " ".join(random.Random(1).choices("ab", k=400_000))
    (tmp_path / "huge.txt.gz").write_bytes(gzip.compress((text + "\n").encode(), 0))
    sample = sampler_of(small, tmp_path / "huge.txt.gz").sample(60)
    truth = facts_of(small)["tokens"] + 400_000
    assert sample.sums["tokens"] == (pytest.approx(truth, rel=0.001), None)
    assert sample.sums["partly_read"] == (pytest.approx(1), 0)
    assert not sample.exact


@pytest.mark.parametrize("format", ["txt", "txt.gz"])
def test_long_rows_that_a_model_perhaps_pads(tmp_path, format):  # noqa: A002 - as above
    """One of many rows; but nothing is known of most of the text."""
    rows = ["a b", "a" * 300_000 + " b", *["b a"] * 5000]
    content = "".join(f"{row}\n" for row in rows).encode()
    path = tmp_path / f"rows.{format}"
    path.write_bytes(gzip.compress(content) if format.endswith("gz") else content)
    sample = sampler_of(path, config=replace(CONFIG, padding=Padding(MAX_LENGTH))).sample(60)
    assert sample.sums["rows"] == (pytest.approx(5002), 0)
    assert sample.sums["partly_read"] == (pytest.approx(1), 0)
    assert sample.sums["tokens"] == (pytest.approx(10_004, rel=0.001), None if format.endswith("gz") else 0)
    assert not sample.exact


def test_a_bad_id_in_a_part_of_a_long_row(tmp_path):
    """The row goes to quarantine as a whole, though its other parts look good: it is said that it was read in parts."""
    ids = [[1] * 200_000 for _ in range(4)]
    for row in ids:
        row[150_000] = 99
    path = write_lines(tmp_path / "rows.jsonl", [json.dumps({"tokens": row}) for row in [*ids, *[[1, 2]] * 100]])
    sums = sampler_of(path).sample(60).sums
    assert sums["rows"].value + sums["quarantined"].value == pytest.approx(104)
    assert sums["quarantined"].value > 0
    assert sums["partly_read"] == (pytest.approx(4), 0)


@pytest.mark.parametrize("bad", [{"tokens": [99] * 100_000}, {"text": "a " * 200_000}])
def test_long_rows_that_are_bad_all_along(tmp_path, bad):
    """Of which each part is bad: ids of another vocabulary, and texts for a model that pads short rows."""
    path = write_lines(tmp_path / "rows.jsonl", [json.dumps(row) for row in [*[bad] * 5, *[{"text": "a b"}] * 100]])
    sums = sampler_of(path, config=replace(CONFIG, padding=Padding(MAX_LENGTH))).sample(60).sums
    for name, truth in (("rows", 100), ("quarantined", 5), ("tokens", 200), ("longer", 0)):
        assert sums[name] == (pytest.approx(truth), 0)


def test_long_rows_without_a_token(tmp_path):
    """They are empty; but blanks between words, however many, are no list of ids without an id."""
    tokenizer = words()
    tokenizer.normalizer = normalizers.Replace("?", "")
    path = write_lines(tmp_path / "rows.txt", ["? " * 200_000] * 6)
    sums = sampler_of(path, tokenizer=tokenizer).sample(60).sums
    for name, truth in (("rows", 6), ("empty", 6), ("longer", 0), ("tokens", 0)):
        assert sums[name] == (pytest.approx(truth), 0)
    path = write_texts(tmp_path / "rows.jsonl", [("a b " * 7000 + " " * 37_000) * 6] * 6)
    sums = sampler_of(path).sample(60).sums
    for name, truth in (("rows", 6), ("empty", 0), ("longer", 6), ("tokens", 504_000)):
        assert sums[name].value == pytest.approx(truth, rel=0.001)


def test_long_rows_of_one_token_and_blanks(tmp_path):
    """A row counts as a whole: its parts of blanks make no empty rows."""
    sums = sampler_of(write_texts(tmp_path / "rows.jsonl", ["a" + " " * 400_000 + "b"] * 6)).sample(60).sums
    for name, truth in (("rows", 6), ("empty", 0), ("longer", 0)):
        assert sums[name] == (pytest.approx(truth), 0)


def test_other_fields_of_a_long_row(tmp_path):
    """Their numbers are no token ids, and may make the row look bad: it is said that it was read in parts."""
    row = {"tokens": [1] * 60_000, "offsets": [[at, at + 4] for at in range(0, 300_000, 5)]}
    path = write_lines(tmp_path / "rows.jsonl", [json.dumps(row)] * 6)
    sums = sampler_of(path).sample(60).sums
    assert sums["rows"].value + sums["quarantined"].value == pytest.approx(6)
    assert sums["partly_read"] == (pytest.approx(6), 0)


@pytest.mark.parametrize("padded", [True, False])
def test_long_rows_of_exactly_the_longest_length(tmp_path, padded):
    """None is longer."""
    limit = 131_072
    ids = random.Random(1)  # of one digit or two, so that each part shows another length
    rows = [{"tokens": [ids.randrange(1, 21) for _ in range(limit)]} for _ in range(12)]
    path = write_lines(tmp_path / "rows.jsonl", map(json.dumps, rows))
    config = ModelConfig.stacked(20, limit, num_lstm_units=1, num_lstm_layers=1, embedding_dim=1)
    config = replace(config, padding=Padding(limit) if padded else None)
    sums = sampler_of(path, config=config).sample(60).sums
    for name, truth in (("rows", 12), ("quarantined", 0), ("longer", 0), ("tokens", 12 * limit)):
        assert sums[name] == (pytest.approx(truth), 0)


@pytest.mark.parametrize("padded", [True, False])
def test_long_rows_near_the_longest_length(tmp_path, padded):
    """Words become longer along the row, so each part shows another length, and all together the right one."""
    long_words = " ".join("x" * (40 + number // 50) for number in range(5_000))
    path = write_lines(tmp_path / "rows.txt", [*[long_words] * 12, *["a b"] * 3000])
    limit = 5_100
    config = replace(CONFIG, max_length=limit, padding=Padding(limit) if padded else None)
    sums = sampler_of(path, config=config).sample(60).sums
    for name, truth in (("rows", 3012), ("quarantined", 0), ("longer", 0)):
        assert sums[name].value == pytest.approx(truth)
    assert sums["tokens"].value == pytest.approx(66_000, rel=0.003)
    assert sums["partly_read"] == (pytest.approx(12), 0)


@pytest.mark.parametrize("format", ["jsonl", "jsonl.gz"])
def test_long_rows_are_longer_than_a_long_maximum(tmp_path, format):  # noqa: A002 - as above
    """Each part of plain lines has fewer tokens than it, and all together more."""
    config = replace(CONFIG, max_length=50_000)
    path = write_texts(tmp_path / f"rows.{format}", ["a " * 200_000] * 3)
    assert sampler_of(path, config=config).sample(60).sums["longer"].value == pytest.approx(3)


def test_what_is_left_out_may_be_too_little_to_matter(tmp_path, monkeypatch):
    """The errors that are shown are larger."""
    monkeypatch.setattr(units, "WHOLE_ROW_BYTES", 1000)
    monkeypatch.setattr(units, "PART_BYTES", 500)
    small = write_lines(tmp_path / "small.txt", texts(100_000))
    (tmp_path / "huge.txt.gz").write_bytes(gzip.compress(b"a " * 600))
    sample = sampler_of(small, tmp_path / "huge.txt.gz").sample(60)
    assert sample.sums["tokens"] == (pytest.approx(facts_of(small)["tokens"] + 600), 0)
    assert not sample.exact


@pytest.mark.parametrize("format", ["jsonl", "jsonl.gz", "parquet"])
def test_words_at_the_edges_of_parts_are_known(tmp_path, format):  # noqa: A002 - as above
    """A part of a word would be called unknown; but all fields of a part of JSON lines are taken for text."""
    path = write_texts(tmp_path / f"rows.{format}", [" ".join(["Alpha"] * 100_000), "alpha"])
    config = ModelConfig.stacked(4, MAX_LENGTH, num_lstm_units=1, num_lstm_layers=1, embedding_dim=1)
    sample = sampler_of(path, tokenizer=words(vocabulary={"Alpha": 4}), config=config).sample(60)
    assert sample.words > 10_000
    assert sample.unknown_share == pytest.approx((6 if format == "jsonl" else 1) / 100_001, rel=0.01)


@pytest.mark.parametrize("format", ["jsonl", "jsonl.gz", "parquet"])
def test_a_huge_row_whose_beginning_has_no_token(tmp_path, format):  # noqa: A002 - as above
    """It isn't empty, which is seen where all of its parts are read; else it is said that its beginning alone was."""
    path = write_texts(tmp_path / f"rows.{format}", ["? " * 200_000 + "a " * 200_000, "a"])
    tokenizer = words()
    tokenizer.normalizer = normalizers.Replace("?", "")
    sums = sampler_of(path, tokenizer=tokenizer).sample(60).sums
    read = int(format == "jsonl")
    for name, truth in (("rows", 2), ("partly_read", 1), ("empty", 1 - read), ("longer", read)):
        assert sums[name] == (pytest.approx(truth), 0)
    assert sums["tokens"].error == (0 if read else None)


@pytest.mark.parametrize("piece_bytes", [1, 7, 64 * 1024])
@pytest.mark.parametrize("before", [b"\n", b"\r\n\r\n", b"\xef\xbb\xbf\n", b"\xef\xbb\xbf", b""])
def test_blank_lines_before_the_header(tmp_path, monkeypatch, before, piece_bytes):
    """They are no header, as in a job."""
    monkeypatch.setattr(line_frame, "PIECE_BYTES", piece_bytes)
    path = tmp_path / "rows.csv"
    path.write_bytes(before + b"id,text\r\n1,a b\r\n\r\n2,a\r\n")
    sampler = sampler_of(path)
    sums = sampler.sample(60).sums
    assert sampler._frames[0].unread == {}
    assert (sums["rows"].value, sums["tokens"].value) == pytest.approx((2, 3))


@pytest.mark.parametrize("separator", [" ", "\n\n", "\t"])
@pytest.mark.parametrize("word", ["a", "Слово", '"b"', "\\"])
def test_a_huge_row_with_escapes(tmp_path, word, separator):
    """Its words are counted, and not what they are in JSON."""
    text = separator.join([word] * 200_000)
    path = write_lines(tmp_path / "rows.jsonl", [json.dumps({"text": text})])
    assert path.stat().st_size > 2**18
    assert sampler_of(path).sample(60).sums["tokens"].value == pytest.approx(200_000, rel=0.002)


@pytest.mark.parametrize("format", ["jsonl", "csv", "txt", "jsonl.gz", "parquet"])
def test_a_huge_row_of_ids_is_counted_exactly(tmp_path, format):  # noqa: A002 - the inputs' own word
    """Beside an id and other fields, and with numbers on the edges of the pieces."""
    random_ids = random.Random(1)
    ids = [[random_ids.choice((1, 2, 3)) * 10 ** random_ids.randrange(5) for _ in range(n)] for n in (9, 70_000, 5)]
    lines = {
        "jsonl": [json.dumps({"id": "a b", "tokens": row, "name": "c d"}) for row in ids],
        "csv": ["id,tokens", *(f'"a b","{" ".join(map(str, row))}"' for row in ids)],
        "txt": [" ".join(map(str, row)) for row in ids],
    }
    path = tmp_path / f"rows.{format}"
    if format in lines:
        write_lines(path, lines[format])
    elif format == "parquet":
        pq.write_table(pa.table({"tokens": ids}), path)
    else:
        path.write_bytes(gzip.compress("\n".join(lines["jsonl"]).encode()))
    config = ModelConfig.stacked(30_000, MAX_LENGTH, num_lstm_units=1, num_lstm_layers=1, embedding_dim=1)
    sample = sampler_of(path, config=config, kind="tokens" if format == "txt" else "auto").sample(60)
    assert sample.sums["rows"].value == pytest.approx(3)
    assert sample.sums["quarantined"].value == 0, sample.reasons
    assert sample.sums["tokens"].value == pytest.approx(70_014)


def test_a_huge_row_that_the_model_cannot_pad(tmp_path):
    """It is counted with the rows of the quarantine, also if a part of it alone is tokenized, which isn't too long."""
    path = write_lines(tmp_path / "rows.txt", ["a b", "a " * 300_000, "b"])
    config = replace(CONFIG, max_length=200_000, padding=Padding(200_000))
    sample = sampler_of(path, config=config).sample(60)
    assert sample.sums["quarantined"].value == pytest.approx(1)
    assert sample.sums["tokens"].value == pytest.approx(3)
    assert "the row has 300,0" in sample.reasons[0]


def test_a_huge_row_of_vectors(tmp_path):
    """It is read as a whole, because its numbers don't say how many vectors there are."""
    rows = [{"id": str(n), "vectors": [[0.25, -1.5]] * n} for n in (3, 40_000, 2)]
    path = write_lines(tmp_path / "rows.jsonl", map(json.dumps, rows))
    config = ModelConfig(0, MAX_LENGTH, None, (LayerConfig(1),), vector_dim=2)
    sample = sampler_of(path, config=config, kind="vectors").sample(60)
    assert sample.sums["quarantined"].value == 0, sample.reasons
    assert sample.sums["tokens"].value == pytest.approx(40_005)


def test_a_huge_row_among_many_is_seen(tmp_path):
    """Each byte has the same chance, so a row of half of all bytes is half of what is seen."""
    rows = texts(40_000)
    rows.insert(10_000, " ".join(random.Random(1).choices("ab", k=480_000)))
    path = write_lines(tmp_path / "rows.txt", rows)
    sample, facts = sampler_of(path).sample(0, least_draws=12), facts_of(path)
    assert not sample.exact
    assert sample.sums["tokens"].value == pytest.approx(facts["tokens"], rel=0.05)
    assert sample.sums["rows"].value == pytest.approx(facts["rows"], rel=0.4)
    assert sample.sums["long_tokens"].value == pytest.approx(facts["long_tokens"], rel=0.3)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("pairs", [60_000, 200_000, 1_500_000])
def test_rows_that_are_too_long_are_no_good_rows(tmp_path, pairs, end):
    """One counts once, wherever in it pieces begin, with its length."""
    path = tmp_path / "rows.txt"
    path.write_text(end.join(["a b"] * 20_000 + ["a " * pairs] + ["a b"] * 30_000), newline="")
    sample = sampler_of(path, max_row_bytes=100_000).sample(60)
    assert sample.exact
    assert sample.sums["rows"].value == pytest.approx(50_000)
    assert sample.sums["quarantined"].value == pytest.approx(1)
    assert sample.reasons == [f"{path}: line of {2 * pairs} bytes; allowed: 100000 (--max-row-bytes)"]


def test_a_row_that_is_too_long_may_be_the_last(tmp_path):
    """It has no line end."""
    path = tmp_path / "rows.txt"
    path.write_text("a b\n" + "a " * 200_000)
    sample = sampler_of(path, max_row_bytes=1_000).sample(60)
    assert sample.sums["quarantined"].value == pytest.approx(1)
    assert sample.reasons == [f"{path}: line of 400000 bytes; allowed: 1000 (--max-row-bytes)"]


def test_bad_rows_are_counted_with_their_reasons(tmp_path):
    """A reason of each kind is kept, whatever numbers are in it."""
    lines = [json.dumps({"text": "a b"}) if number % 4 else "{" for number in range(1_000)]
    sample = sampler_of(write_lines(tmp_path / "rows.jsonl", lines)).sample(60)
    assert (sample.sums["rows"].value, sample.sums["quarantined"].value) == (750, 250)
    assert len(sample.reasons) == 1


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_rows_that_hardly_take_bytes(tmp_path, compress):
    """Of a file that unpacks to thousands of times its size, most rows come when all of it has been read."""
    path = tmp_path / ("rows.txt.gz" if compress is gzip.compress else "rows.txt.zst")
    path.write_bytes(compress(b"a b a b a b a b\n" * 20_000) * 3)
    assert path.stat().st_size < 5_000
    sample = sampler_of(path).sample(60)
    assert (sample.sums["rows"].value, sample.sums["tokens"].value) == (60_000, 480_000)


@pytest.mark.parametrize("tokens", [5, 1.5, None, True, "1 2", {str(number): 1 for number in range(20_000)}])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_tokens_that_are_no_list(tmp_path, name, tokens):
    """They make a bad row, also in a compressed file."""
    content = "".join(json.dumps({"tokens": each}) + "\n" for each in ([1, 2], tokens)).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    sample = sampler_of(tmp_path / name).sample(60)
    assert (sample.sums["rows"].value, sample.sums["quarantined"].value) == pytest.approx((1, 1))


def test_damage_in_the_middle_is_reported(tmp_path):
    """What comes before it is counted."""
    path = tmp_path / "rows.txt.gz"
    path.write_bytes(gzip.compress("\n".join(texts(15_000)).encode())[:-20_000])
    sampler = sampler_of(path)
    sample = sampler.sample(60)
    assert sample.sums["rows"].value > 1_000
    (frame,) = sampler._frames
    assert "truncated" in frame.unread[str(path)]


def test_rows_that_follow_each_other(tmp_path):
    """A pool's rows come from inside the input, each once and whole, in order."""
    lines = [f"a b {'a ' * (number % 7)}" for number in range(60_000)]
    path = write_lines(tmp_path / "rows.txt", lines)
    run = sampler_of(path).run(100_000, 60)
    lengths = [row.tokens.size for row in run]
    assert 100_000 <= sum(lengths) < 100_100
    expected = [2 + number % 7 for number in range(60_000)]
    first = next(at for at in range(60_000) if expected[at : at + 50] == lengths[:50])
    assert lengths == expected[first : first + len(lengths)]


def test_a_run_of_a_small_input_is_all_of_it(tmp_path):
    """Each row comes once."""
    path = write_lines(tmp_path / "rows.txt", ["a", "b b", "a a a"])
    assert sorted(row.tokens.size for row in sampler_of(path).run(1_000, 60)) == [1, 2, 3]


def test_token_ids_need_no_tokenizer(tmp_path):
    """Zeros are padding: they are ids, and no tokens."""
    content = io.StringIO()
    for _ in range(100):
        content.write(json.dumps({"tokens": [1, 0, 2]}) + "\n")
    (tmp_path / "rows.jsonl").write_text(content.getvalue())
    sample = sampler_of(tmp_path / "rows.jsonl").sample(60)
    assert (sample.sums["tokens"].value, sample.sums["token_ids"].value) == (200, 300)
    assert sample.length_at(0.5) == [2]


@pytest.mark.parametrize(
    "rule", [Positions("every", 5), Positions("last", 3), Positions("word-ends", blanks=(2,), direction="forward")]
)
def test_vectors_at_some_positions(tmp_path, rule):
    """As many as the writer of parts writes, and rows without one."""
    rows = texts(500)
    path = write_lines(tmp_path / "rows.txt", rows)
    sums = sampler_of(path, positions=rule).sample(60).sums
    chosen = [int(rule.chosen(ragged([[1 if word == "a" else 2 for word in row.split()]])).sum()) for row in rows]
    assert (sums["vectors"].value, sums["bare"].value) == pytest.approx((sum(chosen), chosen.count(0)))


def test_vectors_have_numbers(tmp_path):
    """Equal vectors have one number in all rows, so that a plan sees what rows share; padding has 0."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"vectors": [[1, 2], [0, 0], [3, 4]]}\n{"vectors": [[3, 4], [1, 2]]}\n{"vectors": [[1]]}\n')
    config = ModelConfig(0, MAX_LENGTH, None, CONFIG.layers, vector_dim=2, mask_value=0.0)
    sampler = sampler_of(path, config=config, kind="vectors")
    first, second = sampler.run(1_000, 60)
    assert first.tokens.tolist()[1:2] == [0]
    assert first.tokens[[2, 0]].tolist() == second.tokens.tolist()
    assert len(set(first.tokens.tolist())) == 3
    sums = sampler.sample(60).sums
    assert (sums["rows"].value, sums["tokens"].value, sums["quarantined"].value) == (2, 4, 1)
