// Four floats through the compilers' vector extensions: NEON on ARM, SSE2 on x86, scalars where neither is.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace unrolled {
namespace {

typedef float Float4 __attribute__((vector_size(16)));
typedef std::int32_t Int4 __attribute__((vector_size(16)));

struct Portable {
  using Vec = Float4;
  static constexpr int lanes = 4;
#if defined(__aarch64__)
  static constexpr int rows = 6;  // 32 registers: 24 accumulators
#else
  static constexpr int rows = 3;  // 16 registers: 12 accumulators
#endif

  static Vec load(const float* p) {
    Vec v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }
  static void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
  static void store_first(float* p, Vec v, int count) {
    for (int lane = 0; lane < count; ++lane) p[lane] = v[lane];
  }
  static Vec set1(float x) { return Vec{x, x, x, x}; }
  static Vec add(Vec a, Vec b) { return a + b; }
  static Vec sub(Vec a, Vec b) { return a - b; }
  static Vec mul(Vec a, Vec b) { return a * b; }
  static Vec fma(Vec a, Vec b, Vec c) {
#if defined(__aarch64__)
    return reinterpret_cast<Vec>(vfmaq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a),
                                           reinterpret_cast<float32x4_t>(b)));
#else
    return a * b + c;  // two roundings: built with -ffp-contract=off, so everywhere alike
#endif
  }
  static Vec min(Vec a, Vec b) { return pick(a < b, a, b); }
  static Vec fraction(Vec x) {
    const Vec bounded = pick(x > set1(-126.0f), x, set1(-126.0f));
    return bounded - __builtin_convertvector(floor(bounded), Vec);
  }
  static Vec scale(Vec p, Vec x) {
    const Vec bounded = pick(x > set1(-126.0f), x, set1(-126.0f));
    const Int4 bits = (floor(bounded) + 127) << 23;
    Vec power;
    std::memcpy(&power, &bits, sizeof power);
    return p * power;
  }
  static Vec reciprocal_coarse(Vec x) { return set1(1.0f) / x; }
  static Vec reciprocal_fine(Vec x) { return set1(1.0f) / x; }
  static Vec round_to_bfloat16(Vec v) {
    Int4 bits;
    std::memcpy(&bits, &v, sizeof bits);
    bits = (bits + (((bits >> 16) & 1) + 0x7fff)) & static_cast<std::int32_t>(0xffff0000u);
    std::memcpy(&v, &bits, sizeof v);
    return v;
  }

 private:
  static Vec pick(Int4 condition, Vec a, Vec b) {
    Int4 a_bits, b_bits;
    std::memcpy(&a_bits, &a, sizeof a_bits);
    std::memcpy(&b_bits, &b, sizeof b_bits);
    const Int4 bits = (condition & a_bits) | (~condition & b_bits);
    Vec v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
  }
  static Int4 floor(Vec x) {
    const Int4 truncated = __builtin_convertvector(x, Int4);
    const Int4 above = __builtin_convertvector(truncated, Vec) > x;  // -1 where truncation went up
    return truncated + above;
  }
};

}  // namespace
}  // namespace unrolled
