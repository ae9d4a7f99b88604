// Checks that a processor's dot products of bfloat16 pairs are two fused multiply-adds, the upper halves' first, on
// operands that would show any other rounding. Intel documents this for its processors; other vendors don't.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernel/bfloat16.h"

namespace unrolled {
namespace {

// Numbers of one kind: their exponents are within `spread` of `middle`, and a share of them is zero.
struct Operands {
  std::uint32_t middle, spread, zeros;
};

inline std::uint32_t next_random(std::uint64_t& state) {  // splitmix64
  std::uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return static_cast<std::uint32_t>((z ^ z >> 31) >> 32);
}

inline std::uint16_t random_bfloat16(const Operands& operands, std::uint64_t& state) {
  if (next_random(state) % 100 < operands.zeros) return static_cast<std::uint16_t>(next_random(state) & 0x8000u);
  const std::uint32_t exponent = operands.middle - operands.spread + next_random(state) % (2 * operands.spread + 1);
  return static_cast<std::uint16_t>((next_random(state) & 0x807fu) | exponent << 7);
}

// Compares 4096 x 16 dot products. `dot(sums, a, b, out)` does sixteen: out[k] = sums[k] + the pair k of a and b.
template <class Dot>
bool pairs_agree_with_fma(Dot dot) {
  // Near each other, so that sums are ties and cancel; apart, so that the smaller ones are only seen in a rounding; and
  // at both ends of what operands can be.
  static constexpr Operands kOperands[] = {{127, 1, 0},    {127, 6, 10}, {120, 13, 0},
                                           {100, 29, 30}, {73, 2, 0},   {180, 9, 0}};
  std::uint64_t state = 1;
  for (int round = 0; round < 4096; ++round) {
    const Operands& operands = kOperands[round % 6];
    std::uint16_t a[32], b[32];
    float sums[16], found[16];
    for (int k = 0; k < 32; ++k) {
      a[k] = random_bfloat16(operands, state);
      b[k] = random_bfloat16(operands, state);
    }
    for (int k = 0; k < 16; ++k) {
      const float upper = from_bfloat16(a[2 * k + 1]) * from_bfloat16(b[2 * k + 1]);
      const float c = from_bfloat16(random_bfloat16(operands, state));
      const float d = from_bfloat16(random_bfloat16(operands, state));
      // Sums as they arise: zero, one that cancels the first product or nearly does, and one of two products.
      const float starts[4] = {0.0f, -upper, std::fma(c, d, -upper), std::fma(c, d, c * c)};
      sums[k] = starts[next_random(state) % 4];
    }
    dot(sums, a, b, found);
    for (int k = 0; k < 16; ++k) {
      const float upper = std::fma(from_bfloat16(a[2 * k + 1]), from_bfloat16(b[2 * k + 1]), sums[k]);
      if (bits_of(std::fma(from_bfloat16(a[2 * k]), from_bfloat16(b[2 * k]), upper)) != bits_of(found[k])) return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace unrolled
