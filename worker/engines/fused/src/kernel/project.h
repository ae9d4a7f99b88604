// The sums of a layer's input, without the recurrent part: they make the first layer's table.
#pragma once

#include "kernel/accumulate.h"

namespace unrolled {
namespace {

// sums[node] = start + input[node] @ weights, over all panels of an LSTM's width.
template <class P>
void project(const PackedLayer& layer, std::int64_t nodes, const float* start, const void* const* input,
             float* sums_out, std::int64_t sums_stride) {
  using Isa = typename P::Isa;
  using Element = typename P::Element;
  constexpr int kWidth = kGates * Isa::lanes;
  for (std::int64_t panel = 0; panel < layer.panel_count; ++panel) {
    const Element* const weights = reinterpret_cast<const Element*>(static_cast<const char*>(layer.panels) +
                                                                    panel * layer.panel_bytes);
    for (std::int64_t node = 0; node < nodes; node += 2) {
      // Two rows at a time: this runs once, when the model is loaded.
      const void* const rows[2] = {input[node], input[node + 1 < nodes ? node + 1 : node]};
      Sums<P, 2> sums;
      for (int r = 0; r < 2; ++r) {
        for (int gate = 0; gate < kGates; ++gate) {
          sums[r][gate] = Isa::load(start + panel * kWidth + gate * Isa::lanes);
        }
      }
      accumulate<P, 2>(sums, To<0, 1, 2, 3>{}, weights, rows, 0, layer.steps_a);
      for (int r = 0; r < 2 && node + r < nodes; ++r) {
        float* const to = sums_out + (node + r) * sums_stride + panel * kWidth;
        for (int gate = 0; gate < kGates; ++gate) Isa::store(to + gate * Isa::lanes, sums[r][gate]);
      }
    }
  }
}

}  // namespace
}  // namespace unrolled
