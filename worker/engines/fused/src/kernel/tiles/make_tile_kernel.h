// Makes the table of functions of a kernel that multiplies tiles.
#pragma once

#include <cstdint>

#include "kernel/probes.h"
#include "kernel/tiles/run_tiles.h"

namespace unrolled {
namespace {

// Bfloat16 in tiles: states are stored in their order, and a pair is two neighbours.
template <class Isa_>
struct TileBfloat16 {
  using Isa = Isa_;
  using Element = std::uint16_t;
  static constexpr Arithmetic arithmetic = Arithmetic::bfloat16;
  static constexpr int step_inputs = 2;
  static constexpr int block_steps = 16;
  static constexpr int group_inputs = 1;
  static constexpr int pieces = 1;
  static constexpr bool fine = false;
  static constexpr bool fetches_writes = false;  // the loads of tiles need the buffers of outstanding misses

  static UNROLLED_INLINE void store_hidden(Element* p, typename Isa::Vec h) { Isa::store_bfloat16(p, h); }
};

// Products of tiles, without loads.
template <class P, class Tiles>
double spin_tiles(std::int64_t rounds) {
  Tiles tiles;
  alignas(64) std::uint16_t numbers[kTileBytes / 2];
  fill_at_random(numbers, kTileBytes / 2);
  tiles.template zero<0>();
  tiles.template zero<1>();
  tiles.template zero<2>();
  tiles.template zero<3>();
  tiles.template load<4>(numbers);
  tiles.template load<6>(numbers);
  for (std::int64_t round = 0; round < rounds; ++round) {
    tiles.template dot<0, 4, 6>();
    tiles.template dot<1, 4, 6>();
    tiles.template dot<2, 4, 6>();
    tiles.template dot<3, 4, 6>();
  }
  return 2.0 * 4 * 16 * 16 * 32 * static_cast<double>(rounds) / kProducts<P>;
}

template <class P, class Tiles>
constexpr Kernel make_tile_kernel(const char* isa, const Kernel* (*table_kernel)()) {
  return Kernel{isa,
                P::arithmetic,
                P::Isa::lanes,
                kSquareNodes,
                P::step_inputs,
                P::block_steps * P::step_inputs,
                P::group_inputs,
                true,
                288,
                800 << 10,  // inputs of this size stay in the second-level cache beside the weights
                P::pieces,
                static_cast<int>(P::pieces * sizeof(typename P::Element)),
                {run_tiles<P, Lstm<P, Sigmoid>, Tiles>, run_tiles<P, Lstm<P, HardSigmoid>, Tiles>},
                {run_tiles<P, Lstm<P, Sigmoid, true>, Tiles>, run_tiles<P, Lstm<P, HardSigmoid, true>, Tiles>},
                {run_tiles<P, Gru<P, Sigmoid>, Tiles>, run_tiles<P, Gru<P, HardSigmoid>, Tiles>},
                {run_tiles<P, ResetGates<P, Sigmoid>, Tiles>, run_tiles<P, ResetGates<P, HardSigmoid>, Tiles>},
                {run_tiles<P, ResetCandidate<P, Sigmoid>, Tiles>, run_tiles<P, ResetCandidate<P, HardSigmoid>, Tiles>},
                run_tiles<P, Projection<P>, Tiles>,
                run_tiles<P, Factors<P>, Tiles>,
                run_tiles<P, Dense<P>, Tiles>,
                run_tiles<P, Products<P>, Tiles>,
                activate<P>,
                cells<P>,
                hidden_states<P>,
                nullptr,
                cell_update<P>,
                spin_tiles<P, Tiles>,
                table_kernel};
}

}  // namespace
}  // namespace unrolled
