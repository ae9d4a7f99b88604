// The products of one tile, summed in registers.
#pragma once

#include <cstdint>

#include "kernel/kernel.h"
#include "kernel/arithmetic.h"

namespace unrolled {
namespace {

constexpr std::int64_t kChunkSteps = 16;  // a cache line of a node's inputs: a piece of a step takes 4 bytes

template <class P, int R>
using Sums = typename P::Isa::Vec[R][kGates];

// The sums that a step's weights add to, in the order of the weights.
template <int... Gates>
struct To {
  static constexpr int weights = sizeof...(Gates);
};

// sums[r][Gates...] += weights[step][0, 1, ...] * x[r][step] for the steps [begin, end). Returns the address of the
// weights after these.
template <class P, int R, int... Gates>
UNROLLED_INLINE const typename P::Element* accumulate(Sums<P, R>& sums, To<Gates...>, const typename P::Element* weights,
                                                      const void* const* rows, std::int64_t begin, std::int64_t end) {
  using Element = typename P::Element;
  constexpr int kWeight = P::Isa::lanes * P::step_inputs;
  const Element* x[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) x[r] = static_cast<const Element*>(rows[r]);
  for (std::int64_t step = begin; step < end; ++step) {
    typename P::Weight w[sizeof...(Gates)];
#pragma GCC unroll 4
    for (std::size_t gate = 0; gate < sizeof...(Gates); ++gate) w[gate] = P::weight(weights + gate * kWeight);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const typename P::Weight spread = P::spread(x[r] + step * P::step_inputs);
      int k = 0;
      ((sums[r][Gates] = P::dot(sums[r][Gates], w[k++], spread)), ...);
    }
    weights += sizeof...(Gates) * kWeight;
  }
  return weights;
}

}  // namespace
}  // namespace unrolled
