"""Credentials and settings from where the clouds' own tools take them."""

import json
import re
import stat
import sys
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from obstore.exceptions import BaseError

from producer.cli.root import cli
from unrolled.errors import RequestError, TransientError
from unrolled.store.bucket_url import BucketUrl
from unrolled.store.cloud.aws_profile import read_profile
from unrolled.store.cloud.options import azure_options, connected, gcs_options, s3_options

CREDENTIALS = """
[default]
aws_access_key_id = default-id
aws_secret_access_key = default-secret

[work]
aws_access_key_id = work-id
aws_secret_access_key = work-secret
aws_session_token = work-token
"""
CONFIG = """
[default]
region = eu-north-1

[profile work]
region = eu-central-1
endpoint_url = https://storage.example:9000

[profile sso]
sso_session = company

[profile role]
role_arn = arn:aws:iam::1:role/x
source_profile = work
"""


@pytest.fixture
def home(tmp_path):
    """A home directory with the AWS command line's files."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(CREDENTIALS)
    (tmp_path / ".aws/config").write_text(CONFIG)
    return tmp_path


def test_the_default_profile(home):
    """Its keys, and its region from the other file."""
    options = s3_options({"HOME": str(home)})
    assert options["region"] == "eu-north-1"
    found = options["credential_provider"]()
    assert (found["access_key_id"], found["secret_access_key"], found["token"]) == (
        "default-id",
        "default-secret",
        None,
    )


def test_a_profile_by_name(home):
    """With its server, and a token; the keys are read again soon, since a tool may replace them."""
    options = s3_options({"HOME": str(home), "AWS_PROFILE": "work"})
    assert options["endpoint"] == "https://storage.example:9000"
    credentials = options["credential_provider"]
    assert credentials()["token"] == "work-token"
    assert timedelta() < credentials()["expires_at"] - datetime.now(UTC) < timedelta(minutes=10)
    (home / ".aws/credentials").write_text(CREDENTIALS.replace("work-token", "new-token"))
    assert credentials()["token"] == "new-token"


def test_files_in_other_places(home):
    """As the variables say."""
    (home / ".aws").rename(home / "elsewhere")
    environment = {"HOME": str(home), "AWS_CONFIG_FILE": str(home / "elsewhere/config"),
                   "AWS_SHARED_CREDENTIALS_FILE": str(home / "elsewhere/credentials")}  # fmt: skip
    assert s3_options(environment)["region"] == "eu-north-1"
    assert s3_options(environment)["credential_provider"]()["access_key_id"] == "default-id"


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE",
                                      "AWS_CONTAINER_CREDENTIALS_FULL_URI"])  # fmt: skip
def test_variables_come_before_files(home, variable):
    """As for the command line; obstore reads them itself."""
    options = s3_options(
        {"HOME": str(home), variable: "x", "AWS_REGION": "us-west-2", "AWS_ENDPOINT_URL": "http://x:1"}
    )
    assert options == {"disable_bulk_delete": True, "conditional_put": "etag", "endpoint": "http://x:1"}


def test_without_files_nothing_is_added(tmp_path):
    """A virtual machine's own credentials are asked for then."""
    assert s3_options({"HOME": str(tmp_path)}) == {
        "disable_bulk_delete": True, "conditional_put": "etag", "unsigned_payload": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("address", "unsigned"),
    [
        ("https://storage.example", True),
        ("HTTPS://10.0.0.7:9000", True),
        ("http://127.0.0.1:9000", True),
        ("http://127.9.9.9", True),
        ("http://localhost:9000", True),
        ("http://[::1]:9000", True),
        ("http://storage.example", False),
        ("http://localhost.storage.example:9000", False),
        ("http://10.0.0.7:9000", False),
        ("http://0.0.0.0:9000", False),
        ("http://[fe80::1]:9000", False),
    ],
)
def test_content_is_signed_where_others_could_change_it(tmp_path, address, unsigned):
    """Without TLS, on the way to another machine."""
    assert s3_options({"HOME": str(tmp_path), "AWS_ENDPOINT_URL": address}).get("unsigned_payload", False) is unsigned


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_content_is_signed_where_a_proxy_could_change_it(tmp_path, variable):
    """A request to this machine goes through it, too, and one with TLS can't be changed there."""
    environment = {"HOME": str(tmp_path), variable: "http://proxy.example:3128"}
    assert "unsigned_payload" not in s3_options(environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"})
    assert s3_options(environment)["unsigned_payload"]


@pytest.mark.parametrize(("wish", "is_own"), [("", True), ("true", False), ("false", False)])
def test_the_environment_decides_whether_content_is_signed(tmp_path, wish, is_own):
    """Obstore reads it."""
    options = s3_options({"HOME": str(tmp_path), "AWS_UNSIGNED_PAYLOAD": wish})
    assert ("unsigned_payload" in options) is is_own


def test_a_profile_with_another_server(home):
    """Its address counts, as that of a variable does."""
    (home / ".aws/config").write_text(CONFIG.replace("https://storage", "http://storage"))
    assert "unsigned_payload" not in s3_options({"HOME": str(home), "AWS_PROFILE": "work"})


def test_a_program_that_prints_credentials(tmp_path):
    """`credential_process`, run each time that they are wanted."""
    program = tmp_path / "program"
    found = {"Version": 1, "AccessKeyId": "id", "SecretAccessKey": "secret", "SessionToken": "token",
             "Expiration": "2099-01-01T00:00:00Z"}  # fmt: skip
    program.write_text(
        f"#!{sys.executable}\nimport sys\nassert sys.argv[1] == 'an argument'\nprint('''{json.dumps(found)}''')\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {program} 'an argument'\n")
    credentials = read_profile({"HOME": "/none", "AWS_CONFIG_FILE": str(tmp_path / "config")}).credentials
    assert credentials() == {"access_key_id": "id", "secret_access_key": "secret", "token": "token",
                             "expires_at": datetime(2099, 1, 1, tzinfo=UTC)}  # fmt: skip
    program.write_text(f"#!{sys.executable}\nprint('secret')\n")
    with pytest.raises(TransientError, match="gives no credentials") as caught:
        credentials()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("profile", ["sso", "role"])
def test_a_login_that_needs_boto3(home, profile):
    """The text names the profile and both ways out."""
    if "boto3" in sys.modules:
        pytest.skip("boto3 is loaded")
    with pytest.raises(RequestError, match=rf"profile '{profile}'.*boto3.*export-credentials"):
        read_profile({"HOME": str(home), "AWS_PROFILE": profile})


def test_a_profile_that_is_missing(home):
    """It isn't replaced by the default one."""
    with pytest.raises(RequestError, match="profile 'absent' is not in"):
        read_profile({"HOME": str(home), "AWS_PROFILE": "absent"})


def test_a_file_that_is_damaged(home):
    """Its lines, which may be secret, aren't shown."""
    (home / ".aws/credentials").write_text("[default\naws_secret_access_key = secret-of-mine")
    with pytest.raises(RequestError, match="can't be read as a file of the AWS command line") as caught:
        read_profile({"HOME": str(home)})
    assert "secret-of-mine" not in str(caught.value)


def test_an_emulator_of_google_cloud():
    """As Google's own libraries find it; all else obstore finds."""
    assert gcs_options({}) == {}
    assert gcs_options({"STORAGE_EMULATOR_HOST": "localhost:4443"}) == {
        "base_url": "http://localhost:4443", "bearer_token": "emulator",
    }  # fmt: skip


def test_an_azure_account(monkeypatch):
    """By the names of the Azure command line, by a connection string, or by its login."""
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/az")
    assert azure_options({"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "k"}) == {
        "account_name": "a", "account_key": "k",
    }  # fmt: skip
    text = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5==;BlobEndpoint=http://127.0.0.1:10000/a"
    assert azure_options({"AZURE_STORAGE_CONNECTION_STRING": text}) == {
        "account_name": "a", "account_key": "a2V5==", "endpoint": "http://127.0.0.1:10000/a",
    }  # fmt: skip
    assert azure_options({"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_CLIENT_ID": "x", "AZURE_CLIENT_SECRET": "y"}) == {}
    assert azure_options({"AZURE_STORAGE_ACCOUNT": "a"}) == {"account_name": "a", "use_azure_cli": True}
    with pytest.raises(RequestError, match="set AZURE_STORAGE_ACCOUNT"):
        azure_options({})


def test_settings_that_cannot_be_used(monkeypatch):
    """The text names the variables, and none of their values."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "no-base64-secret!")
    with pytest.raises(RequestError, match=r"check the variables AZURE_\*") as caught:
        connected(BucketUrl.parse("az://container/x"), 1, {"max_retries": 0})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["127.0.0.1:7722", "htp://s3cr3t:1", "http://", "http://s3cr3t:99999", "//s3cr3t:1"])
@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("AWS_ENDPOINT_URL", "s3://bucket/out"),
        ("AWS_ENDPOINT_URL_S3", "s3://bucket/out"),
        ("AWS_ENDPOINT", "s3://bucket/out"),
        ("GOOGLE_BASE_URL", "gs://bucket/out"),
        ("AZURE_STORAGE_ENDPOINT", "az://container/out"),
        ("AZURE_ENDPOINT", "az://container/out"),
    ],
)
def test_an_address_that_is_none_names_its_variable(monkeypatch, variable, url, value):
    """Obstore would panic, or say later only that the bucket can't be reached."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
    monkeypatch.setenv(variable, value)
    with pytest.raises(RequestError, match=f"^{variable} is no address of a server; write http://HOST:PORT") as caught:
        connected(BucketUrl.parse(url), 1, {"max_retries": 0})
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("value", ["127.0.0.1:7722", "http://[s3cr3t]:9000", "http://user:s3cr3t@ho\u2100st:9000"])
def test_an_address_in_a_file_is_checked_too(monkeypatch, tmp_path, value):
    """That of a profile, which isn't shown."""
    (tmp_path / "config").write_text(f"[default]\nendpoint_url = {value}\n", encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(RequestError, match=r"^the endpoint for s3:// in the cloud's settings is no address[^@]*$"):
        connected(BucketUrl.parse("s3://bucket/out"), 1, {"max_retries": 0})


@pytest.mark.parametrize("empty", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_an_empty_address_counts_as_not_set(monkeypatch, empty):
    """Obstore, which reads the variables too, would take the empty one and panic."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    full = "AWS_ENDPOINT" if empty != "AWS_ENDPOINT" else "AWS_ENDPOINT_URL"
    monkeypatch.setenv(full, "http://127.0.0.1:9")
    monkeypatch.setenv(empty, "")
    bucket = connected(BucketUrl.parse("s3://bucket/out"), 1, {"max_retries": 0})
    with pytest.raises(BaseError, match=r"GET http://127\.0\.0\.1:9/bucket"):
        bucket.get("x")


@pytest.mark.parametrize("command", [["status", "s3://bucket/out"], ["doctor", "s3://bucket/out"]])
def test_commands_name_the_variable(monkeypatch, command):
    """In one line; `doctor` beside its other checks."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "127.0.0.1:7722")
    result = CliRunner().invoke(cli, command)
    assert re.search("AWS_ENDPOINT_URL is no address of a server.*http://HOST:PORT", result.output, re.DOTALL)
    assert result.exit_code == 1
    assert ("✓" in result.output) == (command[0] == "doctor")


@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_has_no_profile():
    """As in a container that runs under a number of its own, with its keys in the environment."""
    assert read_profile({}) == read_profile({"HOME": "/none"})
