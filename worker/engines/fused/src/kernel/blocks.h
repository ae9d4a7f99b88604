// The products of bfloat16, in the one order that every instruction set can keep.
//
// The depth is padded to blocks of 32 inputs. In each block the products of inputs with an even index are added up by
// fused multiply-adds, from zero and in order; so are those with an odd index; then
//
//   total = total + (even + odd)
//
// and after the last block the start (a bias or a row of a table) is added. A product of two bfloat16 numbers is exact
// in float32, and nothing is denormal (bfloat16.h), so the result does not depend on how an instruction set gets there.
// It is what Intel's matrix units compute.
//
// In bfloat16x3 a number is two pieces: x rounded to bfloat16, and what is left of x, rounded again. A block adds three
// products to the total. Each is added in the order of bfloat16, and has an operand in common with the one before:
//
//   second pieces of the inputs by first pieces of the weights; first by first; first by second
//
// The product of the second pieces is too small to matter.
//
// A group of two gates has even and odd sums for six nodes in 24 registers. The totals wait in the first-level cache.
// Panels have, for every block and for each piece of its weights, its groups one after another, and in a group:
// [step][half][gate][lanes] of steps.
//
// One file, because all of it depends on the order of the weights in a block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include "kernel/accumulate.h"

namespace unrolled {
namespace {

template <class P, int R>
struct Totals {
  alignas(64) float at[kGates][R][P::Isa::lanes];
};

// Memory for a tile's totals. A load waits for an earlier store whose address has the same last twelve bits, so totals
// are kept away from the weights that are read after them. A block of four gates begins where `weights` do, modulo
// 4096, and its second half may begin 2048 bytes later.
template <class P, int R>
class TotalsRoom {
 public:
  Totals<P, R>& beside(const void* weights) {
    const auto begin = reinterpret_cast<std::uintptr_t>(weights) + kBehind - reinterpret_cast<std::uintptr_t>(room_);
    return *new (room_ + begin % kPage / alignof(Totals<P, R>) * alignof(Totals<P, R>)) Totals<P, R>;
  }

 private:
  static constexpr std::size_t kPage = 4096, kBehind = 2560;
  static_assert(sizeof(Totals<P, R>) <= kPage - kBehind);
  alignas(Totals<P, R>) char room_[sizeof(Totals<P, R>) + kPage];
};

template <int... Gates>
constexpr bool contains(To<Gates...>, int gate) {
  return ((gate == Gates) || ...);
}

// What the last block adds to the totals.
struct Starts {
  const float* const* rows;  // one for each node; or null: nothing is added
  std::int64_t at;           // of the first gate's numbers in a row

  Starts behind(std::int64_t count) const { return {rows, at + count}; }
};

// to[gate][r] = the products of one block for `G` neighbouring gates, added to what is there unless the block is the
// first one, and then to the start if it is the last one.
//
// One function, because the sums stay in registers, and not inlined, because in a larger one they would spill to
// memory. It is opaque, or GCC would keep addresses in vector registers that it doesn't use. They would come back
// through the queue of the vector units, behind all products, and the products of the next block would wait for them.
template <class P, int R, int G, bool First, bool Last>
UNROLLED_OPAQUE void add_group(const typename P::Element* weights, const void* const* rows, std::int64_t begin,
                               float (*to)[R][P::Isa::lanes], Starts starts) {
  using Isa = typename P::Isa;
  using Element = typename P::Element;
  constexpr int kWeight = Isa::lanes * P::step_inputs;
  const Element* x[R];
  typename Isa::Vec sums[2][R][G];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    x[r] = static_cast<const Element*>(rows[r]) + begin;
#pragma GCC unroll 2
    for (int gate = 0; gate < G; ++gate) sums[0][r][gate] = sums[1][r][gate] = Isa::set1(0.0f);
  }
#pragma GCC unroll 16
  for (int step = 0; step < P::block_steps / 2; ++step) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      typename P::Weight w[G];
#pragma GCC unroll 2
      for (int gate = 0; gate < G; ++gate) w[gate] = P::weight(weights + ((step * 2 + half) * G + gate) * kWeight);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const typename P::Weight spread = P::spread(x[r] + P::input(step, half));
#pragma GCC unroll 2
        for (int gate = 0; gate < G; ++gate) sums[half][r][gate] = P::dot(sums[half][r][gate], w[gate], spread);
        if (step + 1 < P::block_steps / 2 || half == 0) continue;
        // A node's sums are finished between the products of the others, or the multipliers would wait.
#pragma GCC unroll 2
        for (int gate = 0; gate < G; ++gate) {
          typename Isa::Vec total = Isa::add(sums[0][r][gate], sums[1][r][gate]);
          if constexpr (!First) total = Isa::add(Isa::load(to[gate][r]), total);
          if constexpr (Last) total = Isa::add(total, Isa::load(starts.rows[r] + starts.at + gate * Isa::lanes));
          Isa::store(to[gate][r], total);
        }
      }
    }
    // GCC would load the weights of many steps at once, and have no registers left for the sums.
    asm volatile("" : : : "memory");
  }
}

