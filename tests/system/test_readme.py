"""What README and docs say is so: commands, options, files and figures of the package that they name."""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from producer.cli.catalogue import COMMANDS, load_command

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_IN_LINE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"(?<!\w)(?:benchmarks|docs|tests|unrolled|producer|worker|brief|\.ci)/[\w./-]*\w/?")


def shell_lines(text):
    """Every command in a fenced block of shell, and every `unrolled …` in a line of prose."""
    for language, block in _FENCE.findall(text):
        if language in ("sh", "bash", "console", ""):
            yield from re.sub(r"\\\n", " ", block).splitlines()
    yield from (code for code in _IN_LINE.findall(_FENCE.sub("", text)) if code.startswith("unrolled "))


def unrolled_commands():
    """(page, words after `unrolled`) of all of them, pipes and lists taken apart."""
    for page in PAGES:
        for line in shell_lines(page.read_text()):
            words = [[]]
            plain = re.sub(r"<[^<>]*>|…", "X", line)  # what the reader is to put in
            for word in shlex.shlex(plain, posix=True, punctuation_chars="|&;<>"):
                if re.fullmatch(r"[|&;<>]+", word):
                    words.append([])
                else:
                    words[-1].append(word)
            for command in words:
                while command and "=" in command[0]:  # variables before it
                    command.pop(0)
                if command[:1] == ["unrolled"] and len(command) > 1:
                    yield page.name, command[1:]


ALL = list(unrolled_commands())


def test_there_are_commands_to_check():
    """Else the reading of the pages is broken."""
    assert len(ALL) > 10
    assert {words[0] for _, words in ALL} >= {"run", "enqueue", "worker", "status", "wait", "verify", "retry", "show"}


@pytest.mark.parametrize(("page", "words"), ALL, ids=[f"{page}: {' '.join(words)[:60]}" for page, words in ALL])
def test_every_command_that_is_named_exists_with_its_options(page, words):
    """Values aren't looked at; a command of a group counts with its group."""
    del page
    if words[0].startswith("-"):
        assert words[0] in ("--help", "--version", "--debug")
        return
    command = load_command(words[0])
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        command = command.commands[rest.pop(0)]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    used = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    assert used <= known


def test_every_command_is_in_the_readmes_table():
    """One line for each, or for some together."""
    table = re.search(r"^\| command \|.*?(?=\n\n)", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL)[0]
    named = {code for row in table.splitlines() for code in _IN_LINE.findall(row.split("|")[1])}
    assert named - {"demo", "completion"} == set(COMMANDS) - {"demo", "completion"}


@pytest.mark.parametrize(
    "page", [*PAGES, REPOSITORY / "Makefile", REPOSITORY / "CHANGELOG.md"], ids=lambda page: page.name
)
def test_every_file_that_is_named_exists(page):
    """Scripts behind figures above all; links too."""
    text = page.read_text()
    named = {name for name in _FILE.findall(text) if "*" not in name}
    named |= {link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link}
    places = (REPOSITORY, page.parent, REPOSITORY / "tests")
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    assert missing == []


def sections(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    texts = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


@pytest.mark.parametrize("page", [*PAGES, REPOSITORY / "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_section_that_is_linked_exists(page):
    """`page.md#section`, and `#section` of the page itself."""
    links = re.findall(r"\]\(([^)#:]*)#([\w-]+)\)", page.read_text())
    missing = [
        f"{name}#{section}" for name, section in links if section not in sections(page.parent / name if name else page)
    ]
    assert missing == []


def test_every_benchmark_that_code_names_exists():
    """A constant "by measurement" says which."""
    for package in ("unrolled", "producer", "worker"):
        for path in (REPOSITORY / package).rglob("*.py"):
            for name in re.findall(r"benchmarks/\w+\.py", path.read_text()):
                assert (REPOSITORY / name).exists(), f"{path} names {name}"


def test_every_benchmark_is_described_to_users():
    """Its docstring says how to run it, and a page names it."""
    pages = "".join(page.read_text() for page in PAGES)
    folder = REPOSITORY / "benchmarks"
    scripts = {path: path.read_text() for path in sorted(folder.glob("*.py"))}
    scripts = {path.name: text for path, text in scripts.items() if '__name__ == "__main__"' in text}
    scripts |= {name: (folder / name / "__main__.py").read_text() for name in ("chaos", "engines")}
    assert len(scripts) > 10
    for name, text in scripts.items():
        assert f"python benchmarks/{name} " in str(ast.get_docstring(ast.parse(text))), name
        assert f"`benchmarks/{name}`" in pages, name


@pytest.mark.parametrize(("script", "module"), [("loading.py", "torch"), ("ray_actors.py", "ray")])
def test_benchmarks_explain_themselves_without_optional_packages(script, module):
    """`--help` says what must be installed, so it must not need it."""
    code = f"import runpy, sys; sys.modules[{module!r}] = None; runpy.run_path(sys.argv[0], run_name='__main__')"
    path = str(REPOSITORY / "benchmarks" / script)
    code = (
        f"import sys; sys.argv = [{path!r}, '--help']; sys.path.insert(0, {str(REPOSITORY / 'benchmarks')!r}); {code}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"python benchmarks/{script}" in done.stdout


def test_every_variable_that_is_named_is_an_option():
    """UNROLLED_… in the pages: of a command, or put in by compose where its files say so."""
    options = {
        "UNROLLED_" + name.removeprefix("--").replace("-", "_").upper()
        for command in map(load_command, COMMANDS)
        for option in command.params
        for name in option.opts
        if name.startswith("--")
    }
    for path in [*PAGES, *REPOSITORY.glob("docker-compose*.yml")]:
        options |= set(re.findall(r"\$\{(UNROLLED_\w+)", path.read_text()))
    for page in PAGES:
        named = set(re.findall(r"\bUNROLLED_[A-Z_]+\b", page.read_text()))
        others = {"UNROLLED_LONG", "UNROLLED_ISA", "UNROLLED_CACHE", "UNROLLED_NO_KERNEL"}  # no command's own
        assert named - others <= options, page.name


def test_the_extras_that_are_named_exist():
    """`pip install '.[…]'`, in the pages and in what commands say."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    code = [path for package in ("unrolled", "producer", "worker") for path in (REPOSITORY / package).rglob("*.py")]
    in_pages = [name for page in PAGES for name in re.findall(r"pip install '\.\[([\w,]+)\]'", page.read_text())]
    said = re.compile(r"(?:install_command\(|(?:from_extra|refuse_missing)\([^()]*, )[\"']([\w,]+)[\"']\)")
    in_code = [name for path in code for name in said.findall(path.read_text())]
    assert len(in_pages) > 5
    assert len(in_code) > 15
    assert {name for names in [*in_pages, *in_code] for name in names.split(",")} <= extras
    assert {lazy.extra for lazy in COMMANDS.values()} <= extras


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_pages_is_python(page):
    """The reading snippets run in tests/unrolled/reading/test_other_readers.py; all others must at least compile."""
    for language, block in _FENCE.findall(page.read_text()):
        if language == "python":
            compile(block, page.name, "exec")


def test_every_test_that_guarantees_name_is_there():
    """docs/guarantees.md: claim → test file::test, or a benchmark."""
    text = (REPOSITORY / "docs" / "guarantees.md").read_text()
    shown = text[text.index("## Which test shows what") :]
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", shown)
    assert len(named) > 20
    for file, test in named:
        folder = REPOSITORY if file.startswith("benchmarks/") else REPOSITORY / "tests"
        source = (folder / file).read_text()
        assert not test or re.search(rf"^def {test}\(", source, re.MULTILINE), f"{file}::{test}"
