"""The errors of this product.

UnrolledError
├── RequestError      this request is bad: it is recorded, and never tried again
│   ├── OptionError       an option's value isn't allowed, or two options contradict each other
│   ├── RowError          one row can't be used; it goes to quarantine
│   ├── PayloadError      a shard's payload is not what its header claims
│   ├── ModelError        a model directory can't be used
│   ├── JobError          an output directory or its log doesn't fit the job
│   └── FileFormatError   a published file can't be read by this version
├── TransientError    something is in the way (a full disk): try again later
│   ├── MisplacedError    something else is where a file or a directory of a job must be
│   └── BrokerAwayError   the broker gives no answer, or can't take anything now
├── BrokerRefusesError the broker answers, but doesn't let this user in or do what is needed
└── BrokenWorkerError this process can't continue: it gives everything back and stops

The text of each says what was found, what is allowed, and what to do. Only the command line turns an error into an exit
status, and only the Celery task turns one into an acknowledgement. The functions at the end help to write such texts.
"""

# Over 150 lines: all errors, and what the texts of many are made with.

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator


class UnrolledError(Exception):
    """The base of every error that this product raises on purpose."""


class RequestError(UnrolledError):
    """This request is bad: it is recorded and never tried again."""


class OptionError(RequestError):
    """An option's value isn't allowed, or two options contradict each other; nothing has been started."""


class RowError(RequestError):
    """One input row can't be used; it goes to quarantine with this text as its reason."""


class PayloadError(RequestError):
    """A shard's payload is not what its header claims."""


class ModelError(RequestError):
    """A model directory is missing something, or holds something that can't be used."""


class JobError(RequestError):
    """An output directory, or the log in it, doesn't fit the requested job."""


class FileFormatError(RequestError):
    """A published file is of another format version, or of another model, than its reader allows."""


class TransientError(UnrolledError):
    """Something other than the request is in the way: keep the work and try again, less and less often."""


class MisplacedError(TransientError):
    """Something else is where a file or a directory of a job must be; it works again once a person has removed it."""


class BrokerError(UnrolledError):
    """A broker can't be used.

    Args:
        found: the broker, without a secret, and what it answered.
        advice: what to do; empty where nothing is known.
    """

    def __init__(self, found: str, advice: str = "") -> None:
        super().__init__(found, advice)
        self.found = found
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.found}; {self.advice}" if self.advice else self.found


class BrokerAwayError(BrokerError, TransientError):
    """The broker gives no answer, or can't take anything now."""


class BrokerDeclinesError(BrokerAwayError):
    """The broker answers, but takes nothing now, or doesn't let in a user whom it let in before."""


class BrokerRefusesError(BrokerError):
    """The broker answers, but doesn't let this user in, or doesn't let it do what is needed."""


class BrokenWorkerError(UnrolledError):
    """This worker process can't continue: it says so, gives everything back and stops."""


def reason_of(error: BaseException) -> str:
    """An error of any kind as text, with its kind: some, such as MemoryError, have no text of their own."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


@contextmanager
def from_extra(purpose: str, extra: str) -> Iterator[None]:
    """Import packages that an extra brings.

    Args:
        purpose: what needs them, such as "a model's weights", or "to read …".
        extra: its name.

    Raises:
        RequestError: a package is missing; the text says how to install it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        raise RequestError(f"{purpose} needs {package}, which is missing: {install_command(extra)}") from error


def install_command(extras: str) -> str:
    """The command that installs extras, such as `pip install '.[import]'` in a clone.

    An index may not have the package, or may have another one of its name, so the clone or the wheel that it was
    installed from is named while that is there. Installers record it in `direct_url.json`:
    https://packaging.python.org/en/latest/specifications/direct-url/.

    Args:
        extras: their names, with commas between them.
    """
    source, editable = _source()
    return f"pip install {'--editable ' if editable else ''}{as_argument(f'{source}[{extras}]')}"


def _source() -> tuple[str, bool]:
    """What to name to an installer, and whether it was installed as an editable one."""
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415 - slow, and seldom needed

    try:
        record = json.loads(distribution("unrolled").read_text("direct_url.json") or "{}")
        url = urlsplit(record.get("url", ""))
        path = Path(unquote(url.path))
        if url.scheme == "file" and path.exists():
            return "." if path == Path.cwd() else str(path), record.get("dir_info", {}).get("editable") is True
    except (PackageNotFoundError, ValueError, AttributeError, TypeError, OSError):
        pass  # it runs from its files, or the record is of another kind
    return "unrolled", False


def counted(number: float, one: str, more: str | None = None) -> str:
    """A number, and what it counts in the right form.

    Args:
        number: rounded to a whole one.
        one: the words after 1, such as "row" or "row is".
        more: the words after any other number; None for `one` with an s.

    Example:
        >>> counted(1, "row is", "rows are"), counted(2000, "shard")
        ('1 row is', '2,000 shards')
    """
    whole = round(number)
    return f"{whole:,} {one if whole == 1 else more or f'{one}s'}"


def shortened(text: str, longest: int) -> str:
    """The text, or its beginning and a mark that it goes on.

    Args:
        text: the text.
        longest: how many characters it may have.
    """
    return text if len(text) <= longest else text[: longest - 1] + "…"


def printable(text: str) -> str:
    """The text on one line, with control characters, which could control a terminal, escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def as_argument(path: object) -> str:
    """A path or URL as a word of a command, for a shell: quoted, printable, and not taken for an option."""
    text = str(path)
    text = f"./{text}" if text.startswith("-") else text
    return quote(text) if text.isprintable() else f"$'{''.join(map(_in_quotes, text))}'"


def _in_quotes(char: str) -> str:
    """A character between $' and ', as Bash, Zsh and the next POSIX shell read it."""
    if char.isprintable():
        return f"\\{char}" if char in "\\'" else char
    errors = "surrogateescape" if "\udc80" <= char <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", errors))
