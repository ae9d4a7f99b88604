"""Compares `unrolled plan` with what happens, for five inputs of different shape.

    python benchmarks/plan.py [--only prose,code,huge,tiny,compressed] [--units 256] [--tokens 1500000] [--table FILE]

Each input is planned, and then done by `unrolled run` with one worker. The table shows what was planned beside the
fact, and by how many per cent the plan was off: tokens, rows, bytes of the parts, seconds from the start of the
command to the last part, and the worker's peak memory. With --table, a row for each input is added to a file of
tab-separated values.

The inputs are small, so that their jobs are short; a sample of three seconds would read all of them. So the plan's
sample takes less, and reads a part as it does of a large input.

The text is the standard library's: its docstrings and its source code.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from workplace import log_of, peak_mib

from producer.demo.docstrings import sentences

VOCABULARY = 10_000
TINY_FILES = 5_000
LOOK_SECONDS = 0.05


def main() -> None:
    """Plan and run each input, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(INPUTS), help="inputs, separated by commas")
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=1_500_000, help="about so many tokens in each input")
    parser.add_argument("--sample-seconds", type=float, default=0.2, help="of the sample; a plan takes 3")
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    table = arguments.table.resolve() if arguments.table else None
    with tempfile.TemporaryDirectory(prefix="unrolled-plan-") as folder:
        os.chdir(folder)
        texts = [text for _, text in sentences()]
        Path("sentences.txt").write_text("\n".join(texts))
        unrolled("model", "new", "model", "--vocab-size", VOCABULARY, "--max-length", 128,
                 "--lstm-units", arguments.units, "--lstm-layers", 2)  # fmt: skip
        unrolled("tokenizer", "fit", "sentences.txt", "--vocab-size", VOCABULARY, "--out", "model")
        for name in arguments.only.split(","):
            path, options = INPUTS[name](texts, arguments.tokens)
            found = compared(name, path, options, arguments.sample_seconds)
            print(line_of(found), flush=True)
            if table:
                add_row(table, found)


def add_row(table: Path, found: dict[str, Any]) -> None:
    """Add a row of tab-separated values, and the names of the columns before the first."""
    begins = not table.exists()
    with table.open("a") as file:
        if begins:
            file.write("\t".join(name.replace("%", "percent").replace(" ", "_") for name in found) + "\n")
        file.write("\t".join(str(value) for value in found.values()) + "\n")


def prose(texts: list[str], tokens: int) -> tuple[str, list[str]]:
    """A sentence in each line of one file."""
    write_lines(Path("prose.txt"), upto(numbered(texts), tokens))
    return "prose.txt", []


def code(texts: list[str], tokens: int) -> tuple[str, list[str]]:
    """The standard library's source files, as they are: short lines, many of them empty; one vector a row."""
    del texts
    Path("code").mkdir()
    left = tokens * 4  # bytes, roughly
    for number, path in enumerate(sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))):
        if "site-packages" in path.parts or left < 0:
            continue
        content = path.read_bytes()
        left -= len(content)
        Path("code", f"{number:05}.txt").write_bytes(content)
    return "code", ["--pooling", "mean"]


