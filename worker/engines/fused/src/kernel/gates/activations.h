// The functions of maps, from sums that are scaled as those of gates are.
#pragma once

#include <cstdint>

#include "kernel/gates/hard_gates.h"
#include "kernel/kernel.h"

namespace unrolled {

// The factor of the sums: that of the exponents of two in tanh and sigmoid.
inline double activation_scale(Activation activation) {
  if (activation == Activation::tanh) return -2 * kLog2E;
  return activation == Activation::sigmoid ? -kLog2E : 1.0;
}

// NaN stays NaN, and -0 stays -0.
template <class Isa, bool Fine>
inline __attribute__((always_inline)) typename Isa::Vec activated(Activation activation, typename Isa::Vec sum) {
  switch (activation) {
    case Activation::tanh: return tanh_value<Isa, Fine>(sum);
    case Activation::sigmoid: return gate_value<Isa, Fine>(Sigmoid{}, sum);
    case Activation::relu: return Isa::rectify(sum);
    case Activation::linear: break;
  }
  return sum;
}

namespace {  // each file has its own instructions

template <class P>
void activate(Activation activation, float* values, std::int64_t count) {
  using Isa = typename P::Isa;
  if (activation == Activation::linear) return;
  const typename Isa::Vec scale = Isa::set1(static_cast<float>(activation_scale(activation)));
  for (std::int64_t at = 0; at < count; at += Isa::lanes) {
    Isa::store(values + at, activated<Isa, P::fine>(activation, Isa::mul(Isa::load(values + at), scale)));
  }
}

}  // namespace
}  // namespace unrolled
