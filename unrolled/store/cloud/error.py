"""The errors of obstore as errors that say what to do and show nothing that is secret.

The text of an obstore error has the whole request and answer in it, tokens in URLs included. So only the status, the
cloud's own code for the error and the kind of a failed connection are taken from it: from whole lines of its last part,
where names and answers are quoted and can't be mistaken for them.
"""

from __future__ import annotations

import re

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from unrolled.errors import RequestError, TransientError, UnrolledError

#: What obstore raises while it talks to a bucket. Names are checked before, so ValueError is about a broken answer.
ERRORS = (BaseError, OSError, ValueError)

_STATUS = re.compile(r"^ +status: ([1-5]\d\d),$", re.MULTILINE)
_KIND = re.compile(r"^ +kind: (Connect|Timeout|Request|Interrupted|Decode),$", re.MULTILINE)
_OUT_OF_RANGE = re.compile(r"^ +source: StartTooLarge \{$", re.MULTILINE)
_WHOLE = re.compile(r"^ +source: NotPartial,$", re.MULTILINE)
_REDIRECT = re.compile(r"^ +inner: BareRedirect,$", re.MULTILINE)
#: Where a virtual machine's own credentials are asked for, the last place that is tried.
_MACHINE_CREDENTIALS = re.compile(r"^ +http://(169\.254\.169\.254|metadata\.google\.internal)\b", re.MULTILINE)
_CODE = re.compile(r"<Code>([A-Za-z]{1,60})</Code>|\\\"(?:reason|code)\\\": ?\\\"([A-Za-z]{1,60})\\\"")
_NO_BUCKET = re.compile(r"<Code>NoSuchBucket<|<Code>ContainerNotFound<|specified bucket does not exist", re.IGNORECASE)
#: What `aws_profile` says of a program that gives no credentials.
_PROGRAM = re.compile(r"credential provider: TransientError: (the AWS profile's credential_process [^\n]{1,100})")
_KINDS = {
    "Connect": "no connection",
    "Timeout": "no answer in time",
    "Request": "the connection was lost",
    "Interrupted": "the connection was lost",
    "Decode": "an answer that can't be read",
}
#: What needs no right to change anything.
_READS = ("read ", "list ")
#: How Amazon answers a request that was signed for another region, if it doesn't send it there.
_OTHER_REGION = "AuthorizationHeaderMalformed"
_NOT_IMPLEMENTED, _NO_RANGE, _NOT_ALLOWED = "501", "416", {"401", "403"}


def status_of(error: Exception) -> str:
    """The HTTP status of the answer; "" where there was none."""
    found = _STATUS.search(_details(error))
    return found.group(1) if found else ""


def is_out_of_range(error: Exception) -> bool:
    """Whether a range begins at or after the object's end, which says that there is an object."""
    return status_of(error) == _NO_RANGE or _OUT_OF_RANGE.search(_details(error)) is not None


def is_whole(error: Exception) -> bool:
    """Whether the server gave the whole object for a range, as some do for an empty one."""
    return _WHOLE.search(_details(error)) is not None


def is_no_bucket(error: Exception) -> bool:
    """Whether the bucket itself is missing, rather than an object in it."""
    return _NO_BUCKET.search(_details(error)) is not None


def is_final(error: Exception) -> bool:
    """Whether a request was refused for certain, and will be refused again until a person has changed something."""
    details = _details(error)
    return (
        isinstance(error, NotSupportedError | FileNotFoundError | PermissionDeniedError | UnauthenticatedError)
        or status_of(error) in {*_NOT_ALLOWED, _NOT_IMPLEMENTED}
        or _MACHINE_CREDENTIALS.search(details) is not None
        or _REDIRECT.search(details) is not None
        or _OTHER_REGION in reason_of(error)
    )


def reason_of(error: Exception) -> str:
    """The status, the code and the kind of an error, which are safe to show."""
    details = _details(error)
    code = _CODE.search(details)
    kind = _KIND.search(details)
    said = [status_of(error), *(code.groups("") if code else ()), _KINDS[kind.group(1)] if kind else ""]
    if isinstance(error, AlreadyExistsError) and not any(said):
        said = ["it is said to exist"]
    return " ".join(filter(None, said)) or type(error).__name__


def explained(action: str, error: Exception) -> UnrolledError:
    """The error to raise in place of one of obstore.

    Args:
        action: with the URL, such as "read s3://bucket/out/part".
        error: what obstore raised.
    """
    details = _details(error)
    if isinstance(error, NotSupportedError) or status_of(error) == _NOT_IMPLEMENTED:
        return RequestError(
            f"cannot {action}: this bucket can't do that ({reason_of(error)}); use one that creates objects only if"
            " they don't exist (`If-None-Match: *`), as Amazon S3, Google Cloud Storage and Azure Blob Storage do"
        )
    reason = reason_of(error)
    program = _PROGRAM.search(str(error))
    if program:
        reason, advice = program.group(1), "run it by hand"
    elif _MACHINE_CREDENTIALS.search(details):
        reason = "no credentials were found"
        advice = "log in with the cloud's own tool, or set its environment variables"
    elif "RequestTimeTooSkewed" in reason:
        advice = "set this machine's clock, which is too far from the server's"
    elif is_no_bucket(error):
        advice = "make the bucket, or correct its name"
    elif status_of(error) in _NOT_ALLOWED or isinstance(error, PermissionDeniedError | UnauthenticatedError):
        reads = "list and read there (an output also needs write and delete)"
        rights = reads if action.startswith(_READS) else "list, read, write and delete there"
        advice = f"let these credentials {rights}, or use others"
    elif _REDIRECT.search(details) or _OTHER_REGION in reason:
        advice = "set AWS_REGION to the bucket's region"
    elif isinstance(error, InvalidPathError):
        advice = "rename or remove the object whose name has an empty step, `.` or `..` in it"
    else:
        advice = "check that the bucket can be reached"
    return TransientError(f"cannot {action}: {reason}; {advice}")


def _details(error: Exception) -> str:
    return str(error).partition("Debug source:")[2]
