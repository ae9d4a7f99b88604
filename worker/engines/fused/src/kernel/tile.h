// The kernel: one layer over one block of nodes, written once for every kind of layer and compiled for each
// instruction set. It is one file because a tile's products, prefetches and runs are one loop, and their order is what
// makes it fast.
//
// A tile is up to Isa::rows nodes by one panel (lanes units x 4 sums). In float32 its sums stay in registers over the
// whole depth, and each takes its products in the order of the depth; bfloat16 has the order of blocks.h. Neither
// depends on the tile's height, nor on where the depth is cut. This is why a node's result depends only on that node.
//
// A kind of layer has these members:
//   Input, State       the sums to which a step of the input and a step of the previous state add
//   begin              sets the first values of a tile's sums
//   finish             turns a tile's sums into results
//   fetch, kFetches    prefetches the memory that `begin` and `finish` need of a node, in kFetches pieces
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernel/accumulate.h"
#include "kernel/blocks.h"
#include "kernel/runs.h"

namespace unrolled {
namespace {

constexpr std::int64_t kLine = 64;         // bytes in a cache line
constexpr std::int64_t kShortSteps = 128;

template <class P>
struct Started;  // see kinds.h

struct Place {
  std::int64_t node;  // the tile's first node
  std::int64_t panel;
};

// How much is prefetched at each chunk of a tile's products.
struct Pace {
  std::int64_t pieces;        // pieces of a later tile's memory
  std::int64_t weight_bytes;  // bytes of the next pass's weights, for each weight of a step
};

// Prefetches memory while a tile is computed, a little before each chunk of its products. Many prefetches at once would
// occupy every slot for cache misses, and the tile's own weights would have to wait.
template <class Kind, int R>
struct Fetching {
  const LayerBlock& block;
  const Place& next;      // a later tile; the hardware can't predict where its nodes are
  const Pace& pace;
  std::uint64_t fetched;  // pieces of `next` that were prefetched; unsigned, because that is quicker to divide
  const char* weights;    // the next pass's weights: each tile of this pass prefetches its share of them
  const char* due;        // where prefetching of `weights` should be by now
  bool cold;              // the block's inputs have not been read yet

  UNROLLED_INLINE void operator()(const void* const* rows, std::int64_t step, std::int64_t step_weights) {
    for (std::int64_t k = 0; k < pace.pieces && fetched < R * Kind::kFetches; ++k, ++fetched) fetch_next();
    for (due += pace.weight_bytes * step_weights; weights < due; weights += kLine) __builtin_prefetch(weights);
    if (!cold) return;
    // The inputs of the next tile. The arrays of a block have room for a whole tile after the last node.
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) __builtin_prefetch(static_cast<const char*>(rows[R + r]) + step * 4);
  }
  UNROLLED_INLINE void fetch_next() {
    constexpr std::uint64_t kFetches = Kind::kFetches;
    const std::int64_t node = next.node + static_cast<std::int64_t>(fetched / kFetches);
    Kind::fetch(block, {node, next.panel}, static_cast<std::int64_t>(fetched % kFetches));
  }
};

// Adds the products of steps [begin, end) of `rows` with the weights that begin at `at`.
template <class P, class Kind, int R, class To>
UNROLLED_INLINE void products(Sums<P, R>& sums, To to, const char* at, const void* const* rows, std::int64_t begin,
                              std::int64_t end, Fetching<Kind, R>& fetching) {
  constexpr std::int64_t kSteps = To::weights > 2 ? kChunkSteps : 2 * kChunkSteps;
  const typename P::Element* weights = reinterpret_cast<const typename P::Element*>(at);
  std::int64_t step = begin;
  for (; step + kSteps <= end; step += kSteps) {
    // If a tile has several loops, GCC takes registers from the sums for `fetching` unless `fetching` must be in
    // memory.
    if constexpr (To::weights < kGates) asm volatile("" : : "r"(&fetching) : "memory");
    for (std::int64_t line = 0; line < kSteps; line += kChunkSteps) fetching(rows, step + line, To::weights);
    if constexpr (To::weights < kGates) asm volatile("" : : "r"(&fetching) : "memory");
    weights = accumulate<P, R>(sums, to, weights, rows, step, step + kSteps);
  }
  if (step < end) accumulate<P, R>(sums, to, weights, rows, step, end);
}

// Turns the totals of a tile into results, after the start is added, unless it is in them already.
template <class P, class Kind, int R>
UNROLLED_INLINE void finish_totals(const PackedLayer& layer, const LayerBlock& block, const Place& place,
                                   const Totals<P, R>& totals, bool started) {
  Sums<P, R> sums;
  if (!started) Kind::template begin<R>(layer, block, place, sums);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int gate = 0; gate < kGates; ++gate) {
      const typename P::Isa::Vec total = P::Isa::load(totals.at[gate][r]);
      sums[r][gate] = started ? total : P::Isa::add(total, sums[r][gate]);
    }
  }
  Kind::template finish<R>(layer, block, place, sums);
}

