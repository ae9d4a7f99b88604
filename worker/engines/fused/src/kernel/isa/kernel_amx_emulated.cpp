#include "kernel/kernel.h"
#include "kernel/make_kernel.h"
#include "kernel/tiles/emulated_tiles.h"
#include "kernel/tiles/make_tile_kernel.h"
#include "kernel/vector/vector_portable.h"
#include "kernel/vector/vector_sixteen.h"

namespace unrolled {
namespace {

using Isa = Sixteen<PortableFused>;

const Kernel* table_kernel() {
  static constexpr Kernel kernel = make_kernel<Float32<Isa>>("amx-emulated", table_kernel);
  return &kernel;
}

}  // namespace

const Kernel* amx_emulated_kernel(Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::float32) return nullptr;
  using One = TileBfloat16<Isa>;
  static constexpr Kernel kernels[] = {make_tile_kernel<One, EmulatedTiles>("amx-emulated", table_kernel),
                                       make_tile_kernel<InPieces<One>, EmulatedTiles>("amx-emulated", table_kernel)};
  return &kernels[arithmetic == Arithmetic::bfloat16x3];
}

}  // namespace unrolled
