// The LSTM cell in two parts, over plain arrays of scaled sums: a norm of the cell state is between them.
#pragma once

#include <cstdint>

#include "kernel/gates/gates.h"

namespace unrolled {
namespace {  // each file has its own instructions

// New cell states of `count` units from the gates i, f and g, which are `apart` floats apart. All arrays have room for a
// whole vector after the last unit.
template <class P>
void cells(std::int64_t count, std::int64_t apart, const float* gates, const float* cell_in, float* cell_out) {
  using Isa = typename P::Isa;
  using Vec = typename Isa::Vec;
  const Vec one = Isa::set1(1.0f);
  for (std::int64_t at = 0; at < count; at += Isa::lanes) {
    const Vec i = exp2_capped<Isa, P::fine>(Isa::load(gates + at));
    const Vec f = exp2_capped<Isa, P::fine>(Isa::load(gates + apart + at));
    const Vec g = exp2_capped<Isa, P::fine>(Isa::load(gates + 2 * apart + at));
    const Vec input_side = Isa::mul(Isa::add(one, i), Isa::add(one, g)), forget_side = Isa::add(one, f);
    const Vec numerator = Isa::fma(Isa::load(cell_in + at), input_side, Isa::mul(Isa::sub(one, g), forget_side));
    Isa::store(cell_out + at, Isa::div(numerator, Isa::mul(input_side, forget_side)));
  }
}

// Hidden states from the output gate and the cell states.
template <class P>
void hidden_states(std::int64_t count, const float* gate, const float* cell, float* hidden) {
  using Isa = typename P::Isa;
  using Vec = typename Isa::Vec;
  const Vec one = Isa::set1(1.0f), scale = Isa::set1(static_cast<float>(-2 * kLog2E));
  for (std::int64_t at = 0; at < count; at += Isa::lanes) {
    const Vec o = exp2_capped<Isa, P::fine>(Isa::load(gate + at));
    const Vec e = exp2_capped<Isa, P::fine>(Isa::mul(Isa::load(cell + at), scale));
    Isa::store(hidden + at, Isa::div(Isa::sub(one, e), Isa::mul(Isa::add(one, o), Isa::add(one, e))));
  }
}

}  // namespace
}  // namespace unrolled
