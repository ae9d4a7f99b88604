"""The house: empty packages, rooms in one order, pieces that say why they are long, types that users see."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("unrolled", "producer", "worker")
#: Suffixes of files that people read.
PROSE = {".md", ".py", ".h", ".cpp", ".lua", ".yml", ".yaml", ".toml", ".ipynb", ".js", ".css", ".svg", ".conf"}
#: Most entries of a folder in which a reader still finds things.
MOST_ENTRIES = 15
#: Lines of a file and of a function above which a comment or the docstring says why it is one piece.
FILE_LINES, FUNCTION_LINES = 150, 40
FILE_REASON = re.compile(rf"over {FILE_LINES} lines|one file", re.IGNORECASE)
FUNCTION_REASON = re.compile(rf"over {FUNCTION_LINES} lines|one function", re.IGNORECASE)
#: The comment, the head and the body of what begins and ends in the first column of a C++ file.
CPP_PIECE = re.compile(
    r"((?:^//[^\n]*\n)*)^(?!namespace|extern)([^\s#/}][^;{}]*\{\n)(.*?)^\}", re.MULTILINE | re.DOTALL
)
#: Words that make a reader stop: old ones, and those of another language's grammar.
RIDDLES = re.compile(
    r"\b(?:anew|whoever|nobody|astray|likewise|in the midst|for want of|of one's own|be it|belongs? into|needs not"
    r"|may no more|gets? on with|(?:is|are|was|were|be) told)\b",
    re.IGNORECASE,
)
#: A new import that breaks a contract, and the contract that says so: one for each direction that imports may not go.
BROKEN = [
    ("producer/sources/formats/lines.py", "import worker.settings", "Producer and worker meet only in unrolled"),
    ("unrolled/tokenization/ragged.py", "import unrolled.reading.dataset", "Rooms of unrolled"),
    ("unrolled/protocol/log.py", "import unrolled.queue.ledger", "Rooms of unrolled"),
    ("unrolled/job/segment.py", "import unrolled.protocol.log", "Rooms of unrolled"),
    ("producer/jobs/wait.py", "import producer.cli.options", "Rooms of the producer"),
    ("worker/parquet/file.py", "import worker.runtime.heartbeat", "Rooms of the worker"),
    ("unrolled/reading/batch.py", "import redis", "Reading needs numpy and pyarrow only"),
    ("producer/cli/root.py", "import tensorflow", "The producer never loads TensorFlow"),
    (
        "worker/pool/pool.py",
        "import tensorflow",
        "TensorFlow lives in the models, their engine and their training only",
    ),
]


def tracked(*patterns):
    """Files of the repository, whether committed or not yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout.splitlines()
    return [REPOSITORY / name for name in names if (REPOSITORY / name).exists()]


def test_packages_are_empty_but_for_the_facade():
    """An implementation in `__init__.py` is hard to find."""
    files = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("__init__.py")]
    assert len(files) > 30
    assert [path for path in files if path.read_text()] == [REPOSITORY / "unrolled" / "__init__.py"]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_is_an_attic(package):
    """Every folder can be taken in at a glance."""
    folders = {}
    for path in tracked(package):
        while path != REPOSITORY:
            folders.setdefault(path.parent, set()).add(path.name)
            path = path.parent  # noqa: PLW2901 - walks up to the root
    del folders[REPOSITORY]
    full = {
        str(folder.relative_to(REPOSITORY)): len(names - {"__init__.py", "py.typed"})
        for folder, names in folders.items()
    }
    assert {name: count for name, count in full.items() if count > MOST_ENTRIES} == {}


def without_reason(text):
    """What is long in a module and doesn't say why: its functions by name, and the module itself as an empty name."""
    lines = text.splitlines()
    found = [] if len(lines) <= FILE_LINES or FILE_REASON.search(text) else [""]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= FUNCTION_LINES:
            own = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            found += [] if FUNCTION_REASON.search(own) else [node.name]
    return found


def test_long_pieces_say_why_they_are_one():
    """A module of the product or of the benchmarks, and a function in it."""
    modules = {path: path.read_text() for path in tracked(*PACKAGES, "benchmarks") if path.suffix == ".py"}
    assert len(modules) > 400
    found = {str(path.relative_to(REPOSITORY)): without_reason(text) for path, text in modules.items()}
    assert {path: names for path, names in found.items() if names} == {}


def cpp_without_reason(text):
    """What is long in a C++ file and doesn't say why: the first lines of its functions, and the file as an empty text.

    Functions begin and end in the first column, because namespaces are not indented.
    """
    found = [] if len(text.splitlines()) <= FILE_LINES or FILE_REASON.search(text) else [""]
    for piece in CPP_PIECE.finditer(text):
        comment, head, body = piece.groups()
        plain = re.sub(r"template <[^>]*>", "", head)
        if "(" not in plain or re.search(r"\b(?:struct|class|enum|union)\b", plain):
            continue
        if (head + body).count("\n") >= FUNCTION_LINES and not FUNCTION_REASON.search(comment + body):
            found.append(head.splitlines()[0])
    return found


