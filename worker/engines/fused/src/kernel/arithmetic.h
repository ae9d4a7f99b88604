// The arithmetics: the element types and the multiply-add of each.
#pragma once

#include <cstdint>

#include "kernel/kernel.h"

namespace unrolled {
namespace {

#define UNROLLED_INLINE inline __attribute__((always_inline))
// Not inlined; and treated as if it were in another file, by compilers that have an attribute for that.
#if defined(__clang__)
#define UNROLLED_OPAQUE __attribute__((noinline))
#else
#define UNROLLED_OPAQUE __attribute__((noipa))
#endif

// Float32 sums of float32 products.
template <class Isa_>
struct Float32 {
  using Isa = Isa_;
  using Element = float;
  using Weight = typename Isa::Vec;
  static constexpr Arithmetic arithmetic = Arithmetic::float32;
  static constexpr int step_inputs = 1;
  static constexpr int block_steps = 1;
  static constexpr int group_inputs = 1;
  static constexpr int pieces = 1;
  static constexpr bool fine = true;
  static constexpr bool fetches_writes = true;  // whether memory is prefetched that is only written to

  static UNROLLED_INLINE Weight weight(const Element* p) { return Isa::load(p); }
  static UNROLLED_INLINE Weight spread(const Element* p) { return Isa::set1(*p); }
  static UNROLLED_INLINE typename Isa::Vec dot(typename Isa::Vec sum, Weight w, Weight x) {
    return Isa::fma(w, x, sum);
  }
  static UNROLLED_INLINE void store_hidden(Element* p, typename Isa::Vec h) { Isa::store(p, h); }
};

// Bfloat16 without instructions for it: weights and states are rounded to bfloat16 and kept as float32.
template <class Isa_>
struct RoundedFloat32 : Float32<Isa_> {
  using Isa = Isa_;
  using Weight = typename Isa::Vec;
  static constexpr Arithmetic arithmetic = Arithmetic::bfloat16;
  static constexpr int block_steps = 32;
  static constexpr bool fine = false;

  // Where in a block the inputs of a step are: step `step` of the inputs with an even index (half 0) or an odd one.
  static constexpr int input(int step, int half) { return 2 * step + half; }
  // A product of two bfloat16 numbers has no more than 16 significant bits.
  static UNROLLED_INLINE typename Isa::Vec dot(typename Isa::Vec sum, Weight w, Weight x) {
    return Isa::fma_narrow(w, x, sum);
  }
  static UNROLLED_INLINE void store_hidden(float* p, typename Isa::Vec h) {
    Isa::store(p, Isa::round_to_bfloat16(h));
  }
};

// Bfloat16x3 with the instructions of `One`, a bfloat16: two pieces a number, three products. For every block of inputs
// there is one of first pieces, and then one of second pieces.
template <class One>
struct InPieces : One {
  using Isa = typename One::Isa;
  static constexpr Arithmetic arithmetic = Arithmetic::bfloat16x3;
  static constexpr int group_inputs = One::block_steps * One::step_inputs;
  static constexpr int pieces = 2;
  static constexpr bool fine = true;

  static UNROLLED_INLINE void store_hidden(typename One::Element* p, typename Isa::Vec h) {
    One::store_hidden(p, h);
    One::store_hidden(p + group_inputs, Isa::sub(h, Isa::round_to_bfloat16(h)));
  }
};

// The products of pieces that make one product of numbers; see blocks.h.
template <class P>
constexpr int kProducts = P::pieces == 2 ? 3 : 1;

// Where number `at` of an input or a state begins, from the first one on; `at` is the first of a vector's numbers.
template <class P>
constexpr std::int64_t place_of(std::int64_t at) {
  constexpr std::int64_t kBlock = P::block_steps * P::step_inputs;
  return at / kBlock * kBlock * P::pieces + at % kBlock;
}

}  // namespace
}  // namespace unrolled
