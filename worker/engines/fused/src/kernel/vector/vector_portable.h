// Four floats, with the compilers' vector extensions: NEON on ARM, SSE2 on x86, scalars elsewhere.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace unrolled {
namespace {

typedef float Float4 __attribute__((vector_size(16)));
typedef std::int32_t Int4 __attribute__((vector_size(16)));   // the type of a comparison's result
typedef std::uint32_t Bits4 __attribute__((vector_size(16)));

struct Portable {
  using Vec = Float4;
  static constexpr int lanes = 4;
#if defined(__aarch64__)
  static constexpr int rows = 6;  // 24 sums in 32 registers
#else
  static constexpr int rows = 3;  // 12 sums in 16 registers
#endif
  static constexpr bool away_reads = true;  // whether memory is read before `store_away` writes it

  static Vec load(const float* p) {
    Vec v;
    std::memcpy(&v, p, sizeof v);
    return v;
  }
  static void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
  static void store_away(float* p, Vec v) { store(p, v); }
  static void settle() {}
  static void store_first(float* p, Vec v, int count) {
    for (int lane = 0; lane < count; ++lane) p[lane] = v[lane];
  }
  static Vec set1(float x) { return Vec{x, x, x, x}; }
  static Vec add(Vec a, Vec b) { return a + b; }
  static Vec sub(Vec a, Vec b) { return a - b; }
  static Vec mul(Vec a, Vec b) { return a * b; }
  static Vec div(Vec a, Vec b) { return a / b; }
  static Vec fma(Vec a, Vec b, Vec c) {
#if defined(__aarch64__)
    return reinterpret_cast<Vec>(vfmaq_f32(reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a),
                                           reinterpret_cast<float32x4_t>(b)));
#else
    return a * b + c;  // rounds twice everywhere, because it is built with -ffp-contract=off
#endif
  }
  static Vec cap(Vec x) {  // clamps to -40..40
    const Vec top = pick(x < set1(40.0f), x, set1(40.0f));
    return pick(top > set1(-40.0f), top, set1(-40.0f));
  }
  // Clamps to 0..1; NaN stays NaN.
  static Vec clamp(Vec x) {
    const Vec bottom = pick(x < set1(0.0f), set1(0.0f), x);
    return pick(bottom > set1(1.0f), set1(1.0f), bottom);
  }
  static Vec whole(Vec x) {
    // 1.5 * 2^23 leaves no room for a fraction: adding it rounds to the nearest whole number.
    const Vec shift = set1(12582912.0f);
    return (x + shift) - shift;
  }
  static Vec scale(Vec x, Vec n) {  // x * 2^n, n in -40..40, x near 1
    const Int4 steps = __builtin_convertvector(n, Int4);
    Bits4 exponent;
    std::memcpy(&exponent, &steps, sizeof exponent);
    return from_bits(bits_of(x) + (exponent << 23));
  }
  static Vec round_to_bfloat16(Vec v) {
    const Bits4 bits = bits_of(v);
    return from_bits((bits + (((bits >> 16) & 1u) + 0x7fffu)) & 0xffff0000u);
  }

 private:
  static Bits4 bits_of(Vec v) {
    Bits4 bits;
    std::memcpy(&bits, &v, sizeof bits);
    return bits;
  }
  static Vec from_bits(Bits4 bits) {
    Vec v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
  }
  static Vec pick(Int4 condition, Vec a, Vec b) {
    Bits4 mask;
    std::memcpy(&mask, &condition, sizeof mask);
    return from_bits((mask & bits_of(a)) | (~mask & bits_of(b)));
  }
};

}  // namespace
}  // namespace unrolled
