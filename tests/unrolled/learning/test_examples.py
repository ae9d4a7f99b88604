"""A job's rows as examples to learn from."""

import datetime as dt
import importlib
import re
import sys
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.jobs import finished_job
from support.random_parts import write_part

import unrolled
from unrolled import Examples
from unrolled.format.columns import POOLINGS, VectorColumn


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Thirty parts of four rows."""
    out = tmp_path_factory.mktemp("out")
    finished_job(out, shards=30)
    return unrolled.open(out)


@pytest.fixture(scope="module")
def rows(dataset):
    """The rows with a token, by id."""
    return {row.id: row for row in dataset if row.length}


def ids(examples):
    return [example.id for example in examples]


def test_every_row_in_order(dataset, rows):
    """Without a seed, in the order of the job; the vectors are those of the rows."""
    found = list(Examples(dataset=dataset))
    assert ids(found) == list(rows)
    for example in found:
        np.testing.assert_array_equal(example.vectors, rows[example.id].outputs)
        assert example.label is None
    for example in Examples(dataset=dataset, column="max"):
        np.testing.assert_array_equal(example.vectors, rows[example.id].outputs.max(axis=0))


def test_every_epoch_has_another_order(dataset, rows):
    """The same rows, once each; the same seed and epoch give the same order."""
    examples = Examples(dataset=dataset, seed=1)
    orders = [ids(examples.of_epoch(epoch)) for epoch in range(3)]
    assert len(set(map(tuple, orders))) == 3
    assert all(sorted(order) == sorted(rows) for order in orders)
    assert ids(examples.of_epoch(2)) == orders[2]
    assert ids(Examples(dataset=dataset, seed=2)) != orders[0]
    group = {name: int(name.split("#")[1]) // 4 for name in rows}
    assert any(group[a] != group[b] for a, b in zip(orders[0][:8], orders[0][1:8], strict=False))  # parts are mixed


@settings(max_examples=15)
@given(cut=st.floats(0.01, 0.99), workers=st.integers(1, 5), more=st.integers(1, 3))
def test_shares_and_workers_divide_the_rows(dataset, rows, cut, workers, more):
    """Every row is in exactly one share, and goes to exactly one worker's worker."""
    whole = Examples(dataset=dataset, column="mean", seed=3)
    parts = [Examples(dataset=dataset, column="mean", seed=3, share=share) for share in ((0, cut), (cut, 1))]
    assert sorted(ids(parts[0]) + ids(parts[1])) == sorted(rows)
    assert [len(part) for part in parts] == [len(ids(part)) for part in parts]
    mine = [ids(whole.of_worker(a, workers).of_worker(b, more)) for a in range(workers) for b in range(more)]
    assert sorted(name for each in mine for name in each) == sorted(rows)
    assert [len(whole.of_worker(a, workers)) for a in range(workers)] == [
        len(ids(whole.of_worker(a, workers))) for a in range(workers)
    ]


@pytest.mark.parametrize("wrong", [-1, 0.5, "0", None, True])
def test_workers_and_epochs_are_whole_numbers(dataset, wrong):
    """They are refused where they are given, and not by the first batch."""
    examples = Examples(dataset=dataset, seed=1)
    with pytest.raises(ValueError, match=r"epoch is .*; allowed: a whole number from 0"):
        examples.of_epoch(wrong)
    for worker, workers in ((wrong, 2), (0, wrong)):
        with pytest.raises(ValueError, match=r"worker is .*; allowed: 0 to workers - 1"):
            examples.of_worker(worker, workers)


