"""The kernels of the fused engine that this machine can run, each as its instruction set and its arithmetic."""

import pytest

from worker.engines.fused import library

KERNELS = (
    []
    if library.why_unavailable()
    else [(isa, arithmetic) for arithmetic in library.ARITHMETICS for isa in library.available_isas(arithmetic)]
)
#: Marks a test that needs the fused engine.
needs_kernel = pytest.mark.skipif(not KERNELS, reason=str(library.why_unavailable()))
#: The engines that an import is compared with here, as it names them.
ENGINES_HERE = {"tensorflow engine", *(["fused engine"] if KERNELS else [])}
#: Threads of a model that a test loads into its own process. TensorFlow, which computes where there is no kernel, takes
#: no other number once it has computed, and another test may have had it compute.
THREADS = 1 if KERNELS else None
_VECTORS = "avx2" if ("avx2", "bfloat16x3") in KERNELS else "portable"
#: For tests that compute many models: of bfloat16x3 one kernel of vectors and one of tiles. Its other kernels are the
#: templates of bfloat16, and the tests that compare the bytes of all instruction sets have them too.
SOME_KERNELS = [
    (isa, arithmetic)
    for isa, arithmetic in KERNELS
    if arithmetic != "bfloat16x3" or isa in (_VECTORS, "amx-emulated", "amx")
]
