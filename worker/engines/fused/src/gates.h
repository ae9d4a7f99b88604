// The LSTM cell on accumulators: five exponentials, two reciprocals, no division.
//
// With E(x) = 2^x of the scaled sums (i, f, o by -log2 e; g by -2 log2 e):
//   sigmoid(x) = 1 / (1 + E)         tanh(x) = (1 - E) / (1 + E)
//   cell   = sigmoid(f) * cell + sigmoid(i) * tanh(g)
//          = (cell * (1 + Ei)(1 + Eg) + (1 - Eg)(1 + Ef)) / ((1 + Ei)(1 + Eg)(1 + Ef))
//   hidden = sigmoid(o) * tanh(cell) = (1 - Ec) / ((1 + Eo)(1 + Ec))
//
// Exponents are capped at 40, so that no product of three leaves float32: at the cap a sigmoid is 1e-12.
#pragma once

namespace unrolled {

constexpr double kLog2E = 1.4426950408889634074;
// Gate order in a panel, against Keras's i, f, c, o.
constexpr double kGateScale[4] = {-kLog2E, -kLog2E, -2 * kLog2E, -kLog2E};

// 2^x for a fraction x in [0, 1): minimax polynomials in the relative error (Remez).
// Degree 5: 7.5e-8, below float32's own rounding.
template <class Isa>
inline __attribute__((always_inline)) typename Isa::Vec exp2_fraction_fine(typename Isa::Vec x) {
  typename Isa::Vec p = Isa::set1(0.0018775766752128706f);
  p = Isa::fma(p, x, Isa::set1(0.008989340090439646f));
  p = Isa::fma(p, x, Isa::set1(0.05582631805334537f));
  p = Isa::fma(p, x, Isa::set1(0.2401536170443576f));
  p = Isa::fma(p, x, Isa::set1(0.6931530732001709f));
  return Isa::fma(p, x, Isa::set1(0.9999999250635263f));
}

// Degree 3: 7.5e-5, a fiftieth of bfloat16's rounding.
template <class Isa>
inline __attribute__((always_inline)) typename Isa::Vec exp2_fraction_coarse(typename Isa::Vec x) {
  typename Isa::Vec p = Isa::set1(0.07802452264048024f);
  p = Isa::fma(p, x, Isa::set1(0.22606715542748146f));
  p = Isa::fma(p, x, Isa::set1(0.6958335404947538f));
  return Isa::fma(p, x, Isa::set1(0.9999252185627154f));
}

template <class Isa, bool Fine>
inline __attribute__((always_inline)) typename Isa::Vec exp2_capped(typename Isa::Vec x) {
  const typename Isa::Vec capped = Isa::min(x, Isa::set1(40.0f));
  const typename Isa::Vec fraction = Isa::fraction(capped);
  return Isa::scale(Fine ? exp2_fraction_fine<Isa>(fraction) : exp2_fraction_coarse<Isa>(fraction), capped);
}

template <class Isa, bool Fine>
inline __attribute__((always_inline)) typename Isa::Vec reciprocal(typename Isa::Vec x) {
  return Fine ? Isa::reciprocal_fine(x) : Isa::reciprocal_coarse(x);
}

template <class Isa, bool Fine>
inline __attribute__((always_inline)) void update_cell(typename Isa::Vec i, typename Isa::Vec f,
                                                       typename Isa::Vec g, typename Isa::Vec o,
                                                       typename Isa::Vec& cell, typename Isa::Vec& hidden) {
  using Vec = typename Isa::Vec;
  const Vec one = Isa::set1(1.0f);
  const Vec ei = exp2_capped<Isa, Fine>(i);
  const Vec ef = exp2_capped<Isa, Fine>(f);
  const Vec eg = exp2_capped<Isa, Fine>(g);
  const Vec eo = exp2_capped<Isa, Fine>(o);
  const Vec input_side = Isa::mul(Isa::add(one, ei), Isa::add(one, eg));
  const Vec forget_side = Isa::add(one, ef);
  const Vec numerator = Isa::fma(cell, input_side, Isa::mul(Isa::sub(one, eg), forget_side));
  cell = Isa::mul(numerator, reciprocal<Isa, Fine>(Isa::mul(input_side, forget_side)));
  const Vec ec = exp2_capped<Isa, Fine>(Isa::mul(cell, Isa::set1(static_cast<float>(-2 * kLog2E))));
  const Vec divisor = Isa::mul(Isa::add(one, eo), Isa::add(one, ec));
  hidden = Isa::mul(Isa::sub(one, ec), reciprocal<Isa, Fine>(divisor));
}

}  // namespace unrolled
