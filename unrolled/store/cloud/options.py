"""The connection to a bucket, with settings and credentials from where each cloud's own tools take them.

obstore knows most of the environment variables, and the services that give credentials to virtual machines, containers
and Kubernetes. What is added here is what the clouds' command lines read besides.
"""

# Over 150 lines: the options of three clouds, which are compared with each other.

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from unrolled.errors import BrokenWorkerError, RequestError
from unrolled.store.cloud.aws_profile import read_profile
from unrolled.store.cloud.endpoints import check_endpoint, check_endpoints, is_private
from unrolled.store.cloud.error import ERRORS, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from obstore.store import ClientConfig, RetryConfig

    from unrolled.store.bucket_url import BucketUrl, Scheme

_Bucket: TypeAlias = S3Store | GCSStore | AzureStore
_CONNECT_SECONDS = 10
#: A server that sends nothing for this long while it is read from, or gives no answer to a small request, is silent.
SILENT_SECONDS = 10.0
#: The same for a listing: some servers walk through a large directory first.
LISTING_SECONDS = 60.0
#: Variables with which obstore itself finds credentials for S3.
_AWS_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
#: Beginnings of the variables with which obstore itself finds credentials for Azure.
_AZURE_CREDENTIALS = (
    "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_MASTER_KEY", "AZURE_STORAGE_SAS",
    "AZURE_STORAGE_TOKEN", "AZURE_STORAGE_CLIENT", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_MSI_ENDPOINT", "AZURE_IDENTITY_ENDPOINT", "AZURE_SKIP_SIGNATURE", "AZURE_STORAGE_USE_EMULATOR",
    "AZURE_CREDENTIAL_TYPE", "AZURE_USE_AZURE_CLI",
)  # fmt: skip


def connected(url: BucketUrl, seconds: float, retries: RetryConfig, silent_seconds: float | None = None) -> _Bucket:
    """The bucket, of which nothing was asked yet.

    Args:
        url: of the bucket.
        seconds: that a request may take, its content included.
        retries: of requests that failed.
        silent_seconds: in which the server must send something; as `seconds` if None. What the request sends counts as
            silence, too, so a large object can't be put in this time.

    Raises:
        RequestError: the settings in the environment can't be used.
    """
    variables, kind, options_of = _KINDS[url.scheme]
    check_endpoints(url.scheme, os.environ)
    options = options_of(os.environ)
    endpoint = str(options.get("endpoint") or options.get("base_url") or "")
    if endpoint:
        # No variable's, which are right: of a file or of a connection string.
        check_endpoint(f"the endpoint for {url.scheme}:// in the cloud's settings", endpoint)
    client: ClientConfig = {
        "timeout": timedelta(seconds=seconds),
        "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=seconds if silent_seconds is None else silent_seconds),
        "allow_http": endpoint.lower().startswith("http://") or "AZURE_STORAGE_USE_EMULATOR" in os.environ,
    }
    try:
        return kind(url.bucket, prefix=url.prefix or None, client_options=client, retry_config=retries, **options)
    except (BaseError, ValueError, OSError) as error:
        # The text may repeat the value of a setting.
        raise RequestError(
            f"the settings for {url.scheme}:// in the environment can't be used ({type(error).__name__}); check the"
            f" variables {variables}, as for the cloud's own tool"
        ) from None


def s3_options(environment: Mapping[str, str]) -> dict[str, Any]:
    """Settings that the AWS command line reads: a profile's region, endpoint, credentials, if no variable has them."""
    profile = read_profile(environment)
    # Single deletes are known to all servers, `DeleteObjects` is not; a disabled condition would replace objects.
    options: dict[str, Any] = {"disable_bulk_delete": True, "conditional_put": "etag"}
    endpoint = (
        environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
        or environment.get("AWS_ENDPOINT")
        or profile.endpoint
    )
    if endpoint:
        options["endpoint"] = endpoint
    if is_private(endpoint or "", environment) and not environment.get("AWS_UNSIGNED_PAYLOAD"):
        # The SHA-256 of all that is sent costs much, and TLS has checksums of its own.
        options["unsigned_payload"] = True
    if profile.region and not (environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")):
        options["region"] = profile.region
    if profile.credentials and not any(environment.get(name) for name in _AWS_CREDENTIALS):
        options["credential_provider"] = profile.credentials
    return options


def gcs_options(environment: Mapping[str, str]) -> dict[str, Any]:
    """The address of an emulator, which Google's own libraries read; obstore finds all else."""
    emulator = environment.get("STORAGE_EMULATOR_HOST")
    if not emulator:
        return {}
    address = emulator if "://" in emulator else f"http://{emulator}"
    return {"base_url": address, "bearer_token": "emulator"}  # without one, obstore asks for a real one


def azure_options(environment: Mapping[str, str]) -> dict[str, Any]:
    """Settings that the Azure command line reads: names of account and key, a connection string, and its own login.

    Raises:
        RequestError: no account is named.
    """
    pairs = (item.partition("=") for item in environment.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";"))
    connection = {name.strip().lower(): value.strip() for name, _, value in pairs}
    found = {
        "account_name": environment.get("AZURE_STORAGE_ACCOUNT") or connection.get("accountname"),
        "account_key": environment.get("AZURE_STORAGE_KEY") or connection.get("accountkey"),
        "sas_key": connection.get("sharedaccesssignature"),
        "endpoint": environment.get("AZURE_STORAGE_ENDPOINT") or connection.get("blobendpoint"),
    }
    options: dict[str, Any] = {name: value for name, value in found.items() if value}
    if environment.get("AZURE_STORAGE_ACCOUNT_NAME"):
        options.pop("account_name", None)
    elif "account_name" not in options and "AZURE_STORAGE_USE_EMULATOR" not in environment:
        raise RequestError("no storage account is named; set AZURE_STORAGE_ACCOUNT to the account of the container")
    has_credentials = options.keys() & {"account_key", "sas_key"} or any(
        name.startswith(_AZURE_CREDENTIALS) for name in environment
    )
    if not has_credentials and shutil.which("az"):
        options["use_azure_cli"] = True
    return options


_KINDS: dict[Scheme, tuple[str, Callable[..., _Bucket], Callable[[Mapping[str, str]], dict[str, Any]]]] = {
    "s3": ("AWS_*", S3Store, s3_options),
    "gs": ("GOOGLE_*", GCSStore, gcs_options),
    "az": ("AZURE_*", AzureStore, azure_options),
}

_used = _forked = False


def check_process() -> None:
    """Refuse to wait for threads that are not in this process.

    Raises:
        BrokenWorkerError: it was forked from a process that had used a bucket.
    """
    global _used  # noqa: PLW0603 - a fact about the process
    if _forked:
        raise BrokenWorkerError(
            "this process was forked from one that had used a bucket, and the threads which do that are not in it;"
            ' start processes by "spawn" or "forkserver" (`multiprocessing.set_start_method`, in PyTorch'
            " `DataLoader(multiprocessing_context=...)`)"
        )
    _used = True


@contextlib.contextmanager
def asking(action: str) -> Iterator[None]:
    """A block that asks a bucket for something, whose errors say what to do and show nothing that is secret.

    Args:
        action: names it in errors, such as "read s3://bucket/out/job.json".

    Raises:
        UnrolledError: the bucket can't be reached, refuses, or this process can't use one.
    """
    check_process()
    try:
        yield
    except ERRORS as error:
        raise explained(action, error) from None  # whose text may have secrets in it


def _note_fork() -> None:
    global _forked  # noqa: PLW0603 - a fact about the process
    _forked = _used


os.register_at_fork(after_in_child=_note_fork)
