"""docs/frameworks.md: its code runs as it is printed, and gives the vectors of `unrolled.load`."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from support.reference import random_weights
from support.skips import long
from support.tokenizers import words

import unrolled
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model

PAGE = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text()
BLOCKS = dict(re.findall(r"^## (.*?)\n[^#]*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
#: What each section needs, which nothing else here needs.
PACKAGES = {"Ray Data": "ray", "Spark": "pyspark", "Dask": "dask", "Daft": "daft", "LangChain": "langchain_core",
            "LanceDB": "lancedb", "Haystack": "haystack"}  # fmt: skip
#: Warnings here are those of the frameworks.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_all_blocks_are_found():
    """So that the tests below test something."""
    assert set(BLOCKS) == set(PACKAGES)


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the page takes for granted."""
    config = ModelConfig.stacked(9, 20, 4, 2, 3)
    save_model(tmp_path / "my-model", config, random_weights(config, seed=1), words().to_str())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]))
    return {"texts": ["a b", "b", "zzz a b"] * 10}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "block",
    [
        pytest.param(name, marks=long(f"needs {package}, which nothing else here needs"), id=package)
        for name, package in PACKAGES.items()
    ],
)
def test_a_block_runs(names, block, request):
    """In processes and threads of the framework; relative paths are the program's."""
    pytest.importorskip(request.node.callspec.id)
    names["spark"] = _spark(request) if block == "Spark" else None
    model = str(Path.cwd() / "my-model")
    exec(BLOCKS[block].replace('"my-model"', repr(model)), names)
    wanted = unrolled.load(model).encode(names["texts"], pooling="mean")
    found = np.stack([np.asarray(vector, np.float32) for vector in names["vectors"]])
    np.testing.assert_array_equal(found, wanted)
    if "nearest" in names:
        np.testing.assert_array_equal(unrolled.load(model).encode(names["nearest"], pooling="mean"), wanted[0])


def _spark(request):
    from pyspark.sql import SparkSession  # noqa: PLC0415 - not installed as a rule

    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    request.addfinalizer(session.stop)
    return session
