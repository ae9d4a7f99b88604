#include "kernel/kernel.h"

#if defined(__x86_64__) && defined(__AVX2__) && defined(__FMA__)

#include "kernel/make_kernel.h"
#include "kernel/vector/vector_avx2.h"

namespace unrolled {
namespace {

const Kernel* table_kernel() { return avx2_kernel(Arithmetic::float32); }

}  // namespace

const Kernel* avx2_kernel(Arithmetic arithmetic) {
  static constexpr Kernel kernels[] = {make_kernel<Float32<Avx2>>("avx2", table_kernel),
                                       make_kernel<RoundedFloat32<Avx2>>("avx2", table_kernel),
                                       make_kernel<InPieces<RoundedFloat32<Avx2>>>("avx2", table_kernel)};
  return &kernels[static_cast<int>(arithmetic)];
}
}  // namespace unrolled

#else

namespace unrolled {
const Kernel* avx2_kernel(Arithmetic) { return nullptr; }
}  // namespace unrolled

#endif
