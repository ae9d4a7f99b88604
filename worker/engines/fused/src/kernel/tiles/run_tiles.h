// One layer over one block of nodes by matrix units. The results are those of tile.h and blocks.h, to the bit.
//
// A product of two tiles is 16 nodes by 16 sums over a block of 32 inputs. Four of them share their operands: 32 nodes
// by 2 gates of a panel, over the whole depth. Then the sums go to memory, and the next two gates follow.
//
//   tiles 0 1    sums of nodes 0..15 and 16..31, first gate       tiles 4 5    inputs of the nodes
//   tiles 2 3    the same, second gate                            tiles 6 7    weights of the gates
//
// The vector units compute the gates of the 32 nodes before, a few nodes at a time between products, because both kinds
// of units work at once. Nodes' inputs lie anywhere in memory; they are first copied into tiles.
//
// Panels have, for every block of the input and then of the state, one tile of weights for each gate: 16 rows of 16
// pairs. In bfloat16x3 a block is two tiles of inputs, first and second pieces, and two tiles of weights for each gate.
//
// One file, because gathering, products and gates share the layout of the tiles and of the sums.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernel/kinds.h"

namespace unrolled {
namespace {

constexpr std::int64_t kTileBytes = 1024, kTileNodes = 16, kSquareNodes = 32, kFetchedAhead = 8;

// Copies a node's `blocks` blocks into the tiles from `to` on, which have its row at `row`.
inline void copy_row(char* to, std::int64_t row, const void* from, std::int64_t blocks) {
  for (std::int64_t block = 0; block < blocks; ++block) {
    std::memcpy(to + block * kTileBytes + row * 64, static_cast<const char*>(from) + block * 64, 64);
  }
}

// The inputs and states of a block's nodes: [nodes / 16][blocks][16 rows] of 64 bytes; here a piece of a block counts as
// a block.
inline void gather(const LayerBlock& block, std::int64_t input_blocks, std::int64_t state_blocks) {
  const std::int64_t blocks = input_blocks + state_blocks;
  const std::int64_t squares = (block.nodes + kSquareNodes - 1) / kSquareNodes;
  char* const tiles = static_cast<char*>(block.gathered);
  for (std::int64_t node = 0; node < squares * kSquareNodes; ++node) {
    char* const to = tiles + node / kTileNodes * blocks * kTileBytes;
    const std::int64_t row = node % kTileNodes;
    if (node < block.nodes) {
      if (input_blocks > 0) copy_row(to, row, block.input[node], input_blocks);
      if (state_blocks > 0) copy_row(to + input_blocks * kTileBytes, row, block.recurrent[node], state_blocks);
      continue;
    }
    for (std::int64_t b = 0; b < blocks; ++b) std::memset(to + b * kTileBytes + row * 64, 0, 64);
  }
}

// Sums of 32 nodes and one panel: [gate][node][unit].
struct SquareSums {
  alignas(64) float at[kGates][kSquareNodes][16];
};

// The gates that are still to be computed of the nodes from `place` on.
template <class P, class Kind>
struct Pending {
  const PackedLayer& layer;
  const LayerBlock& block;
  const SquareSums* sums;
  Place place;
  std::int64_t next, end;  // nodes

