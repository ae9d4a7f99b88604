"""Examples for PyTorch."""

import numpy as np
import pytest
from support.jobs import finished_job
from support.skips import long

import unrolled
from unrolled import Examples

pytestmark = long("needs PyTorch, which nothing else here needs")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    finished_job(out, shards=20)
    return unrolled.open(out)


@pytest.mark.usefixtures("torch")
def test_rows_are_not_examples(dataset):
    """The error says what is missing."""
    from unrolled.learning.torch import TorchExamples  # noqa: PLC0415 - needs PyTorch

    with pytest.raises(TypeError, match=r"give unrolled.Examples, such as unrolled.Examples\(dataset=…\)"):
        TorchExamples(dataset)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_each_row_once_an_epoch(torch, dataset, workers):
    """Whatever the number of the loader's workers; each epoch has another order."""
    from unrolled.learning.torch import TorchExamples, collate_padded  # noqa: PLC0415 - needs PyTorch

    rows = TorchExamples(Examples(dataset=dataset, seed=1))
    loader = torch.utils.data.DataLoader(rows, batch_size=5, num_workers=workers, collate_fn=collate_padded)
    orders = []
    for epoch in range(2):
        rows.set_epoch(epoch)
        orders.append([name for batch in loader for name in batch["ids"]])
    wanted = sorted(row.id for row in dataset if row.length)
    assert [sorted(order) for order in orders] == [wanted, wanted]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("column", ["outputs", "mean"])
def test_a_loader_without_a_collate_function_pads(torch, dataset, column, recwarn):
    """Tensors in a dictionary, and no warning."""
    from unrolled.learning.torch import TorchExamples, collate_padded  # noqa: PLC0415 - needs PyTorch

    rows = TorchExamples(Examples(dataset=dataset, column=column, labels={row.id: 1 for row in dataset}))
    found, wanted = (list(torch.utils.data.DataLoader(rows, 5, **by)) for by in ({}, {"collate_fn": collate_padded}))
    assert len(found) == len(wanted) > 1
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one if key != "ids")
    assert not [warning for warning in recwarn if "writable" in str(warning.message)]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2])
def test_the_number_of_rows_is_known(torch, dataset, workers):
    """That of all workers of a loader, and in a distributed program that of each process and epoch."""
    from unrolled.learning.torch import TorchExamples  # noqa: PLC0415 - needs PyTorch

    rows = TorchExamples(Examples(dataset=dataset, seed=1))
    loader = torch.utils.data.DataLoader(rows, 5, num_workers=workers)
    count = sum(row.length > 0 for row in dataset)
    assert (len(rows), len(loader)) == (count, -(-count // 5))
    assert len(loader) <= sum(1 for _ in loader) <= len(loader) + max(0, workers - 1)
    one = TorchExamples(Examples(dataset=dataset, seed=1).of_worker(0, 3))
    for epoch in range(4):
        one.set_epoch(epoch)
        assert len(one) == sum(1 for _ in one)
        assert len(one) == len(Examples(dataset=dataset, seed=1, epoch=epoch).of_worker(0, 3))


def test_padded_and_packed(torch, dataset):
    """Both have the rows' vectors, and their labels."""
    from unrolled.learning.torch import TorchExamples, collate_packed, collate_padded  # noqa: PLC0415 - needs PyTorch

    labels = {row.id: list(range(row.length)) for row in dataset if row.length}
    rows = TorchExamples(Examples(dataset=dataset, labels=labels))
    loaders = [
        torch.utils.data.DataLoader(rows, batch_size=6, collate_fn=collate)
        for collate in (collate_padded, collate_packed)
    ]
    for padded, packed in zip(*loaders, strict=True):
        unpacked, lengths = torch.nn.utils.rnn.pad_packed_sequence(packed["vectors"], batch_first=True)
        assert torch.equal(unpacked, padded["vectors"])
        assert lengths.tolist() == padded["mask"].sum(dim=1).tolist()
        found, _ = torch.nn.utils.rnn.pad_packed_sequence(packed["labels"], batch_first=True, padding_value=-100)
        assert torch.equal(found, padded["labels"])


def _first_batch(torch, collate, dataset, column, label):
    from unrolled.learning.torch import TorchExamples  # noqa: PLC0415 - needs PyTorch

    labels = {row.id: label(row.length) for row in dataset if row.length}
    rows = TorchExamples(Examples(dataset=dataset, column=column, labels=labels))
    return next(iter(torch.utils.data.DataLoader(rows, batch_size=6, collate_fn=collate)))


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (lambda length: [0] * (length + 1), "has . tokens and . labels"),
        (lambda length: [0] * (8 - length), "has . tokens and . labels"),
        (lambda length: [0] * length if length == 1 else 0, "some rows have one label"),
        (lambda length: 0 if length == 1 else [0] * length, "some rows have one label"),
    ],
)
def test_labels_that_do_not_fit(torch, dataset, label, said):
    """They are refused by both functions, though they might have the same number in all."""
    from unrolled.learning.torch import collate_packed, collate_padded  # noqa: PLC0415 - needs PyTorch

    for collate in (collate_padded, collate_packed):
        with pytest.raises(ValueError, match=said):
            _first_batch(torch, collate, dataset, "outputs", label)


def test_a_pooled_column_is_not_packed(torch, dataset):
    """Its vectors would be taken for rows of single numbers."""
    from unrolled.learning.torch import collate_packed  # noqa: PLC0415 - needs PyTorch

    for label in (lambda _: 1, lambda length: [1] * length):
        with pytest.raises(ValueError, match=r"the column is pooled, .* take collate_padded"):
            _first_batch(torch, collate_packed, dataset, "mean", label)