@pytest.mark.parametrize("seed", [None, 1])
def test_workers_have_equally_many_rows(tmp_path, seed):
    """Of row groups of any sizes, even where there are more workers than row groups."""
    for shard, count in enumerate((17, 1, 40)):
        write_part(tmp_path, shard, [f"{shard}.{row}" for row in range(count)], np.full(count, 2), 3)
    examples = Examples(unrolled.open(tmp_path), seed=seed)
    for workers in (2, 3, 7):
        shares = [ids(examples.of_worker(worker, workers)) for worker in range(workers)]
        assert {len(share) for share in shares} <= {58 // workers, 58 // workers + 1}
        together = [name for share in shares for name in share]
        assert sorted(together) == sorted(ids(examples))
        assert seed is not None or together == ids(examples)


def test_shares_are_as_large_as_they_say(dataset, rows):
    """About: a place is a hash."""
    assert 0.5 < len(ids(Examples(dataset=dataset, share=(0, 0.7)))) / len(rows) < 0.9


@pytest.mark.parametrize("length", [0, 12, 109, 187, 311, 584])
def test_shares_are_as_large_as_they_say_of_ids_that_count_up(tmp_path, length):
    """Whatever is before the counter: a number of places at random, within five standard deviations."""
    names = [f"{'corpus/' * 90:.{length}}{number:03}" for number in range(1000)]
    write_part(tmp_path, 0, names, np.ones(1000, np.int64), 3)
    dataset = unrolled.open(tmp_path)
    for cut in np.arange(0.1, 1, 0.1).tolist():
        assert abs(len(Examples(dataset, share=(0, cut))) - 1000 * cut) < 5 * (1000 * cut * (1 - cut)) ** 0.5


@pytest.mark.parametrize("group_rows", [1, 5, 8, 1000])
def test_rows_of_one_length_come_together(dataset, rows, group_rows):
    """Every row once an epoch, in groups whose lengths differ little; another order in each epoch."""
    examples = Examples(dataset=dataset, seed=1, group_rows=group_rows)
    orders = [ids(examples.of_epoch(epoch)) for epoch in range(2)]
    assert [sorted(order) for order in orders] == [sorted(rows)] * 2
    assert orders[0] == ids(examples)
    if group_rows < len(rows):
        assert orders[0] != orders[1]
        assert orders[0] != sorted(orders[0], key=lambda name: rows[name].length)
    for example in examples:
        np.testing.assert_array_equal(example.vectors, rows[example.id].outputs)
    places = {
        each: sum(batch.mask.size for batch in Examples(dataset=dataset, seed=1, group_rows=each).batches(5))
        for each in (0, 5)
    }
    tokens = sum(row.length for row in rows.values())
    assert places[5] - tokens < 0.7 * (places[0] - tokens)


def batch_spread(examples, rows):
    """The mean of the differences between the longest and the shortest row of a batch."""
    return np.mean([np.ptp(batch.mask.sum(axis=1)) for batch in examples.batches(rows)])


@pytest.fixture(scope="module")
def small_parts(tmp_path_factory):
    """300 rows of lengths from 1 to 60 in 100 parts, as small as those of a stream."""
    out = tmp_path_factory.mktemp("small")
    lengths = np.random.default_rng(0).integers(1, 61, (100, 3))
    for shard in range(100):
        write_part(out, shard, [f"{shard}.{row}" for row in range(3)], lengths[shard], 3)
    return unrolled.open(out)


@pytest.mark.parametrize("share", [(0, 1), (0, 0.3)])
def test_rows_of_small_row_groups_come_together(small_parts, share):
    """They are mixed until there are many groups: also those of a small share, of which the others aren't kept."""
    examples = Examples(small_parts, seed=1, group_rows=5, share=share)
    assert batch_spread(examples, 5) < 0.2 * batch_spread(Examples(small_parts, seed=1, share=share), 5)
    by_id = {row.id: row.outputs for row in small_parts}
    for example in examples:
        np.testing.assert_array_equal(example.vectors, by_id[example.id])
    means = Examples(small_parts, column="mean", seed=1, share=share)
    assert sorted(ids(means)) == sorted(ids(examples))
    for example in means:
        np.testing.assert_allclose(example.vectors, by_id[example.id].mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("column", ["outputs", "mean"])
def test_not_more_is_mixed_than_was_read(small_parts, monkeypatch, column):
    """The bytes that are read for a mixture are those of its tokens, whatever is made of them; rows take some, too."""
    sizes = []
    mixtures = Examples._mixtures
    module = importlib.import_module("unrolled.learning.examples")
    monkeypatch.setattr(module, "_MIXED_BYTES", 10_000)
    monkeypatch.setattr(module, "_FEWEST", 0)
    monkeypatch.setattr(module, "_ID_BYTES", 0)
    monkeypatch.setattr(module, "_EXAMPLE_BYTES", 0)

    def seen(examples):
        for rows in mixtures(examples):
            sizes.append([one.read_bytes for one in rows])
            yield rows

    monkeypatch.setattr(Examples, "_mixtures", seen)
    assert len(ids(Examples(small_parts, column=column, seed=1))) == 300
    assert [sum(each) >= 10_000 for each in sizes[:-1]] == [True] * (len(sizes) - 1)
    assert all(sum(each[:-1]) < 10_000 for each in sizes)
    assert sum(map(sum, sizes)) == small_parts.tokens * 3 * 4
    sizes.clear()
    monkeypatch.setattr(module, "_EXAMPLE_BYTES", 2_000)
    assert len(ids(Examples(small_parts, column=column, seed=1))) == 300
    assert {len(each) for each in sizes} <= {1, 2}


LABELS = {"mapping": dict, "arrow": lambda m: pa.table({"i": [*m], "l": [*m.values()]}),
          "polars": lambda m: pl.DataFrame({"i": [*m], "l": [*m.values()]}),
          "series": pd.Series,
          "pandas": lambda m: pd.DataFrame({"i": [*m], "l": [*m.values()]})[::-1]}  # fmt: skip


@pytest.mark.parametrize("kind", LABELS)
def test_labels_are_joined_by_id(dataset, rows, kind):
    """Rows without a label are left out."""
    labels = {name: number % 3 for number, name in enumerate(rows) if number % 5}
    found = list(Examples(dataset=dataset, labels=LABELS[kind](labels)))
    assert {example.id: example.label for example in found} == labels


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA])
@pytest.mark.parametrize("kind", ["mapping", "series", "pandas"])
def test_a_missing_label_is_none(dataset, rows, kind, missing):
    """A null or NaN among the labels, be they texts or numbers: its row is left out."""
    first, second, third, *_ = rows
    for label in ("x", 0):
        given = LABELS[kind]({first: missing, second: label, third: label})
        examples = Examples(dataset=dataset, labels=given)
        assert examples.classes == (("x",) if label == "x" else ())
        assert {example.id: example.label for example in examples} == {second: 0, third: 0}