// A tile of a kernel that sums in blocks; `input` and `state` are the weights of this run.
template <class P, class Kind, int R>
UNROLLED_INLINE void block_tile(const PackedLayer& layer, const LayerBlock& block, const Place& place, const Run& run,
                                const char* input, const char* state, Fetching<Kind, R>& fetching) {
  using Input = typename Kind::Input;
  using State = typename Kind::State;
  float* const kept = block.sums + place.node * kGates * P::Isa::lanes;
  const bool has_input = run.a_end > run.a, has_state = run.b_end > run.b;
  TotalsRoom<P, R> room;
  Totals<P, R>& totals = room.beside(input);
  if (!run.first) {
    take_totals<P, R>(totals, kept);
  } else if (has_input) {
    clear_others(totals, Input{});
  } else if (has_state) {
    clear_others(totals, State{});
  } else {
    clear_others(totals, To<>{});
  }
  // The last block adds the start if it is a row of numbers for all four sums: then it is read beside the products.
  constexpr bool kRow = std::is_base_of_v<Started<P>, Kind> && State::weights == kGates;
  const bool state_first = run.first && !has_input;
  const bool started = kRow && run.last && run.b_end - run.b > (state_first ? P::block_steps : 0);
  const Starts starts{started ? block.start + place.node : nullptr, place.panel * kGates * P::Isa::lanes};
  add_blocks(totals, Input{}, input, block.input + place.node, run.a, run.a_end, run.first, {}, fetching);
  add_blocks(totals, State{}, state, block.recurrent + place.node, run.b, run.b_end, state_first, starts, fetching);
  for (; fetching.fetched < R * Kind::kFetches; ++fetching.fetched) fetching.fetch_next();
  if (!run.last) {
    keep_totals<P, R>(totals, kept);
    return;
  }
  finish_totals<P, Kind, R>(layer, block, place, totals, started);
}

