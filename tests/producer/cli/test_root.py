"""The command line as a whole: help, variables, exit statuses, and no traceback unasked for."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from support.jobs import decide, finished_job, make_job
from support.shell import Crew, make_model, write_rows

from producer.cli import root as module
from producer.cli.catalogue import COMMANDS, Lazy, load_command
from producer.cli.root import cli
from producer.enqueue.shard import make_shard
from producer.sources.rows import BadRow
from unrolled.errors import JobError, OptionError, install_command
from unrolled.format.file_info import release
from unrolled.job.segment import Segment
from unrolled.protocol.spooling import spool

REPOSITORY = Path(__file__).parents[3]
HEAVY = {
    "celery",
    "keras",
    "kombu",
    "numpy",
    "pyarrow",
    "redis",
    "rich",
    "tensorflow",
    "tokenizers",
    "worker",
}


def python(code, **kwargs):
    """Run Python in a process of its own."""
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"} | kwargs.pop("env", {})
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ, **kwargs
    )


def run(*arguments, **kwargs):
    return CliRunner().invoke(cli, list(arguments), prog_name="unrolled", **kwargs)


@pytest.fixture
def boom(monkeypatch):
    """A subcommand `boom` that calls a function of the test."""

    def set_up(callback):
        commands = types.ModuleType("commands_of_a_test")
        commands.boom = click.command()(callback)
        monkeypatch.setitem(sys.modules, commands.__name__, commands)
        monkeypatch.setitem(COMMANDS, "boom", Lazy("commands_of_a_test:boom", "Fail.", "producer"))

    return set_up


def all_commands(command, path=()):
    """Every command below a group, with its words."""
    yield path, command
    for name, child in command.commands.items() if isinstance(command, click.Group) else ():
        yield from all_commands(child, (*path, name))


EVERY_COMMAND = [found for name in COMMANDS for found in all_commands(load_command(name), (name,))]


def test_help_lists_every_command_and_loads_none():
    """Neither TensorFlow nor the worker nor any other slow package is loaded."""
    code = f"""
import sys
from producer.cli.root import cli
try:
    cli.main(["--help"], prog_name="unrolled")
finally:
    print("LOADED", sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)
"""
    done = python(code)
    assert done.stderr == "LOADED []\n"
    assert done.returncode == 0
    for name, lazy in COMMANDS.items():
        assert f"  {name}" in done.stdout
        assert lazy.help in done.stdout


def test_help_loads_click_and_what_it_shows():
    """What takes time is to load modules: of other packages click alone, and of this product's the lists it prints."""
    code = """
import sys
before = set(sys.modules)
from producer.cli.root import cli
try:
    cli.main(["--help"], prog_name="unrolled")
finally:
    for name in set(sys.modules) - before:
        if name.partition(".")[0] not in sys.stdlib_module_names:
            print(name, file=sys.stderr)
"""
    done = python(code)
    assert done.returncode == 0
    loaded = set(done.stderr.split())
    assert {name.partition(".")[0] for name in loaded} == {"click", "producer", "unrolled"}
    assert {name for name in loaded if not name.startswith("click")} == {
        "producer",
        "producer.cli",
        "producer.cli.catalogue",
        "producer.cli.exit_status",
        "producer.cli.hints",
        "producer.cli.root",
        "producer.cli.slips",
        "producer.cli.values",
        "producer.cli.variables",
        "producer.terminal",
        "producer.terminal.lines",
        "producer.terminal.signals",
        "unrolled",
        "unrolled.errors",
        "unrolled.process",
        "unrolled.process.signals",
        "unrolled.settings",
        "unrolled.settings.declaration",
        "unrolled.telemetry",
        "unrolled.telemetry.json_log",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name):
    """The lines in the catalogue equal those in the help texts."""
    assert load_command(name).get_short_help_str(limit=200) == COMMANDS[name].help


