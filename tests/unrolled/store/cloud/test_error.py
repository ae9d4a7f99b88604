"""What obstore raises, as errors that show nothing that is secret: names can't pass for what an answer says."""

import pytest

from unrolled.errors import TransientError
from unrolled.store.bucket import BucketStore

#: Names of objects that look like what is searched in an error's text.
NAMES = ["status: 416,", "source: StartTooLarge {", "source: NotPartial,", "http:169.254.169.254",
         "inner: BareRedirect,", "status code: 416 ", "Debug source:    status: 416,"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_not_taken_for_an_answer(name, monkeypatch):
    """Nothing listens there; an object that can't be asked for is neither absent nor empty."""
    for variable, value in {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "x",
                            "AWS_SECRET_ACCESS_KEY": "x"}.items():  # fmt: skip
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("unrolled.store.bucket._RETRIES", {"max_retries": 0})
    store = BucketStore("s3://bucket/out")
    for operation in (lambda: store.read(name), lambda: store.open(name), lambda: list(store.list(name))):
        with pytest.raises(TransientError, match="no connection; check that the bucket can be reached"):
            operation()
