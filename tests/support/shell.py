"""`unrolled …` as a person types it: each command in a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from support.processes import eventually

from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights
from worker.engines.fused.library import why_unavailable

REPOSITORY = Path(__file__).parents[2]
#: The quick one, where its kernel is built.
ENGINE = "tensorflow" if why_unavailable() else "fused"
VOCABULARY, UNITS = 50, 8


def environment(**variables):
    """This process's, without what it may say of the product; `variables` are options."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNROLLED_")}
    given = {f"UNROLLED_{name.upper()}": str(value) for name, value in variables.items()}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "120", **given}


def words(*arguments):
    # Like the installed command, which doesn't look for modules where it is started.
    return [sys.executable, "-P", "-m", "producer", *map(str, arguments)]


def unrolled(*arguments, stdin="", cwd=None, timeout=60, **variables):
    """Run a command to its end; no traceback may show, whatever became of it."""
    done = subprocess.run(
        words(*arguments),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=timeout,
        env=environment(**variables),
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done


class Crew:
    """Commands that go on, and none of which outlives the test."""

    def __init__(self):
        self._processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()

    def start(self, *arguments, cwd=None, stdin=subprocess.DEVNULL, **variables):
        """Start a command, in a process group of its own as a shell would."""
        return self._started(
            words(*arguments),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment(**variables),
        )

    def shell(self, line, cwd=None, stdin=subprocess.DEVNULL, **variables):
        """Start a line of shell."""
        return self._started(
            ["/bin/sh", "-c", line],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd or REPOSITORY,
            env=environment(**variables),
        )

    def worker(self, log, **variables):
        """Start `unrolled worker`; it is ready, or the test fails."""
        with log.open("wb") as file:
            process = self._started(words("worker"), stdout=file, stderr=file, env=environment(**variables))
        eventually(lambda: b" ready." in log.read_bytes() or process.poll() is not None, "a worker that is ready", 90)
        assert process.poll() is None, log.read_text()
        return process

    def _started(self, command, **how):
        self._processes.append(subprocess.Popen(command, process_group=0, **how))
        return self._processes[-1]


def end(process):
    """End a process in order; its exit status."""
    process.send_signal(signal.SIGTERM)
    return process.wait(30)


def children(pid, word):
    """Processes below another whose command line holds a word."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if word in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def gone(processes):
    """Whether none of them runs any more; a zombie doesn't run."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def make_model(path, units=UNITS, vocabulary=VOCABULARY, tokenizer_json=None, layers=2):
    """A model that costs next to nothing."""
    config = ModelConfig.stacked(vocabulary, 64, units, layers, 4)
    return save_model(path, config, new_weights(config, 1), tokenizer_json)


def write_rows(path, rows):
    """JSON lines: token ids by id."""
    path.write_text("".join(json.dumps({"id": name, "tokens": tokens}) + "\n" for name, tokens in rows.items()))
    return path
