#include "kernel/kernel.h"

#if defined(__x86_64__) && defined(__AVX512F__)

#include "kernel/make_kernel.h"
#include "kernel/vector/vector_avx512.h"

namespace unrolled {
const Kernel* avx512_float32() {
  static constexpr Kernel kernel = make_kernel<Float32<Avx512>>("avx512", avx512_float32);
  return &kernel;
}
const Kernel* avx512_bfloat16() {
  static constexpr Kernel kernel = make_kernel<RoundedFloat32<Avx512>>("avx512", avx512_float32);
  return &kernel;
}
}  // namespace unrolled

#else

namespace unrolled {
const Kernel* avx512_float32() { return nullptr; }
const Kernel* avx512_bfloat16() { return nullptr; }
}  // namespace unrolled

#endif
