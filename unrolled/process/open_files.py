"""How many files this process may have open."""

from __future__ import annotations

import resource

from unrolled.errors import UnrolledError

#: Files that a worker has open: below that it would wait without a word, since Celery tries again and again what it
#: can't open.
LEAST = 48
_ENOUGH = 4096


def allow_open_files() -> None:
    """Raise the limit of open files as far as this user may, up to `_ENOUGH`.

    Raises:
        UnrolledError: it stays below `LEAST`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft != resource.RLIM_INFINITY and soft < LEAST:
        raise UnrolledError(
            f"this process may have {soft} files open, and a worker needs {LEAST}: raise the limit, with `ulimit -n "
            "1024` or more, or LimitNOFILE= of its service"
        )
