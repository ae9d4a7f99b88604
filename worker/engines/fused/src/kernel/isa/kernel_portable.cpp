#include "kernel/kernel.h"
#include "kernel/make_kernel.h"
#include "kernel/vector/vector_portable.h"

namespace unrolled {
namespace {

const Kernel* fused_float32() {
  static constexpr Kernel kernel = make_kernel<Float32<PortableFused>>("portable", fused_float32);
  return &kernel;
}

}  // namespace

const Kernel* portable_float32() {
  static constexpr Kernel kernel = make_kernel<Float32<Portable>>("portable", portable_float32);
  return &kernel;
}
const Kernel* portable_bfloat16() {
  static constexpr Kernel kernel = make_kernel<RoundedFloat32<PortableFused>>("portable", fused_float32);
  return &kernel;
}
}  // namespace unrolled
