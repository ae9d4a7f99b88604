// AVX2 with FMA: 16 registers of 8 floats.
#pragma once

#include <immintrin.h>

#include "kernel/bfloat16.h"

namespace unrolled {
namespace {

struct Avx2 {
  using Vec = __m256;
  static constexpr int lanes = 8;
  static constexpr int rows = 3;  // 12 sums; the weights don't fit beside them and are memory operands
  static constexpr bool away_reads = true;  // whether memory is read before `store_away` writes it

  static Vec load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
  static void store_away(float* p, Vec v) { store(p, v); }  // half a cache line past the caches is slower
  static void settle() {}
  static void store_first(float* p, Vec v, int count) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane), v);
  }
  static Vec set1(float x) { return _mm256_set1_ps(x); }
  static Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
  static Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
  static Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
  static Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
  static Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
  static Vec fma_narrow(Vec a, Vec b, Vec c) { return fma(a, b, c); }  // for products that float32 has room for
  // Clamps to -40..40 with integer minima, which don't occupy the multipliers. As signed integers the bits of positive
  // floats have the floats' order, and those of negative floats are negative; as unsigned integers, the bits of
  // negative floats have the opposite order and are above all others.
  static Vec cap(Vec x) {
    const __m256i top = _mm256_min_epi32(_mm256_castps_si256(x), _mm256_castps_si256(set1(40.0f)));
    return _mm256_castsi256_ps(_mm256_min_epu32(top, _mm256_castps_si256(set1(-40.0f))));
  }
  // Clamps to 0..1; NaN stays NaN.
  static Vec clamp(Vec x) { return _mm256_min_ps(set1(1.0f), _mm256_max_ps(_mm256_setzero_ps(), x)); }
  // The larger of 0 and x; NaN stays NaN, and -0 stays -0.
  static Vec rectify(Vec x) { return _mm256_max_ps(_mm256_setzero_ps(), x); }
  // Clamps to -bound..bound; NaN stays NaN.
  static Vec limit(Vec x, Vec bound) { return _mm256_min_ps(bound, _mm256_max_ps(_mm256_sub_ps(set1(-0.0f), bound), x)); }
  static Vec whole(Vec x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  static Vec scale(Vec x, Vec n) {  // x * 2^n, n in -40..40, x near 1
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), exponent));
  }
  // Rounds to bfloat16 and back, to nearest even; see kLeastBfloat16.
  static Vec round_to_bfloat16(Vec v) {
    const Vec magnitude = _mm256_andnot_ps(set1(-0.0f), v);
    v = _mm256_and_ps(v, _mm256_cmp_ps(magnitude, set1(kLeastBfloat16), _CMP_NLT_UQ));
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    return _mm256_castsi256_ps(_mm256_and_si256(rounded, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  }
};

}  // namespace
}  // namespace unrolled
