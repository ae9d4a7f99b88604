// AVX2 with FMA: 16 registers of 8 floats.
#pragma once

#include <immintrin.h>

namespace unrolled {
namespace {

struct Avx2 {
  using Vec = __m256;
  static constexpr int lanes = 8;
  static constexpr int rows = 3;  // 12 accumulators; weights come from memory operands as they must

  static Vec load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
  static void store_first(float* p, Vec v, int count) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane), v);
  }
  static Vec set1(float x) { return _mm256_set1_ps(x); }
  static Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
  static Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
  static Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
  static Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
  static Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
  static Vec fraction(Vec x) { return _mm256_sub_ps(x, _mm256_floor_ps(x)); }
  static Vec scale(Vec p, Vec x) {
    // Below 2^-126 the exponent field would wrap: a sigmoid there is one to the last bit.
    const Vec bounded = _mm256_max_ps(x, _mm256_set1_ps(-126.0f));
    const __m256i exponent = _mm256_cvtps_epi32(_mm256_floor_ps(bounded));
    const __m256i bits = _mm256_slli_epi32(_mm256_add_epi32(exponent, _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(p, _mm256_castsi256_ps(bits));
  }
  static Vec reciprocal_coarse(Vec x) { return reciprocal_fine(x); }
  static Vec reciprocal_fine(Vec x) {
    const Vec r = _mm256_rcp_ps(x);  // 3.7e-4
    return _mm256_mul_ps(r, _mm256_fnmadd_ps(x, r, _mm256_set1_ps(2.0f)));  // one Newton step: 1.4e-7
  }
  static Vec round_to_bfloat16(Vec v) {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    return _mm256_castsi256_ps(_mm256_and_si256(rounded, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
  }
};

}  // namespace
}  // namespace unrolled
