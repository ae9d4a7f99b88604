// A GRU that resets before the recurrent product, over one block of nodes. Its candidate needs r * state of all units,
// so a block is passed twice: for z, r and the input's part of the candidate, and for the candidate.
#pragma once

#include "gru_gates.h"
#include "gru_tile.h"
#include "tile.h"

namespace unrolled {
namespace {

// In a panel a step of the input has the weights of z, r and h, a step of the state those of z and r.
template <class P, class Gate, int R>
__attribute__((noinline)) void reset_tile(const PackedLayer& layer, const LayerBlock& block, const ResetBlock& reset,
                                          const Place& place) {
  using Isa = typename P::Isa;
  using Element = typename P::Element;
  constexpr int kWidth = kGates * Isa::lanes;
  constexpr int kWeight = Isa::lanes * P::step_inputs;
  Sums<P, R> sums;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const float* const from = block.start[place.node + r] + place.panel * kWidth;
#pragma GCC unroll 4
    for (int gate = 0; gate < kGates; ++gate) sums[r][gate] = Isa::load(from + gate * Isa::lanes);
  }
  const Element* const panel = reinterpret_cast<const Element*>(static_cast<const char*>(layer.panels) +
                                                                place.panel * layer.panel_bytes);
  Ahead ahead{reinterpret_cast<const char*>(panel), 0};
  accumulate_gates<P, R, 0, 1, 2>(sums, panel, block.input + place.node, 0, layer.steps_a, ahead);
  accumulate_gates<P, R, 0, 1>(sums, panel + layer.steps_a * kGruWeights * kWeight, block.recurrent + place.node, 0,
                               block.first_level ? 0 : layer.steps_b, ahead);
  const std::int64_t unit = place.panel * Isa::lanes;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const std::int64_t node = place.node + r;
    const typename Isa::Vec state = Isa::load(block.cell_in[node] + unit);
    P::store_hidden(static_cast<Element*>(reset.states) + node * block.hidden_stride + unit,
                    Isa::mul(state, gate_value<Isa, P::fine>(Gate{}, sums[r][1])));
    Isa::store(reset.updates + node * block.cell_stride + unit, sums[r][0]);
    Isa::store(reset.candidates + node * block.cell_stride + unit, sums[r][2]);
  }
}

// Panels of kGates * lanes units, as linear_tile.h has them.
template <class P, class Gate, int R>
__attribute__((noinline)) void candidate_tile(const PackedLayer& layer, const LayerBlock& block,
                                              const ResetBlock& reset, const Place& place) {
  using Isa = typename P::Isa;
  using Element = typename P::Element;
  const std::int64_t first = place.panel * kGates * Isa::lanes;
  Sums<P, R> sums;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const float* const from = reset.candidates + (place.node + r) * block.cell_stride + first;
#pragma GCC unroll 4
    for (int group = 0; group < kGates; ++group) {
      const bool there = first + group * Isa::lanes < layer.units;
      sums[r][group] = there ? Isa::load(from + group * Isa::lanes) : Isa::set1(0.0f);
    }
  }
  const char* const panel = static_cast<const char*>(layer.panels) + place.panel * layer.panel_bytes;
  Ahead ahead{panel, 0};
  accumulate<P, R>(sums, reinterpret_cast<const Element*>(panel), reset.rows + place.node, 0,
                   block.first_level ? 0 : layer.steps_a, ahead);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const std::int64_t node = place.node + r;
#pragma GCC unroll 4
    for (int group = 0; group < kGates; ++group) {
      const std::int64_t unit = first + group * Isa::lanes, left = layer.units - unit;
      if (left <= 0) break;
      typename Isa::Vec states[1] = {Isa::load(block.cell_in[node] + unit)};
      const typename Isa::Vec updates[1] = {Isa::load(reset.updates + node * block.cell_stride + unit)};
      const typename Isa::Vec candidates[1] = {sums[r][group]};
      blend_gru<Isa, P::fine, 1>(Gate{}, updates, candidates, states);
      Isa::store(block.cell_out + node * block.cell_stride + unit, states[0]);
      P::store_hidden(static_cast<Element*>(block.hidden_out) + node * block.hidden_stride + unit, states[0]);
      if (!block.outputs) continue;
      if (left >= Isa::lanes) {
        Isa::store(block.outputs[node] + unit, states[0]);
      } else {
        Isa::store_first(block.outputs[node] + unit, states[0], static_cast<int>(left));
      }
    }
  }
}

template <class P, class Gate, int R, bool Candidate>
UNROLLED_INLINE void reset_tile_of(std::int64_t rows, const PackedLayer& layer, const LayerBlock& block,
                                   const ResetBlock& reset, const Place& place) {
  if constexpr (R > 1) {
    if (rows < R) {
      reset_tile_of<P, Gate, R - 1, Candidate>(rows, layer, block, reset, place);
      return;
    }
  }
  if constexpr (Candidate) {
    candidate_tile<P, Gate, R>(layer, block, reset, place);
  } else {
    reset_tile<P, Gate, R>(layer, block, reset, place);
  }
}

template <class P, class Gate, bool Candidate>
void reset_pass(const PackedLayer& layer, const LayerBlock& block, const ResetBlock& reset) {
  for (std::int64_t panel = 0; panel < layer.panel_count; ++panel) {
    for (std::int64_t node = 0; node < block.nodes; node += P::Isa::rows) {
      reset_tile_of<P, Gate, P::Isa::rows, Candidate>(block.nodes - node, layer, block, reset, {node, panel});
    }
  }
}

template <class P, class Gate>
void run_gru_reset_before(const PackedLayer& gates, const PackedLayer& candidate, const LayerBlock& block,
                          const ResetBlock& reset) {
  reset_pass<P, Gate, false>(gates, block, reset);
  reset_pass<P, Gate, true>(candidate, block, reset);
}

}  // namespace
}  // namespace unrolled