@pytest.mark.parametrize(("path", "command"), EVERY_COMMAND, ids=[" ".join(path) for path, _ in EVERY_COMMAND])
def test_every_command_has_help_with_examples_and_variables(path, command):
    """Nothing is undocumented, and no click markup shows."""
    text = run(*path, "--help", env={"COLUMNS": "200"}).output
    assert "\\b" not in text
    assert "=None" not in text  # a bound that isn't there
    assert isinstance(command, click.Group) or path == ("completion",) or "Example" in text
    for option in command.params:
        if isinstance(option, click.Option) and not option.is_eager:
            assert option.help, option.name
            flag = next(name for name in option.opts if name.startswith("--"))
            assert option.envvar == "UNROLLED_" + flag.removeprefix("--").replace("-", "_").upper()
            assert f"env var: {option.envvar}" in " ".join(text.split())


def test_options_of_one_name_mean_one_thing():
    """A variable is shared by all commands, so its kind must be too."""
    kinds = {}
    for path, command in EVERY_COMMAND:
        for option in command.params:
            if isinstance(option, click.Option) and option.envvar:
                kind = (option.is_flag, option.multiple)
                assert kinds.setdefault(option.envvar, kind) == kind, (path, option.name)


def test_an_option_is_taken_from_its_variable(tmp_path):
    """The command line goes before the variable."""
    result = run("doctor", env={"UNROLLED_JSON": "1", "UNROLLED_MODEL": str(tmp_path / "none")})
    checks = {check["name"]: check for check in json.loads(result.output)["checks"]}
    assert checks["model"]["outcome"] == "fail"
    result = run("doctor", "--model", str(tmp_path / "other"), env={"UNROLLED_MODEL": str(tmp_path / "none")})
    assert "other: does not exist" in result.output


def test_the_version_is_that_of_the_package():
    """The version is that of the installed package."""
    assert run("--version").output == f"unrolled {release()}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell):
    """The script asks `unrolled` through its variable."""
    result = run("completion", shell)
    assert (result.exit_code, "_UNROLLED_COMPLETE=" in result.output) == (0, True)


