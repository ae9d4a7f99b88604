#include "kernel/kernel.h"
#include "kernel/make_kernel.h"
#include "kernel/tiles/emulated_tiles.h"
#include "kernel/tiles/make_tile_kernel.h"
#include "kernel/vector/vector_portable.h"
#include "kernel/vector/vector_sixteen.h"

namespace unrolled {
namespace {

using Isa = Sixteen<PortableFused>;

const Kernel* fused_float32() {
  static constexpr Kernel kernel = make_kernel<Float32<Isa>>("amx-emulated", fused_float32);
  return &kernel;
}

}  // namespace

const Kernel* amx_emulated_bfloat16() {
  static constexpr Kernel kernel = make_tile_kernel<TileBfloat16<Isa>, EmulatedTiles>("amx-emulated", fused_float32);
  return &kernel;
}

}  // namespace unrolled