NUMBERED = {
    "mapping": dict,
    "numpy": lambda m: dict(zip(np.array([*m]), m.values(), strict=True)),
    "arrow": lambda m: pa.table({"i": pa.array(m, pa.uint16()), "l": [*m.values()]}),
} | {kind: LABELS[kind] for kind in ("polars", "series", "pandas")}


@pytest.mark.parametrize("kind", NUMBERED)
def test_ids_that_are_numbers(tmp_path, kind):
    """An id 5 of a table is the id "5" of the job."""
    write_part(tmp_path, 0, ["5", "70", "6"], np.array([1, 2, 1]), 3)
    examples = Examples(dataset=unrolled.open(tmp_path), labels=NUMBERED[kind]({5: "a", 6: "b"}))
    assert [(example.id, example.label) for example in examples] == [("5", 0), ("6", 1)]
    assert len(examples) == 2


def test_labels_of_other_ids(dataset, rows):
    """No row has one: the error shows ids of both sides. Where one row has one, the others are left out."""
    *_, last = rows
    there = next(iter(dataset)).id[:-3]
    for labels, found in (
        (pd.Series({5: 0}), "5 (int64)"),
        ({5.0: 0}, "5.0 (float)"),
        ({"x": 0}, "'x' (str)"),
        (pa.table({"i": ["x"], "l": ["a"]}), "'x' (string)"),
    ):
        message = f"no row has a label: labels have ids like {found}; the job has ids like '{there}"
        with pytest.raises(ValueError, match=re.escape(message)):
            Examples(dataset=dataset, labels=labels)
    assert ids(Examples(dataset=dataset, labels={"x": 0, last: 1})) == [last]


def test_ids_are_looked_at_once(dataset, rows, monkeypatch):
    """No further row group is read than the first with a label, and none for another epoch or worker."""
    read = []
    row_group = type(dataset).row_group
    monkeypatch.setattr(type(dataset), "row_group", lambda self, *what: read.append(what) or row_group(self, *what))
    examples = Examples(dataset=dataset, labels=dict.fromkeys(rows, 1), seed=1)
    examples.of_epoch(1).of_worker(0, 2)
    assert read == [(0, ("id",))]
    with pytest.raises(ValueError, match="worker is 2 of 2"):
        examples.of_worker(2, 2)