def huge(texts: list[str], tokens: int) -> tuple[str, list[str]]:
    """One row."""
    Path("huge.txt").write_text(" ".join(upto(numbered(texts), tokens // 6)))
    return "huge.txt", []


def tiny(texts: list[str], tokens: int) -> tuple[str, list[str]]:
    """Thousands of files of some rows."""
    Path("tiny").mkdir()
    lines = upto(numbered(texts), tokens)
    step = -(-len(lines) // TINY_FILES)
    for number in range(TINY_FILES):
        some = lines[number * step : (number + 1) * step]
        content = "".join(json.dumps({"id": f"{number}-{at}", "text": text}) + "\n" for at, text in enumerate(some))
        Path("tiny", f"{number:05}.jsonl").write_text(content)
    return "tiny", ["--precision", "float16"]


def compressed(texts: list[str], tokens: int) -> tuple[str, list[str]]:
    """Paragraphs of different lengths in some compressed files."""
    rng, lines = random.Random(5), iter(upto(numbered(texts), tokens))
    rows = []
    while some := list(islice(lines, rng.randrange(1, 12))):
        rows.append(json.dumps({"text": " ".join(some)}) + "\n")
    Path("compressed").mkdir()
    for number in range(4):
        with gzip.open(Path("compressed", f"{number}.jsonl.gz"), "wt") as file:
            file.writelines(rows[number::4])
    return "compressed", []


INPUTS = {"prose": prose, "code": code, "huge": huge, "tiny": tiny, "compressed": compressed}


def numbered(texts: list[str]) -> Iterator[str]:
    """The texts without end, shuffled, each time round in another order."""
    order = list(texts)
    random.Random(1).shuffle(order)
    return cycle(order)


def upto(lines: Iterator[str], tokens: int) -> list[str]:
    """So many lines that there are about as many words."""
    found = []
    while tokens > 0:
        line = next(lines)
        found.append(line)
        tokens -= len(line.split())
    return found


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a file of lines."""
    path.write_text("\n".join(lines) + "\n")


def unrolled(*words: object) -> str:
    """Run a command line to its end; returns what it prints."""
    done = subprocess.run([sys.executable, "-m", "producer", *map(str, words)], check=False, stdout=subprocess.PIPE)
    if done.returncode not in (0, 3):
        raise SystemExit(f"unrolled {words[0]} ended with status {done.returncode}")
    return done.stdout.decode()


#: A plan from a sample that takes as many seconds as the first argument says.
_PLAN = """
import sys
from producer.cli.root import main
from producer.plan import planning
planning.SAMPLE_SECONDS = float(sys.argv.pop(1))
main()
"""


def compared(name: str, path: str, options: list[str], sample_seconds: float) -> dict[str, Any]:
    """Plan and do a job."""
    words = ["plan", path, "--model", "model", *options, "--json"]
    began = time.perf_counter()
    printed = subprocess.run(
        [sys.executable, "-c", _PLAN, str(sample_seconds), *words], check=True, stdout=subprocess.PIPE
    ).stdout
    plan = json.loads(printed)
    planned_in = time.perf_counter() - began
    out = Path(f"out-{name}")
    peaks = Peaks(out)
    began = time.time()
    status = json.loads(unrolled("run", path, "--model", "model", "--out", out, *options, "--json"))
    in_all = time.time() - began
    parts = [part.stat() for part in out.glob("part-*")]
    seconds = max(part.st_mtime for part in parts) - began
    entries = log_of(str(out)).entries.values()
    size = sum(part.st_size for part in parts)
    found = {
        "input": name,
        "plan seconds": round(planned_in, 1),
        "read share": round(plan["input"]["read_bytes"] / plan["input"]["size_bytes"], 4),
        **pair("rows", plan["rows"]["rows"]["value"], sum(entry.rows for entry in entries)),
        **pair("tokens", plan["rows"]["tokens"]["value"], status["tokens"]),
        **pair("bytes", next(choice["size"]["value"] for choice in plan["choices"] if choice["chosen"]), size),
        **pair("seconds", plan["times"]["total"]["value"], round(seconds, 2)),
        "seconds with verification": round(in_all, 2),
        **pair("worker bytes", plan["worker_bytes"], round(peaks.stop() * 2**20)),
    }
    shutil.rmtree(out)
    return found


class Peaks(threading.Thread):
    """Looks for the worker of a run, and keeps its peak memory."""

    def __init__(self, out: Path) -> None:
        super().__init__(daemon=True)
        self._ended, self._peak, self._out = threading.Event(), 0.0, out
        self.start()

    def run(self) -> None:
        """Look again and again."""
        while not self._ended.wait(LOOK_SECONDS):
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    here = (folder / "cwd").resolve() == Path.cwd()
                except OSError:
                    continue
                if here and words[-2:-1] == [b"worker"]:
                    self._peak = max(self._peak, peak_mib(int(folder.name)))

    def stop(self) -> float:
        """The peak in MiB."""
        self._ended.set()
        self.join()
        return self._peak


def pair(name: str, planned: float, fact: float) -> dict[str, float]:
    """What was planned, the fact, and by how much the plan was off."""
    return {f"{name} planned": planned, name: fact, f"{name} off %": round(100 * (planned / max(fact, 1e-9) - 1), 1)}


def line_of(found: dict[str, Any]) -> str:
    """A line for people."""
    parts = [f"{found['input']:11} planned in {found['plan seconds']} s from {100 * found['read share']:.3g} %"]
    names = ("rows", "tokens", "bytes", "seconds", "worker bytes")
    parts += [f"{name} {found[f'{name} planned']:,} / {found[name]:,} ({found[f'{name} off %']:+} %)" for name in names]
    return "; ".join(parts)


if __name__ == "__main__":
    main()
