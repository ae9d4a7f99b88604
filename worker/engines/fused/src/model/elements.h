// The numbers that enter a product: float32, float32 rounded to bfloat16, or bfloat16, depending on the kernel.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernel/kernel.h"

namespace unrolled {

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

// x rounded to bfloat16, to nearest even: the upper half of its bits. NaN stays NaN.
inline std::uint16_t to_bfloat16(float x) {
  const std::uint32_t bits = bits_of(x);
  if (x != x) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Writes x as element `at`.
inline void put_element(const Kernel& kernel, void* elements, std::int64_t at, float x) {
  if (kernel.element_bytes == 2) {
    static_cast<std::uint16_t*>(elements)[at] = to_bfloat16(x);
  } else if (kernel.weight_bits == 8) {
    static_cast<float*>(elements)[at] = float_of(static_cast<std::uint32_t>(to_bfloat16(x)) << 16);
  } else {
    static_cast<float*>(elements)[at] = x;
  }
}

inline float get_element(const Kernel& kernel, const void* elements, std::int64_t at) {
  if (kernel.element_bytes != 2) return static_cast<const float*>(elements)[at];
  return float_of(static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(elements)[at]) << 16);
}

}  // namespace unrolled
