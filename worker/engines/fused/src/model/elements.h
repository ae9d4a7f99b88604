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

// Where in memory the first piece of number `at` of an input or a state is; a second piece is a block later. A kernel
// that multiplies pairs needs two neighbours of one half of a block in a pair, and the earlier one above: 2 0, 6 4,
// 10 8, 14 12, then 3 1, 7 5, 11 9, 15 13.
inline std::int64_t element_at(const Kernel& kernel, std::int64_t at) {
  const std::int64_t block = kernel.block_inputs;
  std::int64_t within = at % block;
  const std::int64_t first = (at - within) * kernel.pieces;
  if (kernel.step_inputs == 2 && !kernel.tiles) {
    const std::int64_t half = within % 2, nth = within % 16 / 2;
    within += 8 * half + nth / 2 * 2 + (1 - nth % 2) - within % 16;
  }
  return first + within;
}

// How far the second piece of a weight is behind the first one.
inline std::int64_t weights_apart(const Kernel& kernel, int width) {
  return std::int64_t{width} * kernel.lanes * kernel.block_inputs;
}

// Where in a panel the first piece of the weight of input `k` is, for gate `gate` of the `width` gates of a step; see
// kernel.h, blocks.h and run_tiles.h.
inline std::int64_t weight_at(const Kernel& kernel, std::int64_t k, int gate, std::int64_t lane, int width) {
  const std::int64_t lanes = kernel.lanes, inputs = kernel.step_inputs, block = kernel.block_inputs;
  if (block == 1) return (k * width + gate) * lanes + lane;
  const std::int64_t first = k / block * kernel.pieces * weights_apart(kernel, width);
  if (kernel.tiles) return first + (gate * (block / 2) + k % block / 2) * lanes * 2 + lane * 2 + k % 2;
  const std::int64_t nth = k % block / 2, half = k % 2, step = nth / inputs * 2 + half;
  const int begin = gate / 2 * 2, gates = std::min(width - begin, 2);
  const std::int64_t group = first + begin * block * lanes;
  return group + ((step * gates + gate - begin) * lanes + lane) * inputs + (inputs - 1 - nth % inputs);
}

inline int piece_bytes(const Kernel& kernel) { return kernel.element_bytes / kernel.pieces; }

// Writes x at a place in memory; its second piece, if numbers have one, `apart` places later.
inline void put_number(const Kernel& kernel, void* numbers, std::int64_t place, std::int64_t apart, float x) {
  if (kernel.arithmetic == Arithmetic::float32) {
    static_cast<float*>(numbers)[place] = x;
    return;
  }
  for (int piece = 0; piece < kernel.pieces; ++piece, place += apart) {
    const std::uint16_t rounded = to_bfloat16(x);
    if (piece_bytes(kernel) == 2) {
      static_cast<std::uint16_t*>(numbers)[place] = rounded;
    } else {
      static_cast<float*>(numbers)[place] = from_bfloat16(rounded);
    }
    x -= from_bfloat16(rounded);
  }
}

// Writes x as element `at` of an input or a state.
inline void put_element(const Kernel& kernel, void* elements, std::int64_t at, float x) {
  put_number(kernel, elements, element_at(kernel, at), kernel.block_inputs, x);
}

inline float get_element(const Kernel& kernel, const void* elements, std::int64_t at) {
  const std::int64_t place = element_at(kernel, at);
  const auto piece_at = [&](std::int64_t piece) {
    return piece_bytes(kernel) == 2 ? from_bfloat16(static_cast<const std::uint16_t*>(elements)[piece])
                                    : static_cast<const float*>(elements)[piece];
  };
  const float first = piece_at(place);
  // Pieces are added without an error: together they have fewer bits than float32.
  return kernel.pieces == 1 ? first : first + piece_at(place + kernel.block_inputs);
}

// Makes the elements [from, to) zero.
inline void clear_elements(const Kernel& kernel, void* elements, std::int64_t from, std::int64_t to) {
  const std::int64_t bytes = kernel.element_bytes, group = kernel.group_inputs;
  if (kernel.pieces == 1 && from % group == 0 && to % group == 0) {
    std::memset(static_cast<char*>(elements) + from * bytes, 0, static_cast<std::size_t>((to - from) * bytes));
    return;
  }
  for (std::int64_t at = from; at < to; ++at) put_element(kernel, elements, at, 0.0f);
}

// The first `count` numbers of an input or a state, in their order.
inline void get_elements(const Kernel& kernel, const void* elements, std::int64_t count, float* to) {
  if (kernel.pieces == 1 && kernel.element_bytes == sizeof(float)) {
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
  const std::int64_t piece = piece_bytes(kernel), apart = kernel.block_inputs * piece;
  for (std::int64_t k = 0; k < count; ++k) {
    char* const out = target + element_at(kernel, to_first + k) * piece;
    const char* const in = source + element_at(kernel, from_first + k) * piece;
    for (int p = 0; p < kernel.pieces; ++p) {
      std::memcpy(out + p * apart, in + p * apart, static_cast<std::size_t>(piece));
    }
  }
}

}  // namespace unrolled
