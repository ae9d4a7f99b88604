"""The matrix units: what lacks for them means that others compute, with the same bytes, and a reason; never a crash."""

import os
import subprocess
import sys

import pytest
from support import reference

from unrolled.errors import BrokenWorkerError
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine

pytestmark = pytest.mark.skipif(library.why_unavailable() is not None, reason=str(library.why_unavailable()))

#: Prints why there are no tiles, and a digest of what the engine computes in bfloat16 on two threads.
COMPUTE = """
import hashlib, sys
import numpy as np
from unrolled.format.output_spec import OutputSpec
from unrolled.model.directory import open_model
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine

def compute():
    model = open_model(sys.argv[1])
    values = np.random.default_rng(0).integers(1, 7, 4000).astype(np.int32)
    output = np.empty((4000, model.config.output_dim), np.float32)
    shard = Ragged(values, np.arange(0, 4001, 20))
    FusedEngine(model, "bfloat16", 2).compute([shard], [[output]], OutputSpec().columns(model.config))
    return hashlib.sha256(output.tobytes()).hexdigest()
"""

#: What can be between a process and the tiles: a filter of system calls as containers have it, a signal stack that is
#: too small for the tiles' registers, another thread that asks first, a fork, and another program in the same process.
CIRCUMSTANCES = {
    "none": "print(library.why_no_tiles()); print(compute())",
    "seccomp": """
import ctypes, struct
LOAD, EQUAL, GIVE = 0x20, 0x15, 0x06
ARCH_PRCTL, EPERM, ALLOW = 158, 0x00050001, 0x7FFF0000
program = struct.pack("HBBI" * 4, LOAD, 0, 0, 0, EQUAL, 0, 1, ARCH_PRCTL, GIVE, 0, 0, EPERM, GIVE, 0, 0, ALLOW)
filters = ctypes.create_string_buffer(program)
head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(filters)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, head, 0, 0) == 0, ctypes.get_errno()
print(library.why_no_tiles()); print(compute())
""",
    "signal stack": """
import ctypes, struct
stack = ctypes.create_string_buffer(4096)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.sigaltstack(struct.pack("PixxxxN", ctypes.addressof(stack), 0, 4096), None) == 0
print(library.why_no_tiles()); print(compute())
""",
    "thread": """
from threading import Thread
asking = Thread(target=library.why_no_tiles); asking.start(); asking.join()
print(library.why_no_tiles()); print(compute())
""",
    "fork": """
import os
mine = compute()
child = os.fork()
if child == 0:
    os._exit(compute() != mine)
assert os.waitpid(child, 0)[1] == 0
print(library.why_no_tiles()); print(mine)
""",
    "exec": """
import os
compute()
if len(sys.argv) == 2:
    os.execv(sys.executable, [sys.executable, "-c", os.environ["SOURCE"], sys.argv[1], "again"])
print(library.why_no_tiles()); print(compute())
""",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    config = ModelConfig.stacked(6, 100, 40, 2, 5)
    return save_model(tmp_path_factory.mktemp("model"), config, reference.random_weights(config, 1))


@pytest.fixture(scope="module")
def undisturbed(model):
    return run(model, "none")


def run(model, circumstance):
    source = COMPUTE + CIRCUMSTANCES[circumstance]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", source, str(model.path)],
        env={**os.environ, "SOURCE": source, "UNROLLED_ISA": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    reason, digest = done.stdout.split("\n")[:2]
    return reason, digest


@pytest.mark.skipif(sys.platform != "linux", reason="machine: system calls of Linux")
@pytest.mark.parametrize("circumstance", [name for name in CIRCUMSTANCES if name != "none"])
def test_the_process_survives_and_the_bytes_stay(circumstance, model, undisturbed):
    """Whatever refuses the tiles, the process goes on, with the bytes that it gives with them."""
    reason, digest = run(model, circumstance)
    assert digest == undisturbed[1]
    if undisturbed[0] == "None" and circumstance in ("seccomp", "signal stack"):
        assert "permission" in reason or "signal stack" in reason
    else:
        assert reason == undisturbed[0]


def test_the_tiles_are_asked_for_where_there_are_none(model, monkeypatch):
    """The error says why there are none, and what this machine has."""
    monkeypatch.setenv("UNROLLED_ISA", "amx")
    reason = library.why_no_tiles()
    if reason is None:
        assert FusedEngine(model, "bfloat16").isa == "amx"
        return
    with pytest.raises(BrokenWorkerError, match=r"amx, which .* bfloat16 \(.*; allowed here: .*amx-emulated") as caught:
        FusedEngine(model, "bfloat16")
    assert reason in str(caught.value)


def test_float32_beside_tiles(model, monkeypatch):
    """Tiles have no float32, so the vector units compute it."""
    monkeypatch.delenv("UNROLLED_ISA", raising=False)
    usual = FusedEngine(model).isa
    monkeypatch.setenv("UNROLLED_ISA", "amx-emulated")
    assert FusedEngine(model).isa == usual
    assert FusedEngine(model, "bfloat16").isa == "amx-emulated"
