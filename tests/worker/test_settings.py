"""A worker's settings, checked before anything starts."""

from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from unrolled.errors import ModelError, OptionError
from unrolled.queue.broker import Broker
from worker.cli.worker import worker
from worker.settings import Settings

REQUIRED = {"UNROLLED_BROKER": "redis://h", "UNROLLED_MODEL": "/m"}


def test_settings_come_from_variables():
    """Each is read as its kind; what isn't given has its default."""
    found = Settings.from_environ(
        REQUIRED
        | {
            "UNROLLED_MEMORY_BUDGET": "1.5G",
            "UNROLLED_LEASE_SECONDS": "2.5",
            "UNROLLED_THREADS": "3",
            "UNROLLED_OUTPUT_ROOT": "/data",
            "UNRELATED": "x",
        }
    )
    assert found == Settings(
        broker="redis://h",
        model=Path("/m"),
        memory_budget=3 * 2**29,
        lease_seconds=2.5,
        threads=3,
        output_root=Path("/data"),
    )


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_needed_is_named(name, value):
    """A missing variable, or an empty one, is named in the error."""
    environ = {key: text for key, text in REQUIRED.items() if key != name}
    if value is not None:
        environ[name] = value
    with pytest.raises(OptionError, match=f"{name} is not set"):
        Settings.from_environ(environ)


@pytest.mark.parametrize("value", ["Upper", "a:b", "x" * 33])
def test_a_namespace_is_a_prefix_of_keys(value):
    """Whichever way it is given."""
    with pytest.raises(OptionError, match=rf"--namespace: namespace '{value}'; allowed: "):
        Settings(broker="redis://h", model=Path("/m"), namespace=value)
    with pytest.raises(OptionError, match=rf"UNROLLED_NAMESPACE: namespace '{value}'; allowed: "):
        Settings.from_environ(REQUIRED | {"UNROLLED_NAMESPACE": value})


def test_a_broker_that_is_none_is_refused_without_its_secret():
    """In the environment and in code."""
    for make in (
        lambda url: Settings(broker=url, model=Path("/m")),
        lambda url: Settings.from_environ(REQUIRED | {"UNROLLED_BROKER": url}),
    ):
        with pytest.raises(OptionError, match=r"me:\*\*\*@host") as caught:
            make("amqp://me:geheim@host/")
        assert "geheim" not in str(caught.value)


def test_a_scheme_in_capitals_is_taken():
    """The libraries know it in lower case only, so they get it so, whichever way it is given."""
    words = ["--broker", "REDIS://H:1/0", "--model", "/m"]
    assert worker.make_context("worker", words).params["broker"] == "redis://H:1/0"
    assert Settings.from_environ(REQUIRED | {"UNROLLED_BROKER": "Redis://H:1/0"}).broker == "redis://H:1/0"
    with closing(Broker(Settings(broker="REDIS://H:1/0", model=Path("/m")).broker)) as broker:
        assert broker.client.connection_pool.connection_kwargs["host"] == "h"


def test_flags_variables_and_fields_share_their_names_and_defaults():
    """Each field is an option of `unrolled worker`, and has one default."""
    made = worker.make_context("worker", ["--broker", "redis://h", "--model", "/m"]).params
    del made["log_level"]
    assert set(made) == {field.name for field in fields(Settings)}
    assert Settings(**made) == Settings(broker="redis://h", model=Path("/m"))


@pytest.mark.parametrize(("name", "reason"), [("none", "does not exist"), ("file", "is not a directory")])
def test_an_output_root_that_is_no_directory_is_refused(tmp_path, name, reason):
    """No job could be in it, so a worker would only refuse messages."""
    (tmp_path / "file").touch()
    words = ["--broker", "redis://h", "--model", "m", "--output-root", str(tmp_path / name)]
    with pytest.raises(OptionError, match=f"--output-root .*{name}: {reason}"):
        worker.main(words, standalone_mode=False)


def test_an_output_root_may_be_in_a_bucket(tmp_path):
    """What comes next is the model; a URL that no job could have is refused."""
    words = ["--broker", "redis://h", "--model", str(tmp_path / "none"), "--output-root"]
    with pytest.raises(ModelError, match="does not exist"):
        worker.main([*words, "s3://bucket/jobs"], standalone_mode=False)
    with pytest.raises(OptionError, match="--output-root ftp:// is not a place for objects"):
        worker.main([*words, "ftp://host/jobs"], standalone_mode=False)
