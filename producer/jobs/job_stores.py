"""What the stores of several jobs show, those included that can't be read."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from producer.jobs.status_reader import StatusReader
from unrolled.errors import RequestError, TransientError
from unrolled.protocol.opening import open_job
from unrolled.store.bucket_url import BucketUrl, is_url

if TYPE_CHECKING:
    from producer.jobs.status import JobStatus

#: A bucket that has taken longer for no answer isn't asked again.
SILENT_SECONDS = 5.0


class JobStores:
    """What the stores of jobs show. A bucket that gives no answer is asked once, however many jobs are in it."""

    def __init__(self) -> None:
        self._silent: set[str] = set()  # URLs of buckets

    def status(self, place: str, key: str) -> JobStatus | None:
        """The facts in a job's store; None if it has another job or none, as on a machine without that directory."""
        began = time.monotonic()
        try:
            bucket = str(replace(BucketUrl.parse(place), prefix="")) if is_url(place) else ""
            if bucket in self._silent:
                return None
            job = open_job(place)
            return StatusReader(job).read() if job.key == key else None
        except TransientError:
            # A refusal comes at once, and may be about this job only.
            if bucket and time.monotonic() - began >= SILENT_SECONDS:
                self._silent.add(bucket)
        except (RequestError, ValueError, OSError):
            pass
        return None