def test_long_pieces_of_the_kernel_say_why_they_are_one():
    """A C++ file, and a function in it."""
    files = {path: path.read_text() for path in tracked("worker/engines/fused/src")}
    assert len(files) > 50
    found = {path.name: cpp_without_reason(text) for path, text in files.items()}
    assert {name: pieces for name, pieces in found.items() if pieces} == {}


def test_a_long_piece_of_cpp_without_a_reason_is_found():
    """One line too many, in a function and in a file; a struct is not a function."""
    function = "template <class T>\nvoid f(T x) {\n" + "  ++x;\n" * FUNCTION_LINES + "}\n"
    assert cpp_without_reason(f"namespace a {{\n\n{function}\n}}\n") == ["template <class T>"]
    assert cpp_without_reason("// One function, because it is a test.\n" + function) == []
    assert cpp_without_reason(function.replace("void f(T x)", "struct F")) == []
    assert cpp_without_reason("int x;\n" * (FILE_LINES + 1)) == [""]


def test_a_long_piece_without_a_reason_is_found():
    """One line too many, in a module and in a function."""
    function = "def long():\n" + "    pass\n" * FUNCTION_LINES
    assert without_reason(function) == ["long"]
    assert without_reason(function.replace("    pass\n", "    # Over 40 lines: a test.\n", 1) + "    pass\n") == []
    assert without_reason(function.replace("    pass\n", "", 1)) == []
    assert without_reason("x = 1\n" * FILE_LINES) == []
    assert without_reason("x = 1\n" * (FILE_LINES + 1)) == [""]
    assert without_reason('"""It is one file because it is a test."""\n' + "x = 1\n" * FILE_LINES) == []


def test_prose_uses_plain_words():
    """Pages, help texts, errors, docstrings and comments; tests and the licence may say what they like."""
    texts = {path: path.read_text() for path in tracked() if path.suffix in PROSE and "tests" not in path.parts}
    assert len(texts) > 500
    assert {str(path): found for path, text in texts.items() if (found := RIDDLES.findall(text))} == {}


def contracts(place):
    """What lint-imports says of the packages in a place."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place), "COLUMNS": "200"},
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the packages that a test may break."""
    place = tmp_path_factory.mktemp("house")
    for path in [*tracked(*(f"{package}/*.py" for package in PACKAGES)), REPOSITORY / "pyproject.toml"]:
        target = place / path.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return place


def test_contracts_hold(copy):
    """As the packages are, every contract is kept; `make check` checks this too."""
    done = contracts(copy)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"), BROKEN, ids=[f"{contract}: {file}" for file, _, contract in BROKEN]
)
def test_contracts_can_be_broken(copy, file, line, contract):
    """A forbidden import in any room is found by its contract."""
    path = copy / file
    before = path.read_text()
    try:
        path.write_text(f"{before}\n{line}\n")
        done = contracts(copy)
    finally:
        path.write_text(before)
    assert done.returncode != 0
    assert f"{contract} BROKEN" in " ".join(done.stdout.split())


USERS = """
import numpy as np
from numpy.typing import NDArray

import unrolled

def vectors(out: str) -> dict[str, NDArray[np.floating]]:
    try:
        dataset = unrolled.open(out)
    except unrolled.UnrolledError:
        return {}
    return {row.id: row.outputs for row in dataset}

def padded(dataset: unrolled.Dataset) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    for batch in dataset.batches(max_rows=256):
        return unrolled.to_padded(batch)
    raise ValueError(f"no rows in a dataset of unrolled {unrolled.__version__}")
"""


MISTAKES = "import unrolled\n\nunrolled.open(3)\nunrolled.open('out').vectors_of_all\n"


@pytest.fixture(scope="module")
def types(tmp_path_factory):
    """What mypy says of both programs, run as a user would: outside of the repository, on the installed package."""
    place = tmp_path_factory.mktemp("types")
    (place / "program.py").write_text(USERS)
    (place / "mistakes.py").write_text(MISTAKES)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "program.py", "mistakes.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env={name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")},
    )
    assert "checked 2 source files" in done.stdout, done.stdout + done.stderr
    return done.stdout


def test_users_get_types(types):
    """A small program that uses the reader passes mypy's strict mode, as `py.typed` promises."""
    assert "program.py" not in types
    assert types.endswith("errors in 1 file (checked 2 source files)\n")


def test_users_mistakes_are_found(types):
    """The types are real ones: a wrong argument and a wrong attribute are refused."""
    assert "mistakes.py:3: error: Argument 1" in types
    assert 'mistakes.py:4: error: "Dataset" has no attribute "vectors_of_all"' in types