  void finish(std::int64_t count) {
    using Isa = typename P::Isa;
    for (; count > 0 && next < end; --count, ++next) {
      const Place at{place.node + next, place.panel};
      Sums<P, 1> totals;
      Kind::template begin<1>(layer, block, at, totals);
      for (int gate = 0; gate < kGates; ++gate) {
        totals[0][gate] = Isa::add(Isa::load(sums->at[gate][next]), totals[0][gate]);
      }
      Kind::template finish<1>(layer, block, at, totals);
    }
  }
};

// The operands of 32 nodes' products in one panel.
struct Operands {
  const char* nodes[2];   // the tiles of the lower and the upper 16 nodes
  const char* weights;
  std::int64_t blocks;
};

// The products of one tile of each node group, `lower` and `upper`, by a tile of weights of one gate or both. Operands
// that are not loaded are those of the products before.
template <bool First, bool Second, bool Nodes, bool Weights, class Tiles, class Between>
UNROLLED_INLINE void multiply(Tiles& tiles, const char* lower, const char* upper, const char* first, const char* second,
                              Between between) {
  if constexpr (Nodes) tiles.template load<4>(lower);
  if constexpr (First && Weights) tiles.template load<6>(first);
  if constexpr (First) tiles.template dot<0, 4, 6>();
  if constexpr (Nodes) tiles.template load<5>(upper);
  if constexpr (First) tiles.template dot<1, 5, 6>();
  between();
  if constexpr (Second && Weights) tiles.template load<7>(second);
  if constexpr (Second) {
    tiles.template dot<2, 4, 7>();
    tiles.template dot<3, 5, 7>();
  }
  between();
}

// Adds the products of two gates, or of the first or the second one alone. A block has weights for `width` gates.
template <bool First, bool Second, int Pieces, class Tiles, class Between>
UNROLLED_INLINE void add_products(Tiles& tiles, const Operands& from, int width, Between between) {
  for (std::int64_t block = 0; block < from.blocks; ++block) {
    const char* const lower = from.nodes[0] + block * Pieces * kTileBytes;
    const char* const upper = from.nodes[1] + block * Pieces * kTileBytes;
    const char* const first = from.weights + block * Pieces * width * kTileBytes;
    const char* const second = first + (First ? kTileBytes : 0);
    if constexpr (Pieces == 1) {
      multiply<First, Second, true, true>(tiles, lower, upper, first, second, between);
    } else {  // the order of blocks.h
      const std::int64_t piece = width * kTileBytes;
      multiply<First, Second, true, true>(tiles, lower + kTileBytes, upper + kTileBytes, first, second, between);
      multiply<First, Second, true, false>(tiles, lower, upper, first, second, between);
      multiply<First, Second, false, true>(tiles, lower, upper, first + piece, second + piece, between);
    }
  }
}

// The place of a gate among those that have weights; To<0, 1, 3> has gate 3 in the third place.
template <int... Gates>
constexpr int gates_before(To<Gates...>, int gate) {
  return ((Gates < gate ? 1 : 0) + ... + 0);
}

// The sums of the gates First and First + 1.
template <class P, class Kind, int First, class Tiles, class Between>
UNROLLED_INLINE void square(Tiles& tiles, const Operands& input, const Operands& state, SquareSums& sums,
                            Between between) {
  tiles.template zero<0>();
  tiles.template zero<1>();
  tiles.template zero<2>();
  tiles.template zero<3>();
  const auto part = [&](auto to, Operands from) {
    using Part = decltype(to);
    constexpr bool first = contains(Part{}, First), second = contains(Part{}, First + 1);
    from.weights += gates_before(Part{}, First) * kTileBytes;
    if constexpr (first || second) add_products<first, second, P::pieces>(tiles, from, Part::weights, between);
  };
  part(typename Kind::Input{}, input);
  part(typename Kind::State{}, state);
  tiles.template store<0>(sums.at[First][0]);
  tiles.template store<1>(sums.at[First][kTileNodes]);
  tiles.template store<2>(sums.at[First + 1][0]);
  tiles.template store<3>(sums.at[First + 1][kTileNodes]);
}

// One function, because it is one loop over panels and nodes, with the gates of one turn between the products of the
// next.
template <class P, class Kind, class Tiles>
void run_tiles(const PackedLayer& layer, const LayerBlock& block) {
  constexpr std::int64_t kBlockSteps = P::block_steps;
  const std::int64_t input_blocks = layer.steps_a / kBlockSteps;
  const std::int64_t state_blocks = block.first_level ? 0 : layer.steps_b / kBlockSteps;
  const std::int64_t blocks = input_blocks + state_blocks;
  gather(block, input_blocks * P::pieces, state_blocks * P::pieces);
  const char* const gathered = static_cast<const char*>(block.gathered);

  SquareSums sums[2];
  Pending<P, Kind> pending{layer, block, sums, {0, 0}, 0, 0};
  // How often the products call `between`, and how many nodes it must do each time to be done at the end.
  const std::int64_t calls = 4 * blocks * kProducts<P>;
  const std::int64_t share = calls > 0 ? (kSquareNodes + calls - 1) / calls : kSquareNodes;
  int turn = 0;
  Tiles tiles;
  for (std::int64_t panel = 0; panel < layer.panel_count; ++panel) {
    const char* const weights = static_cast<const char*>(layer.panels) + panel * layer.panel_bytes;
    const char* const state_weights = weights + input_blocks * P::pieces * Kind::Input::weights * kTileBytes;
    for (std::int64_t node = 0; node < block.nodes; node += kSquareNodes, turn = 1 - turn) {
      const std::int64_t row_bytes = blocks * P::pieces * kTileBytes, state_at = input_blocks * P::pieces * kTileBytes;
      const char* const lower = gathered + node / kTileNodes * row_bytes;
      const char* const upper = lower + row_bytes;
      const std::int64_t count = block.nodes - node < kSquareNodes ? block.nodes - node : kSquareNodes;
      const Operands input{{lower, upper}, weights, input_blocks};
      const Operands state{{lower + state_at, upper + state_at}, state_weights, state_blocks};
      // What gates need is fetched a few nodes early, for these nodes or those before. Fetched earlier, it would be
      // pushed out of the first-level cache by the tiles that are loaded meanwhile.
      const auto fetch = [&](std::int64_t k) {
        const bool before = k < kSquareNodes;
        if (!before) k -= kSquareNodes;
        if (k >= (before ? pending.end : count)) return;
        const Place place = before ? pending.place : Place{node, panel};
        for (std::int64_t line = 0; line < Kind::kFetches; ++line) {
          Kind::fetch(block, {place.node + k, place.panel}, line);
        }
      };
      std::int64_t fetched = kFetchedAhead;
      const auto between = [&] {
        for (std::int64_t k = 0; k < share && fetched < kSquareNodes + kFetchedAhead; ++k, ++fetched) fetch(fetched);
        pending.finish(share);
      };
      square<P, Kind, 0>(tiles, input, state, sums[turn], between);
      square<P, Kind, 2>(tiles, input, state, sums[turn], between);
      pending.finish(kSquareNodes);
      pending.sums = &sums[turn];
      pending.place = {node, panel};
      pending.next = 0;
      pending.end = count;
    }
  }
  pending.finish(kSquareNodes);
  if (block.outputs) P::Isa::settle();
}

}  // namespace
}  // namespace unrolled