@pytest.mark.parametrize("kind", ["arrow", "polars", "series", "pandas"])
@pytest.mark.parametrize(("one", "other"), [("a", "b"), (1, 2), ([0, 1], [0, 2]), ([0], [0, 2])])
def test_an_id_with_two_labels_is_refused(dataset, rows, kind, one, other):
    """Its row may be the first of two with this id, or the second; one label twice is no matter."""
    first, second, *_ = rows
    make = {
        "arrow": lambda ids, labels: pa.table({"i": ids, "l": labels}),
        "polars": lambda ids, labels: pl.DataFrame({"i": ids, "l": labels}),
        "series": lambda ids, labels: pd.Series(labels, index=ids),
        "pandas": lambda ids, labels: pd.DataFrame({"i": ids, "l": labels}),
    }[kind]
    with pytest.raises(ValueError, match=re.escape(f"the id {first!r} has two labels: {one!r} and {other!r}")):
        Examples(dataset, labels=make([second, first, first], [one, one, other]))
    assert len(Examples(dataset, labels=make([second, first, first], [one, one, one]))) == 2


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_labels_without_an_id_are_left_out(dataset, rows, missing):
    """No row of a job has such an id, so two of them don't contradict each other."""
    first, *_ = rows
    for labels in (
        pd.DataFrame({"i": [first, missing, missing], "l": [1, 2, 3]}, dtype=object),
        pa.table({"i": [first, None, None], "l": [1, 2, 3]}),
    ):
        assert [example.label for example in Examples(dataset, labels=labels)] == [1]


def test_numbers_of_classes_that_there_are_not(dataset, rows):
    """A loss would fail on them, or be nonsense."""
    first, second, *_ = rows
    assert len(Examples(dataset, labels={first: 0, second: 1}, classes=["a", "b"])) == 2
    for wrong in (2, -1):
        with pytest.raises(ValueError, match=f"the label of {second!r} is {wrong}, and there are 2 classes"):
            Examples(dataset, labels={first: 0, second: wrong}, classes=["a", "b"])


def test_a_masked_label_is_none(dataset, rows):
    """Of an array of `numpy.ma` with a label for each row."""
    first, second, *_ = rows
    labels = dict(zip([first, second], np.ma.array([5, 1], mask=[0, 1]), strict=True))
    found = list(Examples(dataset, labels=labels))
    assert [(example.id, example.label) for example in found] == [(first, 5)]


def test_an_id_with_two_labels_in_a_mapping(tmp_path):
    """As a number and as a text."""
    write_part(tmp_path, 0, ["5"], np.array([1]), 3)
    with pytest.raises(ValueError, match="the id '5' has two labels: 0 and 1"):
        Examples(unrolled.open(tmp_path), labels={5: 0, "5": 1})


@pytest.mark.parametrize(
    ("label", "type_", "said"),
    [
        (b"a", TypeError, "is b'a', of the type bytes"),
        (dt.date(2024, 1, 2), TypeError, "of the type date"),
        (pd.Timestamp("2024-01-02"), TypeError, "of the type Timestamp"),
        (np.datetime64("2024-01-02"), TypeError, "of the type datetime64"),
        (1j, TypeError, "of the type complex"),
        ({"x": 1}, TypeError, "of the type dict"),
        ([0, None], TypeError, "of the type NoneType"),
        ([[0], [1]], TypeError, "of the type list"),
        ([1, float("nan")], TypeError, "that of a token is NaN, which is no label; give a number, such as -100"),
        (np.array([1, np.nan], np.float32), TypeError, "that of a token is NaN, which is no label"),
        (np.zeros((2, 2)), TypeError, "of the type ndarray"),
        (np.array([b"a"]), TypeError, "of the type bytes_"),
        (np.ma.array([0, 1], mask=[0, 1]), TypeError, "some of its values are masked"),
        ("n/a", ValueError, "some labels are numbers and some are texts: that of "),
        ([0, "n/a"], ValueError, "some labels are numbers and some are texts: that of "),
        (np.array([0, "n/a"], object), ValueError, "some labels are numbers and some are texts: that of "),
    ],
)
@pytest.mark.parametrize("kind", ["mapping", "series"])
def test_labels_of_other_types_are_refused(dataset, rows, label, type_, said, kind):
    """At once, with the id and the value."""
    first, second, *_ = rows
    labels = {first: 1, second: label}
    given = labels if kind == "mapping" else pd.Series([*labels.values()], index=[*labels], dtype=object)
    with pytest.raises(type_, match=re.escape(said)) as error:
        Examples(dataset, labels=given)
    assert f"{label!r:.20}" in str(error.value)
    if type_ is TypeError:
        assert second in str(error.value)