def test_the_shell_completes_commands_without_loading_them():
    """TAB completes the names of commands, and then the options of the command."""
    environ = {"_UNROLLED_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    code = "from producer.cli.root import cli; cli.main(prog_name='unrolled')"
    names = python(code, env={**environ, "COMP_WORDS": "unrolled "}).stdout
    assert names.split() == [f"plain,{name}" for name in COMMANDS]
    options = python(code, env={**environ, "COMP_WORDS": "unrolled wait --ti", "COMP_CWORD": "2"}).stdout
    assert options == "plain,--timeout\n"


def test_an_expected_error_is_a_line(boom):
    """The line is all that is printed, with exit status 1."""

    def fail():
        raise JobError("/out: holds another job; use another --out")

    boom(fail)
    result = run("boom")
    assert result.exit_code == 1
    assert result.stderr == "Error: /out: holds another job; use another --out\n"
    assert result.stdout == ""


def test_options_that_can_not_be_are_wrong_usage(boom):
    """The exit status is 2, wherever the library finds the error."""

    def fail():
        raise OptionError("--threads is 0; allowed: 1 or more")

    boom(fail)
    result = run("boom")
    assert result.exit_code == 2
    assert result.stderr == "Error: --threads is 0; allowed: 1 or more\n"


def test_an_unexpected_error_is_a_line_that_says_how_to_see_more(boom):
    """The line has the error's type, its text, and how to get the traceback."""

    def fail():
        raise ZeroDivisionError("no such number")

    boom(fail)
    result = run("boom")
    assert result.exit_code == 1
    assert result.stderr == "Error: ZeroDivisionError: no such number; `unrolled --debug …` shows where\n"


@pytest.mark.parametrize("how", [{"args": ["--debug"]}, {"env": {"UNROLLED_DEBUG": "1"}}])
def test_debug_shows_where_an_error_comes_from(boom, how):
    """The flag and the variable both print the traceback."""

    def fail():
        raise ZeroDivisionError("no such number")

    boom(fail)
    result = run(*how.get("args", []), "boom", env=how.get("env"))
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("\nError: ZeroDivisionError: no such number\n")


def test_too_little_memory_is_named_with_the_limit(boom, monkeypatch):
    """A library that can't be loaded within a limit of addresses doesn't say so."""

    def fail():
        raise ImportError("libx.so: failed to map segment from shared object")

    boom(fail)
    limits = "Max address space         2048000000           unlimited            bytes\n"
    monkeypatch.setattr("unrolled.settings.machine_memory.text_of", lambda _: limits)
    assert run("boom").stderr == (
        "Error: ImportError: libx.so: failed to map segment from shared object; there is not enough memory, because "
        "this process is limited to 1.91 GiB of addresses: raise the limit, with `ulimit -v unlimited`; "
        "`unrolled --debug …` shows where\n"
    )


def test_an_interrupt_ends_with_130_and_says_how_to_go_on(boom, monkeypatch):
    """The status is the shell's for Ctrl-C."""

    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)

    boom(interrupt)
    for command, said in (
        ("boom", "Interrupted.\n"),
        ("run", "Interrupted; what is in the output is kept. Run the same command again and it resumes.\n"),
    ):
        monkeypatch.setitem(COMMANDS, command, COMMANDS["boom"])
        result = run(command)
        assert (result.exit_code, result.stderr) == (130, said)


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("import producer.cli.root", ""),
        ("import click", ""),
        ("click.core.Context.__init__", ""),
        ("producer.cli.commands.watch.status.status.main", "Interrupted.\n"),
        ("atexit._run_exitfuncs", ""),
    ],
)
def test_ctrl_c_at_any_moment_of_a_command_shows_no_traceback(moment, said):
    """While it is imported, before it begins, in it, and at its end; the status is always the shell's for Ctrl-C."""
    script = f"""
import producer.__main__ as entry, atexit, builtins, os, signal, sys
moment, original = {moment!r}, builtins.__import__

def interrupt(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)

def imported(name, *more):
    if moment == f"import {{name}}":
        interrupt()
    return original(name, *more)

builtins.__import__ = imported
sys.argv = ["unrolled", "status", "--help"]
if moment.startswith("click"):
    import click
    click.core.Context.__init__ = interrupt
elif moment.startswith("atexit"):
    atexit.register(interrupt)
elif not moment.startswith("import"):
    from producer.cli.commands.watch.status import status
    status.make_context = interrupt
entry.main()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stderr == said
    assert done.returncode == (130 if said else -signal.SIGINT)


def test_an_empty_path_is_not_the_working_directory(monkeypatch, tmp_path):
    """A variable of the shell that isn't set would write a model there; each path of each command is checked."""
    monkeypatch.chdir(tmp_path)
    sizes = ["--vocab-size", "9", "--max-length", "9", "--lstm-units", "9", "--lstm-layers", "1"]
    result = run("model", "new", "", *sizes)
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "Invalid value for 'DIRECTORY': the name is empty; is a variable missing?" in result.stderr
    paths = [option for _, command in EVERY_COMMAND for option in command.params if isinstance(option.type, click.Path)]
    assert len(paths) > 10
    for option in paths:
        with pytest.raises(click.BadParameter, match="the name is empty"):
            option.type.convert("", option, None)
    assert "give a dot" in result.stderr
    assert "give a dot" not in run("report", tmp_path, "--to", "").stderr, "a file is expected"
    assert run("doctor", "").exit_code == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["show", "OUT", "--json"], ["--debug", "status", "OUT"]])
def test_output_that_cannot_be_written_is_one_line(tmp_path, words):
    """On a full disk, with status 1; a pipe whose reader has ended, such as `head`, needs no line."""
    finished_job(tmp_path / "out")
    command = [sys.executable, "-m", "producer", *(str(tmp_path / "out") if word == "OUT" else word for word in words)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    said = "Error: standard output can't be written (No space left on device), so it is incomplete\n"
    assert (done.returncode, done.stderr) == (1, said)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, cwd=REPOSITORY, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_messages_that_cannot_be_written_are_lost_and_nothing_else(tmp_path):
    """As where standard error is a log on a full disk: the result and the exit status are what they are."""
    finished_job(tmp_path / "out")
    for words, status, said in ((["verify", str(tmp_path / "out")], 0, ": verified; "), (["status", "nowhere"], 1, "")):
        command = [sys.executable, "-m", "producer", *words]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=full, text=True, check=False)
        assert (done.returncode, said in done.stdout) == (status, True), words


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_messages_that_nobody_takes_now_are_lost(tmp_path, unbuffered):
    """As those for a full pipe whose writer may not wait."""
    finished_job(tmp_path / "out")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    command = [sys.executable, "-m", "producer", "verify", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=writer, text=True, check=False
    )
    os.close(reader)
    os.close(writer)
    assert (done.returncode, ": verified; " in done.stdout) == (0, True)


