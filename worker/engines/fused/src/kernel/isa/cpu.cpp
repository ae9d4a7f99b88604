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

bool has_amx() { return amx_bfloat16() && has_avx512_bf16() && !why_no_tiles(); }

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

const Kernel* fastest_bfloat16() {
  if (has_amx()) return amx_bfloat16();
  const Kernel* const pairs = has_avx512_bf16() ? avx512_bf16_bfloat16() : nullptr;
  const Kernel* const singles = has_avx512() ? avx512_bfloat16() : nullptr;
  if (pairs && singles) return pairs_are_faster(*pairs, *singles) ? pairs : singles;
  if (pairs || singles) return pairs ? pairs : singles;
  return has_avx2() ? avx2_bfloat16() : portable_bfloat16();
}

const Kernel* kernel_of(const char* isa, Arithmetic arithmetic) {
  const bool bfloat16 = arithmetic == Arithmetic::bfloat16;
  const auto is = [isa](const char* name) { return std::strcmp(isa, name) == 0; };
  if (is("amx") && bfloat16) return has_amx() ? amx_bfloat16() : nullptr;
  if (is("amx-emulated") && bfloat16) return amx_emulated_bfloat16();
  if (is("amx") || is("amx-emulated")) return choose_kernel(nullptr, arithmetic);
  if (is("avx512_bf16") && bfloat16) return has_avx512_bf16() ? avx512_bf16_bfloat16() : nullptr;
  if (is("avx512") || is("avx512_bf16")) {
    if (!has_avx512()) return nullptr;
    return bfloat16 ? avx512_bfloat16() : avx512_float32();
  }
  if (is("avx2")) {
    if (!has_avx2()) return nullptr;
    return bfloat16 ? avx2_bfloat16() : avx2_float32();
  }
  if (is("portable")) return bfloat16 ? portable_bfloat16() : portable_float32();
  return nullptr;
}

}  // namespace

const Kernel* choose_kernel(const char* isa, Arithmetic arithmetic) {
  if (isa) return kernel_of(isa, arithmetic);
  if (arithmetic == Arithmetic::bfloat16) {
    static const Kernel* const fastest = fastest_bfloat16();
    return fastest;
  }
  for (const char* candidate : {"avx512", "avx2", "portable"}) {
    const Kernel* const kernel = kernel_of(candidate, arithmetic);
    if (kernel) return kernel;
  }
  return nullptr;
}

}  // namespace unrolled
