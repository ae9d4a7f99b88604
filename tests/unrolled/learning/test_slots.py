"""Batches that a loader's worker writes where earlier ones were."""

import gc
import os
import sys

import numpy as np
import pytest
from support.random_parts import write_part
from support.skips import long

import unrolled
from unrolled import Examples

pytestmark = [
    long("needs PyTorch, which nothing else here needs"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]
BATCH_ROWS = 5


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def slots():
    pytest.importorskip("torch")
    from unrolled.learning import slots  # noqa: PLC0415 - needs PyTorch

    return slots


@pytest.fixture(scope="module", params=["float32", "float16"])
def examples(request, tmp_path_factory):
    """Two hundred rows of 1 to 90 tokens with labels for each."""
    folder = tmp_path_factory.mktemp("job")
    random = np.random.default_rng(0)
    for part in range(4):
        ids, lengths = [f"{part}-{row}" for row in range(50)], random.integers(1, 90, 50)
        write_part(folder, part, ids, lengths, 7, precision=request.param)
    dataset = unrolled.open(folder)
    return Examples(dataset=dataset, labels={row.id: list(range(row.length)) for row in dataset}, seed=1)


@pytest.fixture
def loader(torch, examples):
    """A function that makes a loader."""
    from unrolled.learning.torch import TorchExamples, collate_padded  # noqa: PLC0415 - needs PyTorch

    def make(workers=1, collate=collate_padded, **options):
        return torch.utils.data.DataLoader(
            TorchExamples(examples), batch_size=BATCH_ROWS, num_workers=workers, collate_fn=collate, **options
        )

    return make


@pytest.fixture
def check(torch, examples):
    """A function that compares a batch with the rows."""
    rows = {example.id: example.vectors for example in examples}

    def equal(batch):
        assert batch["vectors"].dtype == torch.float32
        for name, vectors, mask, labels in zip(*map(batch.get, ("ids", "vectors", "mask", "labels")), strict=True):
            assert torch.equal(vectors[mask], torch.tensor(rows[name]).float())
            assert not vectors[~mask].any()
            assert labels[mask].tolist() == list(range(len(rows[name])))
            assert set(labels[~mask].tolist()) <= {-100}
        return batch["ids"]

    return equal


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("workers", [1, 2])
def test_kept_batches_stay_what_they_are(loader, check, method, workers):
    """More than there are slots: none is written while the program has it, in whichever order it drops them."""
    kept, seen = [], []
    for number, batch in enumerate(loader(workers, multiprocessing_context=method, persistent_workers=True)):
        seen += batch["ids"]
        kept.append(batch)
        if number % 3 == 0:
            check(kept.pop(number % len(kept)))
    assert len(kept) > 20
    for batch in kept:
        check(batch)
    assert len(seen) == len(set(seen)) == 200


@pytest.mark.skipif(sys.platform != "linux", reason="other systems send batches as PyTorch does")
def test_few_slots_are_enough(loader, check, slots):
    """A loop that drops each batch gets all in the memory of a few, and the loader's end gives that back."""
    rows, places = loader(), set()
    for _ in range(2):
        for batch in rows:
            check(batch)
            places.add(batch["vectors"].data_ptr())
            batch["vectors"][:] = float("nan")  # the next one there has none
    assert len(slots._mapped) <= 8
    assert len(places) <= 16  # of 80 batches
    last = batch
    del batch
    gc.collect()
    assert not slots._mapped
    assert last["vectors"].isnan().all()
    last["vectors"].zero_()


def test_workers_that_stay(loader, check):
    """A second epoch of the same worker, after a first one that was left in its midst."""
    rows = loader(persistent_workers=True)
    for batch in rows:
        check(batch)
        break
    orders = [[name for batch in rows for name in check(batch)] for _ in range(2)]
    assert sorted(orders[0]) == sorted(orders[1])
    assert len(orders[0]) == 200
    assert orders[0] != orders[1]


def collate_changed(examples):
    """What a program may do with a batch before it is sent."""
    from unrolled.learning.torch import collate_padded  # noqa: PLC0415 - needs PyTorch

    batch = collate_padded(examples)
    batch["vectors"] *= 2
    batch["first"] = batch["vectors"][:, 0]
    batch["sums"] = batch["vectors"].sum(dim=1)
    batch["length"] = batch.pop("mask").sum(dim=1)
    batch["labels"] = batch["labels"].float()
    return batch


def collate_new(examples):
    """Another dictionary with a tensor of the batch, and something that is no tensor."""
    from unrolled.learning.torch import collate_padded  # noqa: PLC0415 - needs PyTorch

    batch = collate_padded(examples)
    return {"x": (batch["vectors"], batch["ids"]), "mask": batch["mask"]}


def test_a_collate_function_around_ours(loader):
    """It gets tensors, and may change, add and remove some."""
    for mine, plain in zip(loader(1, collate_changed), loader(0, collate_changed), strict=True):
        assert list(mine) == list(plain)
        assert all(np.array_equal(mine[key], plain[key]) for key in mine)
    kept = list(zip(loader(1, collate_new), loader(0, collate_new), strict=True))
    for mine, plain in kept:
        assert mine["x"][1] == plain["x"][1]
        assert mine["x"][0].equal(plain["x"][0])
        assert mine["mask"].equal(plain["mask"])


def test_packed(torch, loader):
    """As without a worker, all of them kept."""
    from unrolled.learning.torch import collate_packed  # noqa: PLC0415 - needs PyTorch

    for mine, plain in list(zip(loader(1, collate_packed), loader(0, collate_packed), strict=True)):
        assert mine["ids"] == plain["ids"]
        for key in ("vectors", "labels"):
            assert isinstance(mine[key], torch.nn.utils.rnn.PackedSequence)
            assert all(map(torch.equal, mine[key], plain[key]))


def refuse(name):
    raise PermissionError(name)


@pytest.mark.parametrize("is_there", [True, False])
def test_without_memory_that_has_no_name(loader, check, monkeypatch, slots, is_there):
    """Where the system has none, or forbids it, batches are sent as PyTorch sends them."""
    if is_there:
        monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    else:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    kept = list(loader(multiprocessing_context="fork"))
    assert not slots._mapped
    assert sorted(name for batch in kept for name in check(batch)) == sorted(
        name for batch in loader(0) for name in check(batch)
    )
