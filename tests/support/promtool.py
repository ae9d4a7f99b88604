"""Prometheus's own programs, where they are installed (Debian: apt install prometheus promtool)."""

import shutil
import subprocess

from support.skips import skip_here


def program(name):
    """The path of a program; without it the test is skipped, because no Python package has it."""
    return shutil.which(name) or skip_here(f"{name} is missing: apt install prometheus promtool kustomize")


def check_metrics(text):
    """The complaints of `promtool check metrics` about an exposition; empty where there are none."""
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip() + ("" if done.returncode == 0 else f" (exit {done.returncode})")
