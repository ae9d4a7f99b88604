#include "kernel/kernel.h"
#include "kernel/make_kernel.h"
#include "kernel/vector/vector_portable.h"

namespace unrolled {
namespace {

// Its multiply-adds round once, so that a table has the bytes of the other instruction sets.
const Kernel* table_kernel() {
  static constexpr Kernel kernel = make_kernel<Float32<PortableFused>>("portable", table_kernel);
  return &kernel;
}
const Kernel* float32_table_kernel() { return portable_kernel(Arithmetic::float32); }

}  // namespace

const Kernel* portable_kernel(Arithmetic arithmetic) {
  static constexpr Kernel kernels[] = {make_kernel<Float32<Portable>>("portable", float32_table_kernel),
                                       make_kernel<RoundedFloat32<PortableFused>>("portable", table_kernel),
                                       make_kernel<InPieces<RoundedFloat32<PortableFused>>>("portable", table_kernel)};
  return &kernels[static_cast<int>(arithmetic)];
}
}  // namespace unrolled
