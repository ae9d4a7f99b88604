// Chooses a kernel that this processor can run.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "kernel/kernel.h"
#include "kernel/tiles/permission.h"

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
  static const bool has = has_avx512() && __builtin_cpu_supports("avx512bf16") && pairs_agree();
  return has;
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

bool has_amx() { return amx_kernel(Arithmetic::bfloat16) && has_avx512_bf16() && !why_no_tiles(); }

// Whether pairs are multiplied faster than single numbers: twice as fast on AMD's processors, half as fast on Intel's.
// The bytes are the same either way, so it may be measured.
bool pairs_are_faster(const Kernel& pairs, const Kernel& singles) {
  const auto seconds_each = [](const Kernel& kernel) {
    double least = 1;
    for (int round = 0; round < 5; ++round) {
      const auto start = std::chrono::steady_clock::now();
      const double operations = kernel.spin(500);
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      least = std::min(least, took.count() / operations);
    }
    return least;
  };
  return seconds_each(pairs) < seconds_each(singles);
}

// The fastest kernel here, without tiles.
const Kernel* fastest_vectors(Arithmetic arithmetic) {
  const bool has_pairs = arithmetic != Arithmetic::float32 && has_avx512_bf16();
  const Kernel* const pairs = has_pairs ? avx512_bf16_kernel(arithmetic) : nullptr;
  const Kernel* const singles = has_avx512() ? avx512_kernel(arithmetic) : nullptr;
  if (pairs && singles) {
    static const bool faster = pairs_are_faster(*pairs, *singles);
    return faster ? pairs : singles;
  }
  if (pairs || singles) return pairs ? pairs : singles;
  return has_avx2() ? avx2_kernel(arithmetic) : portable_kernel(arithmetic);
}

const Kernel* kernel_of(const char* isa, Arithmetic arithmetic) {
  const bool bfloat16 = arithmetic != Arithmetic::float32;
  const auto is = [isa](const char* name) { return std::strcmp(isa, name) == 0; };
  if (is("amx") && bfloat16) return has_amx() ? amx_kernel(arithmetic) : nullptr;
  if (is("amx-emulated") && bfloat16) return amx_emulated_kernel(arithmetic);
  if (is("amx") || is("amx-emulated")) return choose_kernel(nullptr, arithmetic);
  if (is("avx512_bf16") && bfloat16) return has_avx512_bf16() ? avx512_bf16_kernel(arithmetic) : nullptr;
  if (is("avx512") || is("avx512_bf16")) return has_avx512() ? avx512_kernel(arithmetic) : nullptr;
  if (is("avx2")) return has_avx2() ? avx2_kernel(arithmetic) : nullptr;
  return is("portable") ? portable_kernel(arithmetic) : nullptr;
}

}  // namespace

const Kernel* choose_kernel(const char* isa, Arithmetic arithmetic) {
  if (arithmetic < Arithmetic::float32 || arithmetic > Arithmetic::bfloat16x3) return nullptr;
  if (isa) return kernel_of(isa, arithmetic);
  if (arithmetic != Arithmetic::float32 && has_amx()) return amx_kernel(arithmetic);
  return fastest_vectors(arithmetic);
}

}  // namespace unrolled