def test_numbers_of_every_kind_are_labels(dataset, rows):
    """Python's and NumPy's, and truths."""
    first, second, *_ = rows
    for one, other in (
        (1, 2.5),
        (True, 0),
        (np.int8(1), np.float32(2)),
        (np.array([True])[0], 0),
        (np.arange(1), [True]),
    ):
        examples = Examples(dataset, labels={first: one, second: other})
        assert (len(examples), examples.classes) == (2, ())


@pytest.mark.parametrize(
    ("first", "other", "dtype"),
    [
        (1, 0.5, np.float64),
        (0.5, 1, np.float64),
        (True, 2, np.int64),
        (np.uint8(1), np.int16(2), np.int16),
        (np.float32(1), np.float32(0.5), np.float32),
        ("a", "b", np.int64),
    ],
)
def test_all_batches_have_one_type_of_labels(dataset, rows, first, other, dtype):
    """A float anywhere makes floats of all labels, in each batch and for each token."""
    labels = {name: other if number == 20 else first for number, name in enumerate(rows)}
    examples = Examples(dataset, column="mean", labels=labels)
    assert {batch.labels.dtype for batch in examples.batches(4)} == {np.dtype(dtype)}
    assert examples.label_dtype == dtype
    tags = {name: [label] * rows[name].length for name, label in labels.items()}
    found = {batch.labels.dtype for batch in Examples(dataset, labels=tags).batches(4)}
    assert found == {np.result_type(dtype, np.int64)}


def test_labels_that_are_texts(dataset, rows):
    """They become the numbers of their classes, in every epoch and for every worker."""
    names = ("odd", "even", "none")
    labels = {name: names[number % 2] for number, name in enumerate(rows)}
    examples = Examples(dataset=dataset, labels=labels, seed=1)
    assert examples.classes == ("even", "odd")
    for some in (examples, examples.of_epoch(3), examples.of_worker(1, 3).of_epoch(1)):
        assert some.classes == ("even", "odd")
        assert {some.classes[example.label] == labels[example.id] for example in some} == {True}
    table = pa.table({"i": [*labels, *rows], "l": [*labels.values(), *[None] * len(rows)]})
    given = Examples(dataset=dataset, labels=table, classes=names)
    assert given.classes == names
    batch = next(given.batches(5))
    assert [names[label] for label in batch.labels] == [labels[name] for name in batch.ids]
    tags = {name: [names[at % 3] for at in range(row.length)] for name, row in rows.items()} | {"no row": []}
    tagged = Examples(dataset=dataset, labels=dict(reversed(tags.items())))
    for example in tagged:
        assert [tagged.classes[label] for label in example.label] == tags[example.id]


def test_batches(dataset, rows):
    """Padded arrays with masks, and labels of rows."""
    labels = {name: number for number, name in enumerate(rows)}
    seen = []
    for batch in Examples(dataset=dataset, labels=labels).batches(7):
        assert batch.vectors.dtype == np.float32
        assert batch.labels.tolist() == [labels[name] for name in batch.ids]
        for name, vectors, mask in zip(batch.ids, batch.vectors, batch.mask, strict=True):
            np.testing.assert_array_equal(vectors[mask], rows[name].outputs)
            assert not vectors[~mask].any()
            assert mask.tolist() == sorted(mask.tolist(), reverse=True)
        seen += batch.ids
    assert seen == list(rows)
    pooled = next(Examples(dataset=dataset, column="last").batches(5))
    assert pooled.vectors.shape == (5, 3)
    assert pooled.mask is None


