"""A profile of the AWS command line, from `~/.aws/config` and `~/.aws/credentials`.

Read here are its region, its endpoint, and credentials that are in the files or come from a program. Logins by SSO and
roles that are assumed need boto3, which is used where it is installed.
"""

from __future__ import annotations

import configparser
import json
import shlex
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from unrolled.errors import RequestError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from obstore.store import S3Credential

    Credentials: TypeAlias = Callable[[], S3Credential]

#: Keys in a file may be replaced by the tool that wrote them, so they are read again after this.
_KEPT = timedelta(minutes=5)
_PROGRAM_SECONDS = 60
_NEEDS_BOTO3 = ("sso_session", "sso_start_url", "role_arn", "login_session")


@dataclass(frozen=True, slots=True)
class Profile:
    """The settings of a profile; None for those that it doesn't have.

    Attributes:
        region: of its buckets.
        endpoint: the URL of its server.
        credentials: gives credentials each time that they are wanted.
    """

    region: str | None = None
    endpoint: str | None = None
    credentials: Credentials | None = None


def read_profile(environment: Mapping[str, str]) -> Profile:
    """The profile that `AWS_PROFILE` names, or the default one.

    Raises:
        RequestError: the profile that is named is missing, or needs boto3.
    """
    named = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE")
    settings = _settings(environment)
    if named and not settings:
        raise RequestError(
            f"the AWS profile {named!r} is not in the AWS command line's files; unset AWS_PROFILE or make it"
        )
    credentials: Credentials | None = None
    if "aws_access_key_id" in settings and "aws_secret_access_key" in settings:
        credentials = _keys_of(environment)
    elif "credential_process" in settings:
        credentials = _program_of(settings["credential_process"])
    elif any(name in settings for name in _NEEDS_BOTO3):
        credentials = _boto3(named)
    return Profile(settings.get("region"), settings.get("endpoint_url"), credentials)


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    """All settings of the profile; those of the credentials file win."""
    named = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"
    home = environment.get("HOME") or "~"
    config = _section(environment.get("AWS_CONFIG_FILE") or f"{home}/.aws/config", named, f"profile {named}")
    return config | _section(environment.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials", named)


def _section(path: str | Path, *names: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(Path(path).expanduser(), encoding="utf-8")
    except RuntimeError:
        return {}  # this user has no home directory, and so no such file
    except (configparser.Error, UnicodeDecodeError):
        # The error's text shows lines of the file.
        raise RequestError(f"{path} can't be read as a file of the AWS command line; correct it") from None
    return {key: value for name in names if parser.has_section(name) for key, value in parser.items(name)}


def _keys_of(environment: Mapping[str, str]) -> Credentials:
    def credentials() -> S3Credential:
        settings = _settings(environment)
        return {
            "access_key_id": settings.get("aws_access_key_id", ""),
            "secret_access_key": settings.get("aws_secret_access_key", ""),
            "token": settings.get("aws_session_token"),
            "expires_at": datetime.now(UTC) + _KEPT,
        }

    return credentials


def _program_of(command: str) -> Credentials:
    """Credentials from a program that prints them; `credential_process` in the AWS command line's documentation."""

    def credentials() -> S3Credential:
        try:
            done = subprocess.run(shlex.split(command), capture_output=True, check=True, timeout=_PROGRAM_SECONDS)
            found: dict[str, Any] = json.loads(done.stdout)
            return {
                "access_key_id": found["AccessKeyId"],
                "secret_access_key": found["SecretAccessKey"],
                "token": found.get("SessionToken"),
                "expires_at": datetime.fromisoformat(found["Expiration"]) if found.get("Expiration") else None,
            }
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            raise TransientError(
                f"the AWS profile's credential_process gives no credentials ({type(error).__name__})"
            ) from None

    return credentials


def _boto3(named: str | None) -> Credentials:
    try:
        from boto3.session import Session  # noqa: PLC0415 - large, and needed for this alone
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - imports boto3
    except ImportError as error:
        raise RequestError(
            f"the AWS profile {named or 'default'!r} logs in by SSO or assumes a role, which needs boto3; install it,"
            " or export credentials to the environment (`aws configure export-credentials --format env`)"
        ) from error
    return cast("Credentials", Boto3CredentialProvider(Session(profile_name=named)))
