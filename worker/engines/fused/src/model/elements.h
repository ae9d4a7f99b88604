// The numbers that enter a product: float32, float32 rounded to bfloat16, or bfloat16, depending on the kernel.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernel/bfloat16.h"
#include "kernel/kernel.h"

namespace unrolled {

inline std::int64_t round_up(std::int64_t x, std::int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

// The steps for a depth of `inputs` numbers.
inline std::int64_t steps_of(const Kernel& kernel, std::int64_t inputs) {
  return round_up(inputs, kernel.block_inputs) / kernel.step_inputs;
}

// Where in memory number `at` of an input or a state is. A kernel that multiplies pairs needs two neighbours of one
// half of a block in a pair, and the earlier one above: 2 0, 6 4, 10 8, 14 12, then 3 1, 7 5, 11 9, 15 13.
inline std::int64_t element_at(const Kernel& kernel, std::int64_t at) {
  if (kernel.group_inputs == 1) return at;
  const std::int64_t within = at % 16, half = within % 2, nth = within / 2;
  return at - within + 8 * half + nth / 2 * 2 + (1 - nth % 2);
}

// Where in a panel the weight of input `k` is, for gate `gate` of the `width` gates of a step; see kernel.h, blocks.h
// and run_tiles.h.
inline std::int64_t weight_at(const Kernel& kernel, std::int64_t k, int gate, std::int64_t lane, int width) {
  const std::int64_t lanes = kernel.lanes, inputs = kernel.step_inputs, block = kernel.block_inputs;
  if (block == 1) return (k * width + gate) * lanes + lane;
  if (kernel.tiles) return ((k / block * width + gate) * (block / 2) + k % block / 2) * lanes * 2 + lane * 2 + k % 2;
  const std::int64_t nth = k % block / 2, half = k % 2, step = nth / inputs * 2 + half;
  const int first = gate / 2 * 2, gates = std::min(width - first, 2);
  const std::int64_t group = (k / block * width + first) * block * lanes;
  return group + ((step * gates + gate - first) * lanes + lane) * inputs + (inputs - 1 - nth % inputs);
}

// Writes x at a place in memory.
inline void put_number(const Kernel& kernel, void* numbers, std::int64_t place, float x) {
  if (kernel.element_bytes == 2) {
    static_cast<std::uint16_t*>(numbers)[place] = to_bfloat16(x);
  } else if (kernel.weight_bits == 8) {
    static_cast<float*>(numbers)[place] = from_bfloat16(to_bfloat16(x));
  } else {
    static_cast<float*>(numbers)[place] = x;
  }
}

// Writes x as element `at` of an input or a state.
inline void put_element(const Kernel& kernel, void* elements, std::int64_t at, float x) {
  put_number(kernel, elements, element_at(kernel, at), x);
}

inline float get_element(const Kernel& kernel, const void* elements, std::int64_t at) {
  const std::int64_t place = element_at(kernel, at);
  if (kernel.element_bytes != 2) return static_cast<const float*>(elements)[place];
  return from_bfloat16(static_cast<const std::uint16_t*>(elements)[place]);
}

// The first `count` numbers of an input or a state, in their order.
inline void get_elements(const Kernel& kernel, const void* elements, std::int64_t count, float* to) {
  if (kernel.element_bytes == sizeof(float)) {
    std::memcpy(to, elements, static_cast<std::size_t>(count) * sizeof(float));  // in no other order
    return;
  }
  for (std::int64_t k = 0; k < count; ++k) to[k] = get_element(kernel, elements, k);
}

// Copies `count` elements: from[from_first, ...) to to[to_first, ...).
inline void copy_elements(const Kernel& kernel, void* to, std::int64_t to_first, const void* from,
                          std::int64_t from_first, std::int64_t count) {
  const std::int64_t bytes = kernel.element_bytes, group = kernel.group_inputs;
  char* const target = static_cast<char*>(to);
  const char* const source = static_cast<const char*>(from);
  if (to_first % group == 0 && from_first % group == 0 && count % group == 0) {
    std::memcpy(target + to_first * bytes, source + from_first * bytes, static_cast<std::size_t>(count * bytes));
    return;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    std::memcpy(target + element_at(kernel, to_first + k) * bytes, source + element_at(kernel, from_first + k) * bytes,
                static_cast<std::size_t>(bytes));
  }
}

}  // namespace unrolled
