// Gates that are a straight line between 0 and 1, which Keras calls hard_sigmoid: clamp(slope x + 1/2). The slope is in
// the packed weights and the half in the packed bias, so a gate is its sum, clamped. Only tanh needs exponentials: two
// instead of an LSTM's five, one instead of a GRU's three.
#pragma once

#include "kernel/gates/gates.h"

namespace unrolled {

// Selects these gates, as Sigmoid does those of gates.h.
struct HardSigmoid {};

template <class Isa, bool Fine>
inline __attribute__((always_inline)) typename Isa::Vec gate_value(HardSigmoid, typename Isa::Vec sum) {
  return Isa::clamp(sum);
}

// tanh, from a sum that is scaled by -2 log2 e.
template <class Isa, bool Fine>
inline __attribute__((always_inline)) typename Isa::Vec tanh_value(typename Isa::Vec sum) {
  const typename Isa::Vec one = Isa::set1(1.0f), e = exp2_capped<Isa, Fine>(sum);
  return Isa::div(Isa::sub(one, e), Isa::add(one, e));
}

template <class Isa, bool Fine, int Rows, class Clip>
inline __attribute__((always_inline)) void update_cells(HardSigmoid, Clip clip, typename Isa::Vec (&sums)[Rows][4],
                                                        typename Isa::Vec (&cells)[Rows],
                                                        typename Isa::Vec (&hidden)[Rows]) {
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) sums[r][2] = tanh_value<Isa, Fine>(sums[r][2]);
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    const typename Isa::Vec added = Isa::mul(Isa::clamp(sums[r][0]), sums[r][2]);
    cells[r] = clip(Isa::fma(Isa::clamp(sums[r][1]), cells[r], added));
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    const typename Isa::Vec squashed =
        tanh_value<Isa, Fine>(Isa::mul(cells[r], Isa::set1(static_cast<float>(-2 * kLog2E))));
    hidden[r] = Isa::mul(Isa::clamp(sums[r][3]), squashed);
  }
}

template <class Isa, bool Fine, int Rows>
inline __attribute__((always_inline)) void blend_gru(HardSigmoid, const typename Isa::Vec (&updates)[Rows],
                                                     const typename Isa::Vec (&candidates)[Rows],
                                                     typename Isa::Vec (&states)[Rows]) {
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    const typename Isa::Vec z = Isa::clamp(updates[r]);
    const typename Isa::Vec added =
        Isa::mul(Isa::sub(Isa::set1(1.0f), z), tanh_value<Isa, Fine>(candidates[r]));
    states[r] = Isa::fma(z, states[r], added);
  }
}

}  // namespace unrolled