def test_a_label_for_each_token(dataset, rows):
    """Where there is no token, the label is -100."""
    labels = {name: list(range(row.length)) for name, row in rows.items()}
    batch = next(Examples(dataset=dataset, labels=labels).batches(6))
    for name, found, mask in zip(batch.ids, batch.labels, batch.mask, strict=True):
        assert found[mask].tolist() == labels[name]
        assert set(found[~mask].tolist()) <= {-100}


def test_rows_without_a_position_are_left_out(tmp_path):
    """A job that stores every second token has no vector of a row with one token."""
    finished_job(tmp_path, shards=5, options={"positions": {"rule": "every", "count": 2}})
    dataset = unrolled.open(tmp_path)
    stored = {row.id: row.outputs for row in dataset if len(row.outputs)}
    assert 0 < len(stored) < len([row for row in dataset if row.length])
    examples = Examples(dataset=dataset)
    assert ids(examples) == list(stored)
    assert len(examples) == len(stored)
    for example in examples:
        np.testing.assert_array_equal(example.vectors, stored[example.id])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"share": (0.5, 0.5)}, ValueError, "share is"),
        ({"share": (0, 1.1)}, ValueError, "share is"),
        ({"worker": 2, "workers": 2}, ValueError, "worker is 2 of 2"),
        ({"group_rows": -1, "seed": 1}, ValueError, "group_rows is -1"),
        ({"group_rows": 8}, ValueError, "group_rows is 8; allowed: 0, or with a seed"),
        ({"group_rows": 2.5, "seed": 1}, ValueError, r"group_rows is 2\.5; allowed: 0, or with a seed"),
        ({"seed": -1}, ValueError, "seed is -1; allowed: a whole number from 0, or None"),
        ({"seed": 1.5}, ValueError, r"seed is 1\.5; allowed: a whole number from 0, or None"),
        ({"seed": "1"}, ValueError, "seed is '1'; allowed: a whole number from 0, or None"),
        ({"epoch": -1}, ValueError, "epoch is -1; allowed: a whole number from 0"),
        ({"labels": {"a": "x"}, "classes": ["x", "y", "x"]}, ValueError, "classes has 'x' twice"),
        ({"share": 0.8}, ValueError, r"share is 0.8; allowed: two numbers from 0 to 1, such as \(0, 0.8\)"),
        ({"share": ("a", "b")}, ValueError, "share is .*; allowed: two numbers"),
        ({"column": "length"}, KeyError, "column is 'length'; this job has vectors in outputs, mean, max, last, first"),
        ({"column": "average"}, KeyError, "column is 'average'; this job has vectors in outputs, mean, max"),
        ({"column": "outputs_3"}, KeyError, "column is 'outputs_3'; this job has vectors in outputs, mean, max"),
        ({"dataset": "vectors"}, TypeError, r"dataset is 'vectors'; give the result of unrolled.open"),
        ({"labels": {"a": "x"}, "classes": ("y",)}, ValueError, "label 'x' is none of the 1 class"),
        ({"labels": pa.table({"a": [1]})}, ValueError, "labels have the columns a; give two"),
        ({"labels": pd.DataFrame({"a": [1]})}, ValueError, "labels have the columns a; give two"),
        (
            {"labels": [1, 0]},
            TypeError,
            r"labels are of the type list; allowed: a mapping .* dict\(zip\(ids, labels\)\)",
        ),
        ({"labels": np.zeros(2)}, TypeError, "labels are of the type ndarray; allowed: a mapping"),
        ({"labels": pl.Series([1, 0])}, TypeError, "labels are of the type Series; allowed: a mapping"),
        ({"labels": {}}, ValueError, "labels have no label"),
        ({"labels": {"a": None}}, ValueError, "labels have no label"),
        ({"share": (0.5, 0.5)}, ValueError, "the first below the second: otherwise the interval is empty"),
    ],
)
def test_wrong_values(dataset, options, error, message):
    """They are refused before anything is read."""
    with pytest.raises(error, match=message):
        Examples(**({"dataset": dataset} | options))