def test_a_working_directory_that_was_removed(tmp_path, monkeypatch):
    """It is named; no path can be resolved from there."""
    finished_job(tmp_path / "out")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = run("status", "../out")
    said = "Error: the working directory was removed; go to another one (cd), and run the command again\n"
    assert (result.exit_code, result.stderr) == (1, said)


@pytest.mark.parametrize("command", ["fit", "import"])
def test_of_the_commands_of_models_only_fit_resumes(monkeypatch, command):
    """An interrupted import begins again."""
    import worker.cli.model as module  # noqa: PLC0415 - it loads the worker

    @click.command(command)
    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(module.model, "commands", {command: interrupted})
    monkeypatch.setattr("producer.cli.catalogue.MEMBERS", {})
    result = run("model", command)
    assert (result.exit_code, "it resumes" in result.stderr) == (130, command == "fit")


@pytest.mark.parametrize("words", [
    ["verify"], ["show"], ["neighbours", "--id", "a"], ["report"], ["card"],
])  # fmt: skip
def test_a_command_that_looks_at_a_job_is_interrupted(tmp_path, monkeypatch, words):
    """Wherever Ctrl-C finds it: one line, nothing to resume, and no file that wasn't there."""
    finished_job(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    first = threading.Lock()

    def interrupt(*_, **__):
        # Once: a second thread's would come when the command is over.
        if first.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("pyarrow.parquet.ParquetFile.__init__", interrupt)
    result = run(words[0], str(tmp_path), *words[1:])
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Interrupted.\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_plan_is_interrupted(tmp_path, monkeypatch):
    """While the engine is measured, in a process that ends too."""
    make_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", {"a": [1, 2]})
    started = []

    class Interrupted(subprocess.Popen):
        def __enter__(self):
            started.append(self)
            self.stdin.close()
            self.stdin = types.SimpleNamespace(write=lambda _: os.kill(os.getpid(), signal.SIGINT), close=lambda: None)
            return self

    monkeypatch.setattr("subprocess.Popen", Interrupted)
    result = run("plan", str(tmp_path / "rows.jsonl"), "--model", str(tmp_path / "model"))
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Interrupted.\n")
    (process,) = started
    assert process.returncode == -signal.SIGKILL


def test_ctrl_c_in_a_terminal(tmp_path):
    """A process of its own, as a shell starts it, in the middle of a report: one line, and no page."""
    finished_job(tmp_path / "out")
    os.mkfifo(tmp_path / "plan.json")
    with Crew() as crew:
        process = crew.start("report", tmp_path / "out", "--plan", tmp_path / "plan.json")
        with (tmp_path / "plan.json").open("w"):  # it waits for what is written there
            os.killpg(process.pid, signal.SIGINT)
            out, said = process.communicate(timeout=60)
    assert (process.returncode, out, said) == (130, "", "Interrupted.\n")
    assert not [path for path in tmp_path.rglob("*") if "report" in path.name]


def test_ctrl_c_before_anything_has_begun(tmp_path):
    """While Python imports the command line, there is no traceback either."""
    (tmp_path / "click.py").write_text("print('importing', flush=True)\nimport time\ntime.sleep(600)\n")
    with subprocess.Popen(
        [sys.executable, "-m", "producer"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"},
    ) as process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=60)
    assert (process.returncode, out, said) == (-signal.SIGINT, "", "")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    """The base install only reads files."""
    monkeypatch.setitem(COMMANDS, "worker", Lazy("no_such_package.cli:worker", "", "worker"))
    result = run("worker")
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: `unrolled worker` needs no_such_package, which is missing: {install_command('worker')}\n"
    )