template <class P, int R, int G>
UNROLLED_INLINE void add_any_group(const typename P::Element* weights, const void* const* rows, std::int64_t begin,
                                   float (*to)[R][P::Isa::lanes], bool first, const Starts& starts) {
  if (first) {
    add_group<P, R, G, true, false>(weights, rows, begin, to, starts);
  } else if (starts.rows) {
    add_group<P, R, G, false, true>(weights, rows, begin, to, starts);
  } else {
    add_group<P, R, G, false, false>(weights, rows, begin, to, starts);
  }
}

// Adds the products of the block that begins at input `begin` with `weights`. Returns the address of the weights after
// these.
template <class P, int R>
UNROLLED_INLINE const typename P::Element* add_block(Totals<P, R>&, To<>, const typename P::Element* weights,
                                                     const void* const*, std::int64_t, bool, const Starts&) {
  return weights;
}
template <class P, int R, int Gate>
UNROLLED_INLINE const typename P::Element* add_block(Totals<P, R>& totals, To<Gate>, const typename P::Element* weights,
                                                     const void* const* rows, std::int64_t begin, bool first,
                                                     const Starts& starts) {
  add_any_group<P, R, 1>(weights, rows, begin, &totals.at[Gate], first, starts);
  return weights + P::block_steps * P::step_inputs * P::Isa::lanes;
}
template <class P, int R, int Gate, int Next, int... Gates>
UNROLLED_INLINE const typename P::Element* add_block(Totals<P, R>& totals, To<Gate, Next, Gates...>,
                                                     const typename P::Element* weights, const void* const* rows,
                                                     std::int64_t begin, bool first, const Starts& starts) {
  static_assert(Next == Gate + 1, "the gates of a group are neighbours");
  add_any_group<P, R, 2>(weights, rows, begin, &totals.at[Gate], first, starts);
  weights += 2 * P::block_steps * P::step_inputs * P::Isa::lanes;
  return add_block(totals, To<Gates...>{}, weights, rows, begin, first, starts.behind(2 * P::Isa::lanes));
}

// Adds the products of steps [begin, end), which are whole blocks. The first block sets the totals of its gates. The
// last one adds `starts`, unless it is the first, too. `fetching` is called for every kChunkSteps steps.
template <class P, int R, class To, class Fetching>
UNROLLED_INLINE void add_blocks(Totals<P, R>& totals, To to, const char* at, const void* const* rows,
                                std::int64_t begin, std::int64_t end, bool first, const Starts& starts,
                                Fetching& fetching) {
  const typename P::Element* weights = reinterpret_cast<const typename P::Element*>(at);
  const auto fetch = [&](std::int64_t step) {
    for (std::int64_t line = 0; line < P::block_steps; line += kChunkSteps) fetching(rows, step + line, To::weights);
  };
  for (std::int64_t step = begin; step < end; step += P::block_steps, first = false) {
    // Bfloat16 prefetches after the products: a tile's first products would wait for the instructions that prefetch,
    // while the gates of the tile before leave the multipliers idle. Bfloat16x3 has three times as many products in a
    // block, and its prefetches would come too late.
    if constexpr (P::pieces == 2) fetch(step);
    const Starts now = step + P::block_steps < end || first ? Starts{} : starts;
    const std::int64_t place = step * P::step_inputs * P::pieces;
    if constexpr (P::pieces == 2) {
      add_block(totals, to, weights, rows, place + P::block_steps * P::step_inputs, first, {});
      weights = add_block(totals, to, weights, rows, place, false, {});
      first = false;
    }
    weights = add_block(totals, to, weights, rows, place, first, now);
    if constexpr (P::pieces == 1) fetch(step);
  }
}

// Clears the totals of all gates but those of `set`.
template <class P, int R, class To>
UNROLLED_INLINE void clear_others(Totals<P, R>& totals, To set) {
#pragma GCC unroll 4
  for (int gate = 0; gate < kGates; ++gate) {
    if (contains(set, gate)) continue;
    for (int r = 0; r < R; ++r) P::Isa::store(totals.at[gate][r], P::Isa::set1(0.0f));
  }
}

// Moves totals to and from a tile's scratch memory.
template <class P, int R>
void keep_totals(const Totals<P, R>& totals, float* kept) {
  for (int r = 0; r < R; ++r) {
    for (int gate = 0; gate < kGates; ++gate, kept += P::Isa::lanes) {
      P::Isa::store(kept, P::Isa::load(totals.at[gate][r]));
    }
  }
}
template <class P, int R>
void take_totals(Totals<P, R>& totals, const float* kept) {
  for (int r = 0; r < R; ++r) {
    for (int gate = 0; gate < kGates; ++gate, kept += P::Isa::lanes) {
      P::Isa::store(totals.at[gate][r], P::Isa::load(kept));
    }
  }
}

}  // namespace
}  // namespace unrolled
