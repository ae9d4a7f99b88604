#include "kernel/kernel.h"

#if defined(__x86_64__) && defined(__AMX_BF16__) && defined(__AVX512BF16__)

#include "kernel/tiles/hardware_tiles.h"
#include "kernel/tiles/make_tile_kernel.h"
#include "kernel/vector/vector_avx512.h"

namespace unrolled {
namespace {

const Kernel* table_kernel() { return avx512_kernel(Arithmetic::float32); }

}  // namespace

const Kernel* amx_kernel(Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::float32) return nullptr;
  using One = TileBfloat16<Avx512>;
  static constexpr Kernel kernels[] = {make_tile_kernel<One, HardwareTiles>("amx", table_kernel),
                                       make_tile_kernel<InPieces<One>, HardwareTiles>("amx", table_kernel)};
  return &kernels[arithmetic == Arithmetic::bfloat16x3];
}
}  // namespace unrolled

#else

namespace unrolled {
const Kernel* amx_kernel(Arithmetic) { return nullptr; }
}  // namespace unrolled

#endif
