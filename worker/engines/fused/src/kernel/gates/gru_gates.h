// The GRU cell that resets after the recurrent product, computed from a tile's sums: three exponentials and two
// divisions.
//
// A unit has four sums: z and r over input and state, hx over the input only, hs over the state only. With E(x) = 2^x
// of the scaled sums (z, r by -log2 e; hx, hs by -2 log2 e):
//   r = 1 / (1 + Er)      Ec = E(hx + r hs)      candidate = (1 - Ec) / (1 + Ec)
//   state = z * state + (1 - z) * candidate
//         = (state * (1 + Ec) + Ez * (1 - Ec)) / ((1 + Ez)(1 + Ec))
#pragma once

#include "kernel/gates/hard_gates.h"

namespace unrolled {

// The factors of z, r, hx and hs; Keras's gates are z, r, h.
constexpr double kGruScale[4] = {-kLog2E, -kLog2E, -2 * kLog2E, -2 * kLog2E};

// states = z * states + (1 - z) * candidates, where z and candidates are given as scaled sums. Each operation is done
// for all rows before the next one, as in update_cells.
template <class Isa, bool Fine, int Rows>
inline __attribute__((always_inline)) void blend_gru(Sigmoid, const typename Isa::Vec (&updates)[Rows],
                                                     const typename Isa::Vec (&candidates)[Rows],
                                                     typename Isa::Vec (&states)[Rows]) {
  using Vec = typename Isa::Vec;
  const Vec one = Isa::set1(1.0f);
  Vec z[Rows], c[Rows];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    z[r] = exp2_capped<Isa, Fine>(updates[r]);
    c[r] = exp2_capped<Isa, Fine>(candidates[r]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    const Vec below = Isa::add(one, c[r]);
    const Vec numerator = Isa::fma(states[r], below, Isa::mul(z[r], Isa::sub(one, c[r])));
    states[r] = Isa::div(numerator, Isa::mul(Isa::add(one, z[r]), below));
  }
}

// Updates the states of `Rows` rows.
template <class Isa, bool Fine, int Rows, class Gate>
inline __attribute__((always_inline)) void update_gru(Gate gate, const typename Isa::Vec (&sums)[Rows][4],
                                                      typename Isa::Vec (&states)[Rows]) {
  using Vec = typename Isa::Vec;
  Vec updates[Rows], candidates[Rows];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    const Vec reset = gate_value<Isa, Fine>(gate, sums[r][1]);
    updates[r] = sums[r][0];
    candidates[r] = Isa::fma(reset, sums[r][3], sums[r][2]);
  }
  blend_gru<Isa, Fine, Rows>(gate, updates, candidates, states);
}

}  // namespace unrolled
