"""Inputs that are sampled in different ways."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.bucket_server import bucket_server

from producer.plan.sampling import units
from producer.plan.sampling.line_frame import LineFrame
from producer.plan.sampling.unit_frame import UnitFrame
from producer.plan.sampling.units import frames_of
from producer.sources.discovery import discover
from producer.sources.options import SourceOptions
from unrolled.store.cloud import objects


def fill(folder):
    (folder / "a.txt").write_text("a b\n" * 5_000)
    (folder / "b.txt.gz").write_bytes(gzip.compress(b"a b\n" * 5_000))
    pq.write_table(pa.table({"text": ["a b"] * 5_000}), folder / "c.parquet", row_group_size=1_000)
    (folder / "empty.txt").write_bytes(b"")


def frames_in(place):
    return frames_of(discover([str(place)], SourceOptions()).files, SourceOptions())


def rows_of(frame):
    return sum(seen.share for piece in frame.pieces() for seen in piece.rows)


def test_inputs_are_sampled_by_what_they_are(tmp_path):
    """Plain files anywhere, compressed ones from their start, tables by row group."""
    fill(tmp_path)
    (plain, streams, tables), left_out = frames_in(tmp_path)
    assert isinstance(plain, LineFrame)
    assert isinstance(streams, UnitFrame)
    assert (plain.from_the_start, streams.from_the_start, tables.from_the_start) == (False, True, False)
    assert [round(rows_of(frame)) for frame in (plain, streams, tables)] == [5_000] * 3
    assert left_out == []


@pytest.mark.parametrize("held_bytes", [1, 20_000, 10**9])
def test_a_row_group_is_drawn_in_pieces_that_are_spread_over_it(tmp_path, monkeypatch, held_bytes):
    """Each row is drawn once, however few may be in memory; the first pieces are from all over."""
    monkeypatch.setattr(units, "_LEAST_HELD_BYTES", held_bytes)
    monkeypatch.setattr(units, "_HELD_BYTES", held_bytes)
    path, options = tmp_path / "a.parquet", SourceOptions(batch_rows=100)
    pq.write_table(pa.table({"text": [f"{number:08}" for number in range(5_050)]}), path)
    (frame,), _ = frames_of(discover([str(path)], options).files, options)
    drawn = [[int(seen.row.text) for seen in piece.rows] for piece in frame.pieces() if not piece.repeated]
    assert sorted(number for piece in drawn for number in piece) == list(range(5_050))
    assert frame.unread == {}
    if held_bytes > 1:
        assert {piece[0] // 1_263 for piece in drawn[:8]} == {0, 1, 2, 3}
    assert [seen.row.text for piece in frame.consecutive() for seen in piece.rows][:2] == ["00000000", "00000001"]


def test_row_groups_that_are_too_large_for_a_look_at_all_of_them(tmp_path, monkeypatch):
    """They are read from their start, as compressed files are, and counted as such."""
    monkeypatch.setattr(units, "_MOST_SCANNED_BYTES", 10)
    fill(tmp_path)
    frames, _ = frames_in(tmp_path / "c.parquet")
    assert [(frame.from_the_start, round(rows_of(frame))) for frame in frames] == [(True, 5_000)]


def test_in_a_bucket_it_is_the_same(tmp_path, monkeypatch):
    """Pieces of an object are ranges of it."""
    with bucket_server(tmp_path / "buckets") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(objects, "_RETRIES", {"max_retries": 0})
        server.new_bucket("inputs")
        fill(server.directory / "inputs")
        frames, left_out = frames_in("s3://inputs")
        assert [round(rows_of(frame)) for frame in frames] == [5_000] * 3
        assert left_out == []


def test_large_compressed_tables_are_left_out(tmp_path, monkeypatch):
    """They would have to be unpacked as a whole; smaller ones are."""
    fill(tmp_path)
    (tmp_path / "d.parquet.gz").write_bytes(gzip.compress((tmp_path / "c.parquet").read_bytes()))
    frames, left_out = frames_in(tmp_path / "d.parquet.gz")
    assert ([round(rows_of(frame)) for frame in frames], left_out) == ([5_000], [])
    monkeypatch.setattr(units, "_MOST_SPOOLED_BYTES", 10)
    frames, left_out = frames_in(tmp_path)
    assert len(frames) == 3
    assert left_out == [str(tmp_path / "d.parquet.gz")]


@pytest.mark.parametrize("name", ["b.txt.gz", "c.parquet"])
def test_a_damaged_input_says_why(tmp_path, name):
    """And doesn't end the sample of the others."""
    fill(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
    frames, _ = frames_in(tmp_path)
    for frame in frames:
        rows_of(frame)
    (label,) = {label for frame in frames for label in frame.unread}
    assert label == str(tmp_path / name)
