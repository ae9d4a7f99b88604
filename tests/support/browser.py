"""A headless Chromium, driven through a pipe by the DevTools protocol, with nothing but the standard library."""

import base64
import contextlib
import itertools
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

#: A browser by its path, where none of the usual names is right.
VARIABLE = "UNROLLED_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 60.0
_FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-default-apps", "--no-first-run", "--mute-audio", "--hide-scrollbars", "--force-color-profile=srgb",
    "about:blank",
)  # fmt: skip


def find_browser():
    """The path of a browser, or None: the one in the variable, the system's, or the one that `make browser` fetches."""
    fetched = shutil.which("chromium", path=Path(sys.prefix) / "browser")
    return os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), fetched)


def need_browser():
    """The path of a browser; skips the test where there is none, and fails it in CI."""
    path = find_browser()
    if path is None:
        pytest.skip(f"no browser; run `make browser` (it needs npm), install chromium, or name one in {VARIABLE}")
    return path


class Browser:
    """One page of a browser of its own.

    Attributes:
        errors: what went wrong in the page: exceptions, errors on the console, and what its policy refused.
        requests: the addresses that the page asked for, besides its own and data.
    """

    def __init__(self, path, profile):
        to_browser, ours_out = os.pipe()
        ours_in, from_browser = os.pipe()

        def place():  # the protocol's pipes are 3 and 4
            kept = os.dup(to_browser), os.dup(from_browser)
            os.dup2(kept[0], 3)
            os.dup2(kept[1], 4)

        self._process = subprocess.Popen(
            [path, f"--user-data-dir={profile}", *_FLAGS],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=place,  # noqa: PLW1509 - no other thread of this process forks meanwhile
        )
        os.close(to_browser)
        os.close(from_browser)
        self._out, self._in = os.fdopen(ours_out, "wb", buffering=0), os.fdopen(ours_in, "rb")
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.Queue] = {}
        self._session = None
        self.errors, self.requests, self._own = [], [], ""
        self._loaded = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.look_like()

    def ask(self, method, **parameters):
        """One command of the protocol."""
        number = next(self._numbers)
        answer = self._answers[number] = queue.Queue()
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        found = answer.get(timeout=SECONDS)
        if "error" in found:
            raise AssertionError(f"{method}: {found['error']}")
        return found["result"]

    def _read(self):
        kept = b""
        with contextlib.suppress(OSError, ValueError):
            while chunk := self._in.read1(2**20):
                *messages, kept = (kept + chunk).split(b"\0")
                for message in messages:
                    self._take(json.loads(message))

    def _take(self, message):
        if "id" in message:
            self._answers.pop(message["id"]).put(message)
            return
        found = message.get("params", {})
        match message["method"]:
            case "Runtime.exceptionThrown":
                self.errors.append(str(found["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if found["type"] in ("error", "warning", "assert"):
                self.errors.append(str(found["args"]))
            case "Log.entryAdded" if found["entry"]["level"] in ("error", "warning"):
                self.errors.append(f"{found['entry']['text']} {found['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                address = found["request"]["url"]
                if address != self._own and not address.startswith(("data:", "blob:")):
                    self.requests.append(address)
            case "Page.loadEventFired":
                self._loaded.set()

    def look_like(self, width=1280, height=900, *, dark=False, scripts=True, media=""):
        """What the page takes the screen and the user's wishes for."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)

    def open(self, address):
        """Open a page, and wait until it is loaded."""
        self.errors.clear()
        self.requests.clear()
        self._own = str(address)
        self._loaded.clear()
        self.ask("Page.navigate", url=self._own)
        assert self._loaded.wait(SECONDS), f"{address} doesn't load"

    def value(self, expression):
        """The value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression, seconds=SECONDS):
        """Wait until an expression holds; its value."""
        began = time.monotonic()
        while not (value := self.value(expression)):
            assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {expression}"
            time.sleep(0.02)
        return value

    def box(self, selector):
        """Left, top, width and height of an element, after it was scrolled into sight."""
        return self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView(false);"
            "const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()"
        )

    def point(self, x, y, kind="mouseMoved", **more):
        """Move the pointer, or press and release it."""
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self.point(x, y, kind, button="left", clickCount=1)

    def drag(self, start, end):
        self.point(*start, "mousePressed", button="left", clickCount=1)
        self.point(*end, "mouseMoved", button="left", buttons=1)
        self.point(*end, "mouseReleased", button="left", clickCount=1)

    def wheel(self, x, y, by):
        self.point(x, y, "mouseWheel", deltaX=0, deltaY=by)

    def type(self, text):
        self.ask("Input.insertText", text=text)

    def press(self, key, text=None):
        """One key; `text` where it writes something."""
        more = {} if text is None else {"text": text}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def picture(self, *, whole=False):
        """A PNG file of what is seen, or of the whole page."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def close(self):
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()
        self._reader.join(SECONDS)
        self._in.close()
