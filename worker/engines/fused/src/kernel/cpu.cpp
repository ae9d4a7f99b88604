// Chooses a kernel that this processor can run.
#include <cstring>
#include <initializer_list>

#include "kernel/kernel.h"

namespace unrolled {
namespace {

bool has_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

bool has_avx512_bf16() {
#if defined(__x86_64__)
  return has_avx512() && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

bool has_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

const Kernel* kernel_of(const char* isa, bool bfloat16) {
  if (std::strcmp(isa, "avx512") == 0) {
    if (bfloat16) return has_avx512_bf16() ? avx512_bfloat16() : nullptr;
    return has_avx512() ? avx512_float32() : nullptr;
  }
  if (std::strcmp(isa, "avx2") == 0) {
    if (!has_avx2()) return nullptr;
    return bfloat16 ? avx2_bfloat16() : avx2_float32();
  }
  if (std::strcmp(isa, "portable") == 0) return bfloat16 ? portable_bfloat16() : portable_float32();
  return nullptr;
}

}  // namespace

const Kernel* choose_kernel(const char* isa, bool bfloat16) {
  if (isa) return kernel_of(isa, bfloat16);
  for (const char* candidate : {"avx512", "avx2", "portable"}) {
    if (const Kernel* kernel = kernel_of(candidate, bfloat16)) return kernel;
  }
  return nullptr;
}

}  // namespace unrolled
