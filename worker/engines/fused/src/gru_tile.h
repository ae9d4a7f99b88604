// A GRU layer over one block of nodes: as tile.h, with three weights a step where an LSTM has four.
//
// The sums of a unit are z, r, hx, hs. Input steps add to z, r and hx, steps of the state to z, r and hs, so three
// quarters of an LSTM's products are done. The state before is needed in float32 too: it takes the cell state's place.
#pragma once

#include "gru_gates.h"
#include "tile.h"

namespace unrolled {
namespace {

constexpr int kGruWeights = 3;

// sums[r][Gates...] += weights[step][0, 1, ...] * x[r][step], steps [begin, end). Returns where the weights go on.
template <class P, int R, int... Gates>
UNROLLED_INLINE const typename P::Element* accumulate_gates(Sums<P, R>& sums, const typename P::Element* weights,
                                                            const void* const* rows, std::int64_t begin,
                                                            std::int64_t end, Ahead& ahead) {
  using Element = typename P::Element;
  constexpr int kWeights = sizeof...(Gates);
  constexpr int kWeight = P::Isa::lanes * P::step_inputs;
  const Element* x[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) x[r] = static_cast<const Element*>(rows[r]);
  for (std::int64_t step = begin; step < end; ++step) {
    typename P::Weight w[kWeights];
#pragma GCC unroll 4
    for (int gate = 0; gate < kWeights; ++gate) w[gate] = P::weight(weights + gate * kWeight);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const typename P::Weight spread = P::spread(x[r] + step * P::step_inputs);
      int k = 0;
      ((sums[r][Gates] = P::dot(sums[r][Gates], w[k++], spread)), ...);
    }
    weights += kWeights * kWeight;
    __builtin_prefetch(ahead.at);
    ahead.at += ahead.bytes_per_step;
  }
  return weights;
}

// A later tile, whose nodes are fetched one by one along the depth, each before `piece` steps.
struct Fetching {
  const LayerBlock& block;
  const Place& next;
  std::int64_t piece;
  int fetched;
};

template <class P, int R, int... Gates>
UNROLLED_INLINE void accumulate_fetching(Sums<P, R>& sums, const Product<P>& product, Fetching& fetching,
                                         Ahead& ahead) {
  const typename P::Element* weights = product.weights;
  for (std::int64_t step = product.begin; step < product.end; step += fetching.piece) {
    if (fetching.fetched < R) {
      prefetch<P>(fetching.block, fetching.next.node + fetching.fetched++, fetching.next.panel);
    }
    const std::int64_t after = step + fetching.piece, end = after < product.end ? after : product.end;
    weights = accumulate_gates<P, R, Gates...>(sums, weights, product.rows, step, end, ahead);
  }
}

template <class P, class Gate, int R>
__attribute__((noinline)) void gru_tile(const PackedLayer& layer, const LayerBlock& block, const Place& place,
                                        const Place& next, const Run& run) {
  using Isa = typename P::Isa;
  using Element = typename P::Element;
  constexpr int kWidth = kGates * Isa::lanes;
  constexpr int kStep = kGruWeights * Isa::lanes * P::step_inputs;

  float* const kept = block.sums + place.node * kWidth;
  Sums<P, R> sums;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const float* from = run.first ? block.start[place.node + r] + place.panel * kWidth : kept + r * kWidth;
#pragma GCC unroll 4
    for (int gate = 0; gate < kGates; ++gate) sums[r][gate] = Isa::load(from + gate * Isa::lanes);
  }

  const Element* panel = reinterpret_cast<const Element*>(static_cast<const char*>(layer.panels) +
                                                          place.panel * layer.panel_bytes);
  Ahead ahead{reinterpret_cast<const char*>(panel + (layer.steps_a + run.b_end) * kStep), run.ahead_bytes};
  ahead.at += place.node / Isa::rows * (run.a_end - run.a + run.b_end - run.b) * run.ahead_bytes;
  Fetching fetching{block, next, (run.a_end - run.a + run.b_end - run.b + R - 1) / R, 0};
  const Element* const recurrent = panel + (layer.steps_a + run.b) * kStep;
  accumulate_fetching<P, R, 0, 1, 2>(sums, {panel + run.a * kStep, block.input + place.node, run.a, run.a_end},
                                     fetching, ahead);
  accumulate_fetching<P, R, 0, 1, 3>(sums, {recurrent, block.recurrent + place.node, run.b, run.b_end}, fetching,
                                     ahead);
  for (; fetching.fetched < R; ++fetching.fetched) prefetch<P>(block, next.node + fetching.fetched, next.panel);

  if (!run.last) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int gate = 0; gate < kGates; ++gate) Isa::store(kept + r * kWidth + gate * Isa::lanes, sums[r][gate]);
    }
    return;
  }

  const std::int64_t unit = place.panel * Isa::lanes;
  const std::int64_t left = layer.units - unit;
  typename Isa::Vec states[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) states[r] = Isa::load(block.cell_in[place.node + r] + unit);
  update_gru<Isa, P::fine, R>(Gate{}, sums, states);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const std::int64_t node = place.node + r;
    Isa::store(block.cell_out + node * block.cell_stride + unit, states[r]);
    P::store_hidden(static_cast<Element*>(block.hidden_out) + node * block.hidden_stride + unit, states[r]);
  }
  if (!block.outputs) return;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    float* const output = block.outputs[place.node + r] + unit;
    if (left >= Isa::lanes) {
      Isa::store(output, states[r]);
    } else {
      Isa::store_first(output, states[r], static_cast<int>(left));
    }
  }
}

template <class P, class Gate, int R>
UNROLLED_INLINE void gru_tile_of(std::int64_t rows, const PackedLayer& layer, const LayerBlock& block,
                                 const Place& place, const Place& next, const Run& run) {
  if constexpr (R > 1) {
    if (rows < R) {
      gru_tile_of<P, Gate, R - 1>(rows, layer, block, place, next, run);
      return;
    }
  }
  gru_tile<P, Gate, R>(layer, block, place, next, run);
}

template <class P, class Gate>
void run_gru(const PackedLayer& layer, const LayerBlock& block) {
  constexpr int kRows = P::Isa::rows;
  const std::int64_t steps_b = block.first_level ? 0 : layer.steps_b;
  const std::int64_t tiles = (block.nodes + kRows - 1) / kRows;
  const std::int64_t step_bytes =
      std::int64_t{kGruWeights} * P::Isa::lanes * P::step_inputs * sizeof(typename P::Element);
  const std::int64_t ahead_bytes = (step_bytes + tiles - 1) / tiles;
  const bool early = tiles > 1 && layer.steps_a + steps_b < kShortSteps;
  const std::int64_t ahead_rows = early ? 2 * kRows : kRows;
  for (std::int64_t panel = 0; panel < layer.panel_count; ++panel) {
    Run run{0, 0, 0, 0, false, false, ahead_bytes};
    for (bool first = true; !run.last; first = false) {
      run = next_run(run, layer.steps_a, steps_b);
      run.first = first;
      for (std::int64_t node = 0; node < block.nodes; node += kRows) {
        const Place place{node, panel};
        const std::int64_t after = node + ahead_rows, end = tiles * kRows;
        const Place next = after < end ? Place{after, panel} : Place{after - end, panel + 1};
        gru_tile_of<P, Gate, kRows>(block.nodes - node, layer, block, place, next, run);
      }
    }
  }
}

}  // namespace
}  // namespace unrolled
