"""The notebook of the documentation, run in a fresh directory.

    python tests/support/notebook.py

writes what its cells show into it. Run it after a change of the notebook.
"""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

REPOSITORY = Path(__file__).parents[2]
NOTEBOOK = REPOSITORY / "docs" / "tour.ipynb"
#: A kernel finds this repository's package and its command.
ENVIRONMENT = {
    "PYTHONPATH": str(REPOSITORY),
    "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")]),
}


def read():
    """The notebook as it is in the repository."""
    return nbformat.read(NOTEBOOK, as_version=4)


def executed(folder):
    """The notebook after all its cells were run; the environment must have `ENVIRONMENT`."""
    notebook = read()
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    notebook.metadata.language_info = {"name": "python"}
    return notebook


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as place:
        nbformat.write(executed(place), NOTEBOOK)
    sys.stdout.write(f"{NOTEBOOK}: {NOTEBOOK.stat().st_size:,} bytes\n")
