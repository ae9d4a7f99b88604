// The LSTM cell, computed from a tile's sums: five exponentials and two divisions.
//
// With E(x) = 2^x of the scaled sums (i, f, o by -log2 e; g by -2 log2 e):
//   sigmoid(x) = 1 / (1 + E)         tanh(x) = (1 - E) / (1 + E)
//   cell   = sigmoid(f) * cell + sigmoid(i) * tanh(g)
//          = (cell * (1 + Ei)(1 + Eg) + (1 - Eg)(1 + Ef)) / ((1 + Ei)(1 + Eg)(1 + Ef))
//   hidden = sigmoid(o) * tanh(cell) = (1 - Ec) / ((1 + Eo)(1 + Ec))
//
// Exponents are capped at 40 and -40, where a sigmoid is within 1e-12 of 0 or 1. So no product of three factors leaves
// the range of float32, and 2^x has no special cases.
//
// IEEE 754 defines the result of every operation here. There are no approximate instructions, whose results differ
// between processors, so the same sums give the same bits wherever multiply-adds are fused.
#pragma once

namespace unrolled {

constexpr double kLog2E = 1.4426950408889634074;
// In the order of a panel's gates: i, f, g, o, which Keras calls i, f, c, o.
constexpr double kGateScale[4] = {-kLog2E, -kLog2E, -2 * kLog2E, -kLog2E};

// 2^x for x in -0.5..0.5, by the polynomial with the smallest relative error among those with p(0) = 1, which makes a
// gate of 0 exact. Error with degree 5: 9.1e-8, about the rounding error of float32. With degree 3: 1.0e-4, a fortieth
// of the rounding error of bfloat16.
template <class Isa, bool Fine>
inline __attribute__((always_inline)) typename Isa::Vec exp2_fraction(typename Isa::Vec x) {
  typename Isa::Vec p;
  if constexpr (Fine) {
    p = Isa::fma(x, Isa::set1(0.001326472731307149f), Isa::set1(0.009671512991189957f));
    p = Isa::fma(p, x, Isa::set1(0.05550733581185341f));
    p = Isa::fma(p, x, Isa::set1(0.24022242426872253f));
    p = Isa::fma(p, x, Isa::set1(0.6931470036506653f));
  } else {
    p = Isa::fma(x, Isa::set1(0.05500893294811249f), Isa::set1(0.24221095442771912f));
    p = Isa::fma(p, x, Isa::set1(0.6932829022407532f));
  }
  return Isa::fma(p, x, Isa::set1(1.0f));
}

template <class Isa, bool Fine>
inline __attribute__((always_inline)) typename Isa::Vec exp2_capped(typename Isa::Vec x) {
  const typename Isa::Vec capped = Isa::cap(x);
  const typename Isa::Vec whole = Isa::whole(capped);
  return Isa::scale(exp2_fraction<Isa, Fine>(Isa::sub(capped, whole)), whole);
}

// What is done to a cell state before its hidden state is computed: nothing, or a clamp to -bound..bound.
template <class Isa>
struct Unclipped {
  inline __attribute__((always_inline)) typename Isa::Vec operator()(typename Isa::Vec cell) const { return cell; }
};
template <class Isa>
struct Clipped {
  float bound;
  inline __attribute__((always_inline)) typename Isa::Vec operator()(typename Isa::Vec cell) const {
    return Isa::limit(cell, Isa::set1(bound));
  }
};

// Selects sigmoid gates; hard_gates.h has the other kind.
struct Sigmoid {};

// The value of a gate, from its scaled sum.
template <class Isa, bool Fine>
inline __attribute__((always_inline)) typename Isa::Vec gate_value(Sigmoid, typename Isa::Vec sum) {
  return Isa::div(Isa::set1(1.0f), Isa::add(Isa::set1(1.0f), exp2_capped<Isa, Fine>(sum)));
}

// Updates the cells of `Rows` rows and computes their hidden states; overwrites the sums. A row's operations depend on
// each other, so each operation is done for all rows before the next one: the processor always has independent work.
template <class Isa, bool Fine, int Rows, class Clip>
inline __attribute__((always_inline)) void update_cells(Sigmoid, Clip clip, typename Isa::Vec (&sums)[Rows][4],
                                                        typename Isa::Vec (&cells)[Rows],
                                                        typename Isa::Vec (&hidden)[Rows]) {
  using Vec = typename Isa::Vec;
  const Vec one = Isa::set1(1.0f);
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (int gate = 0; gate < 4; ++gate) sums[r][gate] = exp2_capped<Isa, Fine>(sums[r][gate]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    const Vec input_side = Isa::mul(Isa::add(one, sums[r][0]), Isa::add(one, sums[r][2]));
    const Vec forget_side = Isa::add(one, sums[r][1]);
    const Vec numerator = Isa::fma(cells[r], input_side, Isa::mul(Isa::sub(one, sums[r][2]), forget_side));
    cells[r] = clip(Isa::div(numerator, Isa::mul(input_side, forget_side)));
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    hidden[r] = exp2_capped<Isa, Fine>(Isa::mul(cells[r], Isa::set1(static_cast<float>(-2 * kLog2E))));
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    const Vec divisor = Isa::mul(Isa::add(one, sums[r][3]), Isa::add(one, hidden[r]));
    hidden[r] = Isa::div(Isa::sub(one, hidden[r]), divisor);
  }
}

}  // namespace unrolled
