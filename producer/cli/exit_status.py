"""The exit statuses of all commands: one table, from which help texts and docs/cli.md are made."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class ExitStatus(IntEnum):
    """The number that a command reports to the shell.

    Attributes:
        meaning: one line for people.
    """

    meaning: str

    def __new__(cls, status: int, meaning: str) -> Self:
        """A status and its line."""
        member = int.__new__(cls, status)
        member._value_ = status
        member.meaning = meaning
        return member

    DONE = 0, "everything is done"
    FAILED = 1, "an error, a dead shard, or a check that failed"
    USAGE = 2, "wrong usage; nothing was started"
    QUARANTINE = 3, "everything is done, but some rows are in quarantine"
    BROKEN = 70, "`worker`: the engine broke while it computed"
    UNUSABLE = 75, "`worker`: the engine, the broker's login or --metrics-port can't be used"
    TIMED_OUT = 124, "`wait`: the time of --timeout is over"
    HUNG_UP = (
        129,
        "ended by SIGHUP, as when its terminal is closed (a `worker`, or a stream that it ends in order: 0 or 3)",
    )
    INTERRUPTED = 130, "interrupted by Ctrl-C (0 or 3 for what ends so in order: a `worker`, a stream, `report --live`)"
    TERMINATED = 143, "ended by SIGTERM (a `worker`, or a stream that it ends in order: 0 or 3)"


#: What the statuses of a command mean, in its own words; other commands have 0 to 2 with the meanings above.
OF_COMMANDS: dict[str, dict[ExitStatus, str]] = {
    "run": {
        ExitStatus.DONE: "every row is published and verified",
        ExitStatus.FAILED: "an error, a dead shard, or a problem that the verification found",
        ExitStatus.QUARANTINE: ExitStatus.QUARANTINE.meaning,
    },
    "enqueue": {
        ExitStatus.DONE: "every row is queued or published, also of a stream that a signal has ended",
        ExitStatus.FAILED: "an error, or a shard that is dead or lost (not of a stream); what is queued stays queued",
        ExitStatus.QUARANTINE: "every good row is queued or published, the others are in quarantine",
    },
    "worker": {
        ExitStatus.DONE: "stopped by SIGTERM, SIGHUP, SIGQUIT or Ctrl-C",
        ExitStatus.FAILED: "the model can't be used",
        ExitStatus.BROKEN: "the engine broke while it computed; every shard was given back",
        ExitStatus.UNUSABLE: "the engine, the broker's login or --metrics-port can't be used",
    },
    "wait": {
        ExitStatus.DONE: "every row is published",
        ExitStatus.FAILED: "an error, or a dead shard",
        ExitStatus.QUARANTINE: ExitStatus.QUARANTINE.meaning,
        ExitStatus.TIMED_OUT: "the time of --timeout is over",
    },
    "retry": {
        ExitStatus.DONE: "what could be computed again was put back, or there was nothing",
        ExitStatus.FAILED: "an error, or the rows of every dead shard are damaged",
    },
    "discard": {
        ExitStatus.DONE: "the job is discarded; only shards that were still being computed may leave a part",
        ExitStatus.FAILED: "an error, or the question was answered with no",
        ExitStatus.USAGE: "the question wasn't answered: give --yes",
    },
    "verify": {
        ExitStatus.DONE: "every row is published once or is in quarantine",
        ExitStatus.FAILED: "an error, or a problem was found",
    },
    "report": {
        ExitStatus.DONE: "the page was written",
        ExitStatus.FAILED: "an error, or the page lacks rows because a file is damaged",
    },
    "doctor": {
        ExitStatus.DONE: "a job could run, once there is a worker for it",
        ExitStatus.FAILED: "an error, or a check failed",
    },
}


def exit_help(command: str | None = None) -> str | None:
    """The end of a help text: what a command's statuses mean, None for a command without words of its own.

    Args:
        command: its name; None for the whole table.
    """
    lines = {status: status.meaning for status in ExitStatus} if command is None else OF_COMMANDS.get(command)
    if lines is None:
        return None
    width = max(len(str(int(status))) for status in lines)
    return "\n".join(["\b", "Exit status:", *(f"  {int(status):<{width}}  {text}" for status, text in lines.items())])