@pytest.mark.parametrize("layers", [None, (0, 1)])
@pytest.mark.parametrize("pooling", [("none",), ("mean", "last"), ("none", "max")])
def test_every_column_that_is_named_is_there(dataset, monkeypatch, pooling, layers):
    """The error of a wrong column lists exactly those that can be read."""
    columns = [VectorColumn(how, layer, 3) for layer in layers or [None] for how in pooling]
    monkeypatch.setattr(dataset, "columns", columns)
    with pytest.raises(KeyError) as error:
        Examples(dataset, column="x")
    named = str(error.value).rpartition(" in ")[2].rstrip("'\"").split(", ")
    stored = [column.name for column in columns]
    assert named[: len(stored)] == stored
    pooled = [f"{how}{'' if layer is None else f'_{layer}'}" for layer in layers or [None] for how in POOLINGS[1:]]
    assert set(named) == set(stored) | (set(pooled) if "none" in pooling else set())


def test_what_examples_are_is_short(dataset, rows):
    """However many labels there are; the job's rows may be given without their name."""
    labels = {name: "ab"[number % 2] for number, name in enumerate(rows)}
    assert repr(Examples(dataset)) == "<Examples: outputs of 120 rows, share 0.0 to 1.0, in order>"
    found = repr(Examples(dataset, column="mean", labels=labels, share=(0, 0.8), seed=1))
    assert found == f"<Examples: mean of 120 rows, {len(rows)} labels of 2 classes, share 0 to 0.8, seed 1>"


@pytest.mark.parametrize(
    ("library", "package", "text"),
    [
        ("torch", "torch", "unrolled.learning.torch needs PyTorch: pip install torch"),
        ("tensorflow", "tensorflow", r"needs tensorflow, .*: pip install .*\[tensorflow\]"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, library, package, text):
    """The error says how to install it."""
    monkeypatch.delitem(sys.modules, f"unrolled.learning.{library}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises((ImportError, unrolled.UnrolledError), match=text):
        importlib.import_module(f"unrolled.learning.{library}")


def test_labels_that_do_not_fit(dataset, rows):
    """A row's labels are as many as its tokens, and all rows have the same kind."""
    first, second, *_ = rows
    with pytest.raises(ValueError, match=f"row '{first}' has 1 tokens and 9 labels"):
        next(Examples(dataset=dataset, labels={first: [0] * 9}).batches(1))
    with pytest.raises(ValueError, match="each row has one vector and many labels; give one label for each row, or"):
        next(Examples(dataset=dataset, column="mean", labels={first: [0], second: [1]}).batches(2))
    with pytest.raises(ValueError, match="some rows have one label"):
        next(Examples(dataset=dataset, labels={first: [0], second: 1}).batches(2))
    for label in (2**70, [2**70]):
        with pytest.raises(
            ValueError, match=f"the label of '{first}' is .*1180591620717411303424.*, and all are int64"
        ):
            next(Examples(dataset=dataset, labels={first: label}).batches(1))
    with pytest.raises(TypeError, match=r"rows is 2\.5; a whole number is expected"):
        next(Examples(dataset=dataset).batches(2.5))
    with pytest.raises(ValueError, match="rows is 0"):
        next(Examples(dataset=dataset).batches(0))
    with pytest.raises(ValueError, match=r"at least 1; there is no example .* look at the share and the labels"):
        next(Examples(dataset=dataset, labels={first: 0, second: 1}, share=(0.999999, 1)).batches(0))


def test_a_damaged_file_is_noticed(tmp_path):
    """By the thread that reads ahead; the error comes where the rows would."""
    finished_job(tmp_path, shards=12)
    paths = sorted(tmp_path.glob("*.parquet"))
    dataset = unrolled.open(tmp_path)
    content = bytearray(paths[8].read_bytes())
    content[200] ^= 1
    paths[8].write_bytes(content)
    found = []
    with pytest.raises(unrolled.UnrolledError, match=paths[8].name):
        found.extend(iter(Examples(dataset=dataset)))
    assert len(found) > 20


def test_rows_that_are_not_wanted_any_more(dataset):
    """Leaving an epoch ends the thread that reads ahead."""
    before = set(threading.enumerate())
    rows = iter(Examples(dataset=dataset))  # in order: shuffled ones of so few rows are all read before the first
    next(rows)
    mine = set(threading.enumerate()) - before
    assert mine
    rows.close()
    for thread in mine:
        thread.join(60)
        assert not thread.is_alive()
