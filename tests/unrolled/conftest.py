"""What tests of several rooms of `unrolled` need."""

import pwd

import pytest


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home directory: no variable, and no entry in the list of users."""

    def unknown(number):
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
