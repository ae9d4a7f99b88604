// The distances between the states of a level's nodes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/model.h"

namespace unrolled {

// The distance is a cache line more than the width of a state: with a power of two, all states would share a few cache
// sets.
constexpr std::int64_t kApart = 64;

inline std::int64_t elements_apart(const Kernel& kernel, std::int64_t padded) {
  return padded + kApart / kernel.element_bytes;
}
inline std::int64_t floats_apart(std::int64_t padded) { return padded + kApart / 4; }

inline std::size_t hidden_bytes(const Kernel& kernel, const Pass& pass) {
  return static_cast<std::size_t>(elements_apart(kernel, pass.padded_state) * kernel.element_bytes);
}
inline std::size_t cell_bytes(const Pass& pass) {
  return static_cast<std::size_t>(floats_apart(pass.padded_units)) * sizeof(float);
}

}  // namespace unrolled
