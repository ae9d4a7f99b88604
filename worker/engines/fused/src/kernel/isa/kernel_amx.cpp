#include "kernel/kernel.h"

#if defined(__x86_64__) && defined(__AMX_BF16__) && defined(__AVX512BF16__)

#include "kernel/tiles/hardware_tiles.h"
#include "kernel/tiles/make_tile_kernel.h"
#include "kernel/vector/vector_avx512.h"

namespace unrolled {
const Kernel* amx_bfloat16() {
  static constexpr Kernel kernel = make_tile_kernel<TileBfloat16<Avx512>, HardwareTiles>("amx", avx512_float32);
  return &kernel;
}
}  // namespace unrolled

#else

namespace unrolled {
const Kernel* amx_bfloat16() { return nullptr; }
}  // namespace unrolled

#endif
