"""A log of one JSON object a line."""

import io
import json
import logging
import subprocess
import sys
import threading

import pytest

from unrolled.telemetry.json_log import MOST_CHARACTERS, JsonFormatter, about, note


@pytest.fixture
def logged():
    """A logger of the test's own, and the objects that it has written."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    log = logging.getLogger("unrolled.test")
    log.propagate = False
    log.addHandler(handler)
    yield log, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    log.removeHandler(handler)
    log.propagate = True


def test_a_record_is_one_object_on_one_line(logged):
    """Line ends of every kind stay inside of their field."""
    log, lines = logged
    log.warning("two\nlines, %s, \u2028 and \x85 and \r", "an argument")
    (found,) = lines()
    assert found["message"] == "two\nlines, an argument, \u2028 and \x85 and \r"
    assert (found["level"], found["logger"], found["thread"]) == ("WARNING", "unrolled.test", "MainThread")
    assert found["time"].endswith("+00:00")


def test_an_error_is_one_field(logged):
    """The traceback is a text of the object, with the error at its end, however long it is."""
    log, lines = logged
    try:
        del {}["x" * 2 * MOST_CHARACTERS + " the end"]
    except KeyError:
        log.exception("it failed")
    (found,) = lines()
    assert found["exception"].endswith("the end'")
    assert len(found["exception"]) == MOST_CHARACTERS


def test_what_a_thread_works_on_is_in_its_lines_alone(logged):
    """Facts are added in a block, and only in its thread."""
    log, lines = logged
    with about(job="a", shard="1"):
        log.warning("inside")
        with about():
            note(shard="2")
            log.warning("further inside")
        thread = threading.Thread(target=log.warning, args=("elsewhere",))
        thread.start()
        thread.join()
    log.warning("outside")
    found = {line["message"]: (line.get("job"), line.get("shard")) for line in lines()}
    nothing = (None, None)
    assert found == {"inside": ("a", "1"), "further inside": ("a", "2"), "elsewhere": nothing, "outside": nothing}


def test_wrong_arguments_do_not_end_the_log():
    """A record whose arguments don't fit its text is still a line."""
    record = logging.LogRecord("unrolled", logging.WARNING, "", 0, "%d", ("no number",), None)
    assert "no number" in json.loads(JsonFormatter().format(record))["message"]


def test_everything_that_a_process_says_is_json():
    """Warnings, errors of threads and the error that ends the process are objects too."""
    code = """
import threading, warnings
from unrolled.telemetry.json_log import log_json
log_json()
warnings.warn("careful")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise RuntimeError("the end")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert [line["level"] for line in found] == ["WARNING", "CRITICAL", "CRITICAL"]
    assert "careful" in found[0]["message"]
    assert "ZeroDivisionError" in found[1]["exception"]
    assert "the end" in found[2]["exception"]