// Not inlined, and with its loops over rows unrolled: in a larger function the sums would spill to memory.
// One function, because the sums stay in registers from its beginning to its end.
template <class P, class Kind, int R>
__attribute__((noinline)) void tile(const PackedLayer& layer, const LayerBlock& block, const Place& place,
                                    const Place& next, const Run& run, const Pace& pace) {
  using Isa = typename P::Isa;
  constexpr int kWidth = kGates * Isa::lanes;
  constexpr std::int64_t kWeight = Isa::lanes * P::step_inputs * P::pieces * sizeof(typename P::Element);
  constexpr std::int64_t kInput = Kind::Input::weights * kWeight, kState = Kind::State::weights * kWeight;

  float* const kept = block.sums + place.node * kWidth;
  const char* const panel = static_cast<const char*>(layer.panels) + place.panel * layer.panel_bytes;
  const char* const input = panel + run.a * kInput;
  const char* const state = panel + layer.steps_a * kInput + run.b * kState;
  const std::int64_t input_steps = run.a_end - run.a, state_steps = run.b_end - run.b;
  const char* const behind = run.last                    ? panel + layer.panel_bytes
                             : run.a_end < layer.steps_a ? input + input_steps * kInput
                                                         : state + state_steps * kState;
  const std::int64_t weights = input_steps * Kind::Input::weights + state_steps * Kind::State::weights;
  const char* const share = behind + place.node / Isa::rows * weights * pace.weight_bytes / kChunkSteps;
  Fetching<Kind, R> fetching{block, next, pace, 0, share, share, place.panel == 0};
  if constexpr (P::block_steps > 1) {
    block_tile<P, Kind, R>(layer, block, place, run, input, state, fetching);
    return;
  }

  Sums<P, R> sums;
  if (run.first) {
    Kind::template begin<R>(layer, block, place, sums);
  } else {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int gate = 0; gate < kGates; ++gate) sums[r][gate] = Isa::load(kept + r * kWidth + gate * Isa::lanes);
    }
  }
  products<P, Kind, R>(sums, typename Kind::Input{}, input, block.input + place.node, run.a, run.a_end, fetching);
  products<P, Kind, R>(sums, typename Kind::State{}, state, block.recurrent + place.node, run.b, run.b_end, fetching);
  for (; fetching.fetched < R * Kind::kFetches; ++fetching.fetched) fetching.fetch_next();

  if (run.last) {
    Kind::template finish<R>(layer, block, place, sums);
    return;
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int gate = 0; gate < kGates; ++gate) Isa::store(kept + r * kWidth + gate * Isa::lanes, sums[r][gate]);
  }
}

// A tile of `rows` rows, at most R.
template <class P, class Kind, int R>
UNROLLED_INLINE void tile_of(std::int64_t rows, const PackedLayer& layer, const LayerBlock& block, const Place& place,
                             const Place& next, const Run& run, const Pace& pace) {
  if constexpr (R > 1) {
    if (rows < R) {
      tile_of<P, Kind, R - 1>(rows, layer, block, place, next, run, pace);
      return;
    }
  }
  tile<P, Kind, R>(layer, block, place, next, run, pace);
}

template <class P, class Kind>
void run_layer(const PackedLayer& layer, const LayerBlock& block) {
  constexpr std::int64_t kRows = P::Isa::rows;
  const std::int64_t steps_b = block.first_level ? 0 : layer.steps_b;
  const std::int64_t tiles = (block.nodes + kRows - 1) / kRows;
  constexpr std::int64_t kStepBytes = P::step_inputs * P::pieces * sizeof(typename P::Element);
  constexpr std::int64_t kChunkBytes = kChunkSteps * P::Isa::lanes * kStepBytes;
  // A tile of few steps ends before memory answers, so its nodes are prefetched two tiles early.
  const bool brief = tiles > 1 && layer.steps_a + steps_b < kShortSteps;
  const std::int64_t early = (brief ? 2 : 1) * kRows;
  // In bfloat16, the first half of a tile has all prefetches.
  const std::int64_t hurry = P::arithmetic == Arithmetic::bfloat16 && !brief ? 2 : 1;
  for (std::int64_t panel = 0; panel < layer.panel_count; ++panel) {
    for (Run run = first_run(layer.steps_a, steps_b, P::block_steps);;
         run = next_run(run, layer.steps_a, steps_b, P::block_steps)) {
      const Pace pace{hurry * kRows * Kind::kFetches * kChunkSteps / (run.steps() + 1) + 1, kChunkBytes / tiles};
      for (std::int64_t node = 0; node < block.nodes; node += kRows) {
        // `next` may be in the panel after the last one: the arrays have room for one more.
        const std::int64_t after = node + early, end = tiles * kRows;
        const Place next = after < end ? Place{after, panel} : Place{after - end, panel + 1};
        tile_of<P, Kind, kRows>(block.nodes - node, layer, block, {node, panel}, next, run, pace);
      }
      if (run.last) break;
    }
  }
  if (block.outputs) P::Isa::settle();
}

}  // namespace
}  // namespace unrolled
