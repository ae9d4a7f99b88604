// Rounding to bfloat16, the upper half of a float32 number.
#pragma once

#include <cstdint>
#include <cstring>

namespace unrolled {
namespace {  // each file has its own instructions

// Numbers nearer to zero become zero. So operands are multiples of 2^-63, and products and their sums multiples of
// 2^-126, the least normal float32 number. No result is denormal, and instructions that take denormal numbers as zero
// give the results of those that don't.
constexpr float kLeastBfloat16 = 0x1p-56f;

inline std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline float float_of(std::uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// x rounded to nearest even. NaN stays NaN.
inline std::uint16_t to_bfloat16(float x) {
  const std::uint32_t bits = bits_of(x);
  if (x != x) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  if (x < kLeastBfloat16 && x > -kLeastBfloat16) return 0;
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float from_bfloat16(std::uint16_t x) { return float_of(static_cast<std::uint32_t>(x) << 16); }

}  // namespace
}  // namespace unrolled
