// A product without gates: the projection of an LSTM's output. Panels are kGates * lanes columns wide.
#pragma once

#include "tile.h"

namespace unrolled {
namespace {

template <class P, int R>
__attribute__((noinline)) void linear_tile(const PackedLayer& layer, const LinearBlock& block, const Place& place) {
  using Isa = typename P::Isa;
  using Element = typename P::Element;
  Sums<P, R> sums;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int group = 0; group < kGates; ++group) sums[r][group] = Isa::set1(0.0f);
  }
  const char* const panel = static_cast<const char*>(layer.panels) + place.panel * layer.panel_bytes;
  Ahead ahead{panel, 0};
  accumulate<P, R>(sums, reinterpret_cast<const Element*>(panel), block.input + place.node, 0, layer.steps_a, ahead);
  const std::int64_t first = place.panel * kGates * Isa::lanes;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const std::int64_t node = place.node + r;
    Element* const hidden = static_cast<Element*>(block.hidden_out) + node * block.hidden_stride;
#pragma GCC unroll 4
    for (int group = 0; group < kGates; ++group) {
      const std::int64_t column = first + group * Isa::lanes, left = layer.units - column;
      if (left <= 0) break;
      P::store_hidden(hidden + column, sums[r][group]);
      if (!block.outputs) continue;
      if (left >= Isa::lanes) {
        Isa::store(block.outputs[node] + column, sums[r][group]);
      } else {
        Isa::store_first(block.outputs[node] + column, sums[r][group], static_cast<int>(left));
      }
    }
  }
}

template <class P, int R>
UNROLLED_INLINE void linear_tile_of(std::int64_t rows, const PackedLayer& layer, const LinearBlock& block,
                                    const Place& place) {
  if constexpr (R > 1) {
    if (rows < R) {
      linear_tile_of<P, R - 1>(rows, layer, block, place);
      return;
    }
  }
  linear_tile<P, R>(layer, block, place);
}

template <class P>
void transform(const PackedLayer& layer, const LinearBlock& block) {
  for (std::int64_t panel = 0; panel < layer.panel_count; ++panel) {
    for (std::int64_t node = 0; node < block.nodes; node += P::Isa::rows) {
      linear_tile_of<P, P::Isa::rows>(block.nodes - node, layer, block, {node, panel});
    }
  }
}

}  // namespace
}  // namespace unrolled
