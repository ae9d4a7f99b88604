"""The dataset card of a job."""

import pyarrow as pa
import pytest
import yaml
from support.jobs import finished_job
from support.skips import skip_here

import unrolled

OPTIONS = {"pooling": ["none", "mean", "last"], "precision": "float16", "with_tokens": True, "layers": [0, 1]}


@pytest.fixture(scope="module", params=[{}, {"pooling": ["mean"]}, OPTIONS], ids=["default", "mean", "all"])
def job(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("card") / "out"
    return out, finished_job(out, options=request.param)


def front_matter(text):
    begin, matter, body = text.split("---\n", 2)
    assert begin == ""
    return yaml.safe_load(matter), body


def arrow(feature):
    """The Arrow type that a feature of `datasets` has."""
    if "dtype" in feature:
        return {"string": pa.string(), "int32": pa.int32()}[feature["dtype"]]
    inner = feature["list"]
    numbers = {"bool": pa.bool_(), "int32": pa.int32(), "float32": pa.float32(), "float16": pa.float16()}
    return pa.list_(numbers[inner] if isinstance(inner, str) else arrow(inner), feature.get("length", -1))


def shape(kind):
    """A type without the names and the nullability of what its lists hold."""
    if pa.types.is_fixed_size_list(kind):
        return ("fixed", kind.list_size, shape(kind.value_type))
    return ("list", shape(kind.value_type)) if pa.types.is_list(kind) else kind


def test_the_columns_are_those_of_the_files(job):
    """Each with its type, and a sentence."""
    out, _ = job
    dataset = unrolled.open(out)
    matter, body = front_matter(dataset.card())
    schema = dataset.to_arrow().schema
    features = matter["dataset_info"]["features"]
    assert [feature["name"] for feature in features] == schema.names
    assert [shape(arrow(feature)) for feature in features] == [shape(kind) for kind in schema.types]
    for name in schema.names:
        assert f"| `{name}` |" in body
    assert f"for {len(dataset)} rows with {dataset.tokens} tokens" in body
    assert matter["size_categories"] == ["n<1K"]


def test_the_same_rows_give_the_same_card(job, tmp_path):
    """Whatever the directory and the time."""
    out, _ = job
    card = unrolled.open(out).card("States")
    (tmp_path / "elsewhere").mkdir()
    for path in out.glob("*.parquet"):
        (tmp_path / "elsewhere" / path.name).write_bytes(path.read_bytes())
    assert unrolled.open(tmp_path / "elsewhere").card("States") == card
    assert "# States\n" in card
    assert str(out) not in card


def test_datasets_reads_it(job, tmp_path):
    """Beside the parts, as on the Hub: the features are those that it finds in the files."""
    try:
        import datasets  # noqa: PLC0415 - not installed as a rule
    except ImportError:
        skip_here("`datasets` isn't installed")
    out, _ = job
    folder = tmp_path / "hub"
    folder.mkdir()
    for path in out.glob("*.parquet"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "README.md").write_text(unrolled.open(out).card())
    found = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert found["id"][:] == [row.id for row in unrolled.open(out)]
    assert found.features == datasets.Features.from_arrow_schema(unrolled.open(out).to_arrow().schema)
