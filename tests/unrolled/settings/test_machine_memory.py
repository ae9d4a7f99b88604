"""How much memory a process may use."""

import pytest

from unrolled.settings.machine_memory import memory_note

LIMITS = "Max processes             100                  100                  processes \nMax address space         "


@pytest.mark.parametrize(
    ("error", "limited", "unlimited"),
    [
        ("MemoryError: ", True, True),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 GiB", True, True),
        ("OSError: [Errno 12] Cannot allocate memory", True, True),
        ("ImportError: libarrow.so.2600: failed to map segment from shared object", True, False),
        ("RuntimeError: can't start new thread", True, False),
        ("ImportError: libx.so: cannot open shared object file", False, False),
        ("ValueError: no memory of it", False, False),
    ],
)
def test_an_error_of_too_little_memory_is_recognized(tmp_path, error, limited, unlimited):
    """With the limit of addresses, if there is one; without one, a thread or a library may fail for other reasons."""
    (tmp_path / "self").mkdir()
    for limit, noted in (("2147483648", limited), ("unlimited", unlimited), (None, unlimited)):
        text = "" if limit is None else f"{LIMITS}{limit}            unlimited            bytes     \n"
        (tmp_path / "self" / "limits").write_text(text)
        found = memory_note(error, tmp_path)
        assert bool(found) == noted
        assert ("limited to 2.00 GiB of addresses" in found) == (noted and limit == "2147483648")
