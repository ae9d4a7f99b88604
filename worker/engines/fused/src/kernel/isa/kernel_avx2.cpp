#include "kernel/kernel.h"

#if defined(__x86_64__) && defined(__AVX2__) && defined(__FMA__)

#include "kernel/make_kernel.h"
#include "kernel/vector/vector_avx2.h"

namespace unrolled {
const Kernel* avx2_float32() {
  static constexpr Kernel kernel = make_kernel<Float32<Avx2>>("avx2", avx2_float32);
  return &kernel;
}
const Kernel* avx2_bfloat16() {
  static constexpr Kernel kernel = make_kernel<RoundedFloat32<Avx2>>("avx2", avx2_float32);
  return &kernel;
}
}  // namespace unrolled

#else

namespace unrolled {
const Kernel* avx2_float32() { return nullptr; }
const Kernel* avx2_bfloat16() { return nullptr; }
}  // namespace unrolled

#endif
