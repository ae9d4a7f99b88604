"""Compiles the fused engine's kernel: `python -m worker.engines.fused.build`; hatch_build.py runs it on installation.

Every instruction set has its own file and its own compiler flags, and is chosen when the library is loaded. So the
library runs on every processor of its architecture. CXX names the compiler; CXXFLAGS and LDFLAGS add to its options.

This file imports only the standard library, because it runs before the package's dependencies are installed.
"""

# Over 150 lines: this file may import no other one of the package.

import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).with_name("src")
LIBRARY = Path(__file__).with_name("_kernel.so")
#: Beside the library: of which sources, by which compiler and with which options it was made, and its own digest.
RECORD = LIBRARY.with_name("_kernel.made")
#: Where an installation without the library keeps the reason, in a line.
REASON = LIBRARY.with_name("_kernel.txt")
_AGAIN = ", and install unrolled again"
COMPILERS = ("c++", "g++", "clang++")

# Compilers may contract multiplications and additions in one loop and not in another, and then equal rows would have
# different results. So contraction is off, and fused multiply-adds are spelled out.
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-pthread", "-fvisibility=hidden", "-ffp-contract=off")
_AVX512 = ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma")
X86_FLAGS = {
    "kernel_avx2.cpp": ("-mavx2", "-mfma"),
    "kernel_avx512.cpp": _AVX512,
    "kernel_avx512_bf16.cpp": (*_AVX512, "-mavx512bf16"),
    "kernel_amx.cpp": (*_AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"),
}


class CannotBuildError(Exception):
    """There is no compiler, or it failed. The text is one line."""


def find_compiler() -> list[str]:
    """The command of the C++ compiler: $CXX, or the first known compiler on the path.

    Raises:
        CannotBuildError: there is no compiler.
    """
    named = os.environ.get("CXX")
    for command in [shlex.split(named)] if named else [[name] for name in COMPILERS]:
        if command and shutil.which(command[0]):
            return command
    raise CannotBuildError(
        f"no C++ compiler found ({named or ', '.join(COMPILERS)}); install one, or name it in CXX{_AGAIN}"
    )


def build_kernel() -> bool:
    """Compile the kernel, unless the library that is there was made of the same sources in the same way.

    Returns:
        Whether it was compiled.

    Raises:
        CannotBuildError: there is no compiler, or it failed.
    """
    origin = _origin()
    with contextlib.suppress(OSError):
        if RECORD.read_text() == f"{origin} {_digest(LIBRARY)}\n":
            return False
    compile_kernel(LIBRARY)
    RECORD.write_text(f"{origin} {_digest(LIBRARY)}\n")
    return True


def _origin() -> str:
    """The digest of everything that decides what the library contains."""
    compiler = find_compiler()
    # The compiler with its version, its options, and the machine, of whose processor an option of the user may speak.
    ways = [shlex.join(compiler), _run([*compiler, "--version"]), *FLAGS, repr(X86_FLAGS), *platform.uname()]
    ways += [os.environ.get(name, "") for name in ("ARCHFLAGS", "CXXFLAGS", "LDFLAGS")]
    for source in sorted(path for path in SOURCES.rglob("*") if path.is_file()):
        ways.append(f"{source.relative_to(SOURCES)} {_digest(source)}")
    return hashlib.sha256("\0".join(ways).encode()).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def compile_kernel(
    output: Path = LIBRARY,
    *,
    sources: Sequence[Path] = (),
    flags: Sequence[str] = (),
    link: Sequence[str] = ("-shared",),
) -> None:
    """Compile the kernel's sources and `sources`, in parallel, and link them into `output`.

    Args:
        output: the library; it is replaced in one step, so a process that has loaded it keeps the old one.
        sources: more source files, for a test program.
        flags: more options for the compiler and the linker, after the usual ones.
        link: the linker's option for the kind of file.

    Raises:
        CannotBuildError: there is no compiler, or it failed.
    """
    compiler = find_compiler()
    common = [*FLAGS, *_words("ARCHFLAGS"), *_words("CXXFLAGS"), *flags]
    x86 = _targets_x86(compiler)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".kernel-") as scratch:

        def compile_one(source: Path) -> str:
            target = f"{scratch}/{source.stem}.o"
            own = X86_FLAGS.get(source.name, ()) if x86 else ()
            if not _knows(compiler, own):
                own = ()  # a file without its flags says that it has no kernel
            _run([*compiler, *common, *own, f"-I{SOURCES}", "-c", str(source), "-o", target])
            return target

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            objects = list(threads.map(compile_one, [*sorted(SOURCES.rglob("*.cpp")), *sources]))
        linked = f"{scratch}/linked"
        _run([*compiler, *link, *common, *objects, *_words("LDFLAGS"), "-o", linked])
        Path(linked).replace(output)


def _words(variable: str) -> list[str]:
    return shlex.split(os.environ.get(variable, ""))


def _targets_x86(compiler: list[str]) -> bool:
    architectures = [word for word in _words("ARCHFLAGS") if word != "-arch"]
    if architectures:  # macOS; a universal build has only the portable kernel
        return architectures == ["x86_64"]
    return _run([*compiler, "-dumpmachine"]).startswith(("x86_64", "amd64"))


def _knows(compiler: list[str], flags: Sequence[str]) -> bool:
    """Whether the compiler knows all of these flags; those of the newest processors need a new one."""
    if not flags:
        return True
    command = [*compiler, *flags, "-E", "-x", "c++", os.devnull]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        raise CannotBuildError(
            f"{command[0]} failed with status {done.returncode}; `pip install -v` of unrolled shows what it says"
        )
    return done.stdout


if __name__ == "__main__":
    try:
        sys.stdout.write("compiled\n" if build_kernel() else "unchanged, so not compiled again\n")
    except CannotBuildError as error:
        sys.exit(f"the fused engine's kernel was not built: {error}")