@pytest.mark.parametrize("per_token", [False, True])
def test_all_batches_have_one_type_of_labels(torch, dataset, per_token):
    """That of floats, if one label is a float."""
    from unrolled.learning.torch import TorchExamples, collate_packed, collate_padded  # noqa: PLC0415 - needs PyTorch

    each = {row.id: 1 for row in dataset if row.length}
    each[list(each)[-1]] = 0.5
    labels = {row.id: [each[row.id]] * row.length for row in dataset if row.length} if per_token else each
    for collate in (collate_padded, collate_packed):
        rows = TorchExamples(Examples(dataset=dataset, labels=labels))
        batches = list(torch.utils.data.DataLoader(rows, batch_size=6, collate_fn=collate))
        kinds = {getattr(batch["labels"], "data", batch["labels"]).dtype for batch in batches}
        assert kinds == {torch.float64}


def test_a_tagger_learns(torch, dataset):
    """A label for each token: the sign of a number."""
    from unrolled.learning.torch import TorchExamples, collate_padded  # noqa: PLC0415 - needs PyTorch

    torch.manual_seed(1)
    labels = {row.id: (row.outputs[:, 0] > 0).astype(np.int64) for row in dataset if row.length}
    loader = torch.utils.data.DataLoader(
        TorchExamples(Examples(dataset=dataset, labels=labels, seed=1)), batch_size=8, collate_fn=collate_padded
    )
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    for _ in range(20):
        for batch in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(
                model(batch["vectors"]).flatten(0, 1), batch["labels"].flatten()
            ).backward()
            optimizer.step()
    right = [
        (model(batch["vectors"]).argmax(-1) == batch["labels"])[batch["mask"]].float().mean().item() for batch in loader
    ]
    assert np.mean(right) > 0.95


def test_files_and_memory_give_one_accuracy(torch, dataset):
    """A tagger that learns from the files, shuffled in each epoch, is the one that learns from tensors in memory."""
    from unrolled.learning.torch import TorchExamples, collate_padded  # noqa: PLC0415 - needs PyTorch

    rows = {row.id: torch.tensor(row.outputs) for row in dataset}
    labels = {name: (vectors.sum(dim=1) > 0).long() for name, vectors in rows.items() if len(vectors)}
    examples = Examples(dataset=dataset, labels={name: each.tolist() for name, each in labels.items()}, seed=1)
    loader = torch.utils.data.DataLoader(TorchExamples(examples), batch_size=8, collate_fn=collate_padded)

    def from_memory(epoch):
        names = [example.id for example in examples.of_epoch(epoch)]
        for start in range(0, len(names), 8):
            some = names[start : start + 8]
            pad = torch.nn.utils.rnn.pad_sequence
            yield {
                "vectors": pad([rows[name] for name in some], batch_first=True),
                "labels": pad([labels[name] for name in some], batch_first=True, padding_value=-100),
            }

    taggers = []
    for batches in (lambda _: loader, from_memory):
        torch.manual_seed(1)
        tagger = torch.nn.Linear(3, 2)
        optimizer = torch.optim.Adam(tagger.parameters(), 0.1)
        for epoch in range(6):
            for batch in batches(epoch):
                optimizer.zero_grad()
                logits = tagger(batch["vectors"]).flatten(0, 1)
                torch.nn.functional.cross_entropy(logits, batch["labels"].flatten()).backward()
                optimizer.step()
        taggers.append(tagger)
    for one, other in zip(*(tagger.parameters() for tagger in taggers), strict=True):
        assert torch.equal(one, other)
    tags = torch.cat(list(labels.values()))
    right = taggers[0](torch.cat([rows[name] for name in labels])).argmax(dim=-1) == tags
    assert right.float().mean() > 0.85


def test_a_loaders_worker_reads_a_bucket(torch, tmp_path, monkeypatch):
    """In a process that is spawned; a fork of a process that has used a bucket is refused with a reason."""
    from unrolled.learning.torch import TorchExamples, collate_padded  # noqa: PLC0415 - needs PyTorch

    pytest.importorskip("obstore")
    from support.bucket_server import bucket_server  # noqa: PLC0415 - needs a package too

    with bucket_server(tmp_path) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        finished_job("s3://bucket/out", shards=6)
        rows = TorchExamples(Examples(dataset=unrolled.open("s3://bucket/out")))
        wanted = [example.id for example in rows]
        loader = torch.utils.data.DataLoader(
            rows, batch_size=5, num_workers=1, collate_fn=collate_padded, multiprocessing_context="spawn"
        )
        assert [name for batch in loader for name in batch["ids"]] == wanted


@pytest.mark.parametrize("output", ["torch"])
def test_an_encoder_gives_tensors(torch, tmp_path, output):
    """Without a copy, one for each row or one for all."""
    from support.reference import random_weights  # noqa: PLC0415 - next to its use

    from unrolled.model.config import ModelConfig  # noqa: PLC0415 - next to its use
    from unrolled.model.directory import save_model  # noqa: PLC0415 - next to its use

    config = ModelConfig.stacked(9, 20, 4, 2, 3)
    save_model(tmp_path / "model", config, random_weights(config, seed=1))
    encoder = unrolled.load(tmp_path / "model")
    rows = [[1, 2], [3]]
    for found, wanted in zip(encoder.encode(rows, output=output), encoder.encode(rows), strict=True):
        assert torch.equal(found, torch.from_numpy(wanted))
    assert encoder.encode(rows, pooling="max", output=output).shape == (2, 4)
