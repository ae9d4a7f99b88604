// Four floats, with the compilers' vector extensions: NEON on ARM, SSE2 on x86, scalars elsewhere.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernel/bfloat16.h"

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
  static Vec fma_narrow(Vec a, Vec b, Vec c) { return a * b + c; }  // for products that float32 has room for
  static Vec cap(Vec x) {  // clamps to -40..40, as AVX2 does it: integers have an order for NaN too
    const Int4 bits = as<Int4>(x), top = bits < as<Int4>(set1(40.0f)) ? bits : as<Int4>(set1(40.0f));
    const Bits4 low = as<Bits4>(set1(-40.0f)), capped = as<Bits4>(top);
    return as<Vec>(capped < low ? capped : low);
  }
  // Clamps to 0..1; NaN stays NaN.
  static Vec clamp(Vec x) {
    const Vec bottom = pick(x < set1(0.0f), set1(0.0f), x);
    return pick(bottom > set1(1.0f), set1(1.0f), bottom);
  }
  // The larger of 0 and x; NaN stays NaN, and -0 stays -0.
  static Vec rectify(Vec x) { return pick(x < set1(0.0f), set1(0.0f), x); }
  // Clamps to -bound..bound; NaN stays NaN.
  static Vec limit(Vec x, Vec bound) {
    const Vec bottom = pick(x < -bound, -bound, x);
    return pick(bottom > bound, bound, bottom);
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
  // Rounds to bfloat16 and back, to nearest even; see kLeastBfloat16.
  static Vec round_to_bfloat16(Vec v) {
    const Bits4 magnitude = bits_of(v) & 0x7fffffffu;
    const Bits4 bits = magnitude < bits_of(set1(kLeastBfloat16)) ? Bits4{} : bits_of(v);
    return from_bits((bits + (((bits >> 16) & 1u) + 0x7fffu)) & 0xffff0000u);
  }

 private:
  template <class To, class From>
  static To as(From from) {
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
  }
  static Bits4 bits_of(Vec v) { return as<Bits4>(v); }
  static Vec from_bits(Bits4 bits) { return as<Vec>(bits); }
  static Vec pick(Int4 condition, Vec a, Vec b) {
    const Bits4 mask = as<Bits4>(condition);
    return from_bits((mask & bits_of(a)) | (~mask & bits_of(b)));
  }
};

// The same with multiply-adds that round once everywhere. Where the processor has no such instruction they are slow, so
// they serve only gates and tables.
struct PortableFused : Portable {
  static Vec fma(Vec a, Vec b, Vec c) {
#if defined(__aarch64__)
    return Portable::fma(a, b, c);
#else
    return Vec{std::fma(a[0], b[0], c[0]), std::fma(a[1], b[1], c[1]), std::fma(a[2], b[2], c[2]),
               std::fma(a[3], b[3], c[3])};
#endif
  }
};

}  // namespace
}  // namespace unrolled
