// AVX-512: 32 registers of 16 floats.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernel/bfloat16.h"

namespace unrolled {
namespace {

struct Avx512 {
  using Vec = __m512;
  static constexpr int lanes = 16;
  static constexpr int rows = 6;  // 24 sums, 4 weights, the rest for inputs
  static constexpr bool away_reads = false;  // whether memory is read before `store_away` writes it

  static Vec load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
  // Stores what is not read again soon: a whole cache line bypasses the caches. Weakly ordered, see `settle`.
  static void store_away(float* p, Vec v) {
    if (reinterpret_cast<std::uintptr_t>(p) % sizeof v == 0) {
      _mm512_stream_ps(p, v);
    } else {
      store(p, v);
    }
  }
  // Orders all earlier `store_away` before later stores.
  static void settle() { _mm_sfence(); }
  static void store_first(float* p, Vec v, int count) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), v);
  }
  static Vec set1(float x) { return _mm512_set1_ps(x); }
  static Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
  static Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
  static Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
  static Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
  static Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
  static Vec fma_narrow(Vec a, Vec b, Vec c) { return fma(a, b, c); }  // for products that float32 has room for
  // Clamps to -40..40: the smaller magnitude, with the sign of x.
  static Vec cap(Vec x) { return _mm512_range_ps(x, set1(40.0f), 0b0010); }
  // Clamps to 0..1; NaN stays NaN.
  static Vec clamp(Vec x) { return _mm512_min_ps(set1(1.0f), _mm512_max_ps(_mm512_setzero_ps(), x)); }
  // The larger of 0 and x; NaN stays NaN, and -0 stays -0.
  static Vec rectify(Vec x) { return _mm512_max_ps(_mm512_setzero_ps(), x); }
  // Clamps to -bound..bound; NaN stays NaN.
  static Vec limit(Vec x, Vec bound) { return _mm512_min_ps(bound, _mm512_max_ps(_mm512_sub_ps(set1(-0.0f), bound), x)); }
  static Vec whole(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Vec scale(Vec x, Vec n) { return _mm512_scalef_ps(x, n); }  // x * 2^n
  // Zero where |v| is less than kLeastBfloat16.
  static Vec clear_least(Vec v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(_mm512_abs_ps(v), set1(kLeastBfloat16), _CMP_NLT_UQ), v);
  }
  // Rounds to bfloat16 and back, to nearest even; see kLeastBfloat16.
  static Vec round_to_bfloat16(Vec v) {
    const __m512i bits = _mm512_castps_si512(clear_least(v));
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    return _mm512_castsi512_ps(_mm512_and_si512(rounded, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
  }
#ifdef __AVX512BF16__
  static void store_bfloat16(std::uint16_t* p, Vec v) {
    const __m256bh rounded = _mm512_cvtneps_pbh(clear_least(v));
    std::memcpy(p, &rounded, sizeof rounded);
  }
#endif
};

}  // namespace
}  // namespace unrolled