def test_without_click_the_command_says_what_to_install():
    """The base install has the command `unrolled` too."""
    code = "import sys; sys.modules['click'] = None; import producer.cli.root"
    done = python(code)
    assert done.returncode == 1
    assert done.stderr == f"unrolled: this is the reader alone; for the commands: {install_command('producer')}\n"


def test_wrong_usage_ends_with_2():
    """The status is click's; a name that is nearly right is answered with the right one."""
    assert run("status").exit_code == 2
    assert run("no-such-command").exit_code == 2
    assert "No such command 'quarantin'. Did you mean 'quarantine'?" in run("quarantin").stderr
    assert "No such option '--brokr'. Did you mean '--broker'?" in run("status", "out", "--brokr", "x").stderr
    assert run("status", "out", "--every-seconds", "0").exit_code == 2


def test_a_secret_in_a_wrong_url_is_not_repeated():
    """The password is hidden, on the command line and in the variable."""
    for result in (
        run("status", "out", "--broker", "http://me:geheim@host/"),
        run("status", "out", env={"UNROLLED_BROKER": "amqp://me:geheim@host/"}),
    ):
        assert result.exit_code == 2
        assert "geheim" not in result.output + result.stderr
        assert "me:***@host" in result.stderr


def test_run_says_which_broker_a_variable_names():
    """It would start its own: a variable that is set for other commands changes where the job is queued."""
    command = ("run", "nowhere.txt", "--model", "nowhere", "--out", "nowhere")
    environment = {"UNROLLED_BROKER": "redis://me:geheim@host/"}
    line = "the broker is redis://me:***@host/, which UNROLLED_BROKER names; without it, `run` starts its own\n"
    assert run(*command, env=environment).stderr.startswith(line)
    assert "the broker is" not in run(*command, "--broker", "redis://host/").stderr


def test_a_closed_pipe_is_quiet(tmp_path):
    """`unrolled quarantine OUT | head` prints no error."""
    job = make_job(tmp_path, shards=0, ended=False)
    shard = make_shard(0, job.job.id, [BadRow("rows.txt", row, None, "empty line") for row in range(20_000)])
    spool(job.objects, shard)
    decide(job, Segment("shards", (shard.entry,)))
    command = (
        f"from producer.cli.root import main; import sys; sys.argv[1:] = ['quarantine', {str(tmp_path)!r}]; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def test_the_entry_point_runs_the_group(monkeypatch):
    """`main` is what the installed script calls."""
    monkeypatch.setattr(sys, "argv", ["unrolled", "--version"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0


def _with_children(words, command):
    yield words, command
    for name in getattr(command, "commands", {}):
        yield from _with_children([*words, name], command.commands[name])


def test_no_number_is_nan_or_infinite():
    """In no option of any command: exit status 2, and the range; a wait of nan seconds would never end."""
    tried = set()
    for name in COMMANDS:
        for words, command in _with_children([name], load_command(name)):
            for option in command.params:
                if not isinstance(option.type, type(click.FLOAT)):
                    continue
                flag = option.opts[0]
                tried.add(flag)
                for value in ("nan", "inf", "-inf", "1e999"):
                    result = run(*words, flag, value)
                    assert result.exit_code == 2, (words, flag, value)
                    assert f"'{flag}'" in result.output, (words, flag, result.output)
                    assert re.search(r"not a finite number|is not in the range .*x", result.output), result.output
    assert {"--timeout", "--every-seconds", "--flush-seconds", "--lease-seconds", "--parity", "--clip-norm"} <= tried


def test_closed_streams_and_names_that_are_not_utf8(tmp_path):
    """No file of the job gets the number of a standard stream, and no name is taken for damage."""
    make_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", {"a": [1, 2], "b": [3]})
    out = os.fsencode(tmp_path) + b"/o\xe9"
    for command in ("run rows.jsonl --model model --out", "verify", "status", "wait"):
        line = f'exec "$0" -P -m producer {command} "$1" >&- 2>&-'
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(["/bin/sh", "-c", line, sys.executable, out], check=False, cwd=tmp_path, env=environ)
        assert done.returncode == 0, command
    (part,) = Path(os.fsdecode(out)).glob("*.parquet")
    assert part.read_bytes()[:4] == b"PAR1"
