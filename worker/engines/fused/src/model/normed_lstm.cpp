#include "model/normed_lstm.h"

#include <cstring>
#include <utility>

#include "kernel/gates/gates.h"
#include "model/elements.h"
#include "model/norms.h"
#include "model/pack.h"

namespace unrolled {
namespace {

// The vectors that are kept of a layer, one after another.
enum : std::int64_t { kInputGain = 0, kStateGain = 4, kBias = 8, kCellGain = 12, kCellBias = 13, kKept = 14 };

// From [panel][gate][lane] to [gate][unit].
void in_order(const Kernel& kernel, std::int64_t units, const float* sums, float* to) {
  const std::int64_t lanes = kernel.lanes;
  for (std::int64_t first = 0; first < units; first += lanes) {
    const std::int64_t width = units - first < lanes ? units - first : lanes;
    for (int gate = 0; gate < kGates; ++gate, sums += lanes) {
      std::memcpy(to + gate * units + first, sums, static_cast<std::size_t>(width) * sizeof(float));
    }
  }
}

std::int64_t apart(const Pass& pass) { return pass.written_units; }  // of the gates, with room for whole vectors

}  // namespace

PassWeights shifted_input(const PassWeights& weights) {
  PassWeights shifted = weights;
  shifted.bias = weights.input_shift;
  return shifted;
}

Pass pack_normed(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights, bool tabled) {
  PassWeights state_weights = weights;
  state_weights.bias = weights.state_shift;
  Pass pass = pack_side(kernel, layer, shifted_input(weights), !tabled, false);
  Pass state = pack_side(kernel, layer, state_weights, false, true);
  pass.projection = state.packed;
  pass.projection_panels = std::move(state.panels);
  pass.state_start = std::move(state.bias);
  pass.carries_norm = layer.norm == NormKind::carried;
  pass.epsilon = layer.epsilon;
  const std::int64_t units = layer.units;
  float* const kept = pass.gain.reserve<float>(static_cast<std::size_t>(kKept * units));
  const auto keep = [&](std::int64_t at, const float* from, std::int64_t count) {
    std::memcpy(kept + at * units, from, static_cast<std::size_t>(count * units) * sizeof(float));
  };
  keep(kInputGain, weights.input_gain, kGates);
  keep(kStateGain, weights.state_gain, kGates);
  keep(kBias, weights.bias, kGates);
  keep(kCellGain, weights.cell_gain, 1);
  keep(kCellBias, weights.cell_bias, 1);
  keep_first(kernel, pass, weights);
  return pass;
}

std::int64_t normed_scratch(const Pass& pass) { return 2 * kGates * pass.packed.units + (kGates + 1) * apart(pass); }

void update_normed(const Kernel& kernel, const Pass& pass, const float* input, const float* state, const float* cell_in,
                   float* cell_out, float* hidden, float* scratch) {
  const std::int64_t units = pass.packed.units, wide = kGates * units;
  const float* const kept = pass.gain.as<float>();
  float* const x = scratch;
  float* const h = x + wide;
  float* const gates = h + wide;
  float* const cell = gates + kGates * apart(pass);
  in_order(kernel, units, input, x);
  in_order(kernel, units, state, h);
  const Norm norm_x = norm_of(x, wide, pass.epsilon), norm_h = norm_of(h, wide, pass.epsilon);
  for (int gate = 0; gate < kGates; ++gate) {
    for (std::int64_t u = 0; u < units; ++u) {
      const std::int64_t k = gate * units + u;
      const double sum = norm_x(x[k]) * static_cast<double>(kept[kInputGain * units + k]) +
                         norm_h(h[k]) * static_cast<double>(kept[kStateGain * units + k]) +
                         static_cast<double>(kept[kBias * units + k]);
      gates[gate * apart(pass) + u] = static_cast<float>(sum * kGateScale[gate]);
    }
  }
  kernel.cells(units, apart(pass), gates, cell_in, cell_out);
  const Norm norm = norm_of(cell_out, units, pass.epsilon);
  for (std::int64_t u = 0; u < units; ++u) {
    cell[u] = static_cast<float>(norm(cell_out[u]) * static_cast<double>(kept[kCellGain * units + u]) +
                                 static_cast<double>(kept[kCellBias * units + u]));
  }
  if (pass.carries_norm) std::memcpy(cell_out, cell, static_cast<std::size_t>(units) * sizeof(float));
  kernel.hidden(units, gates + 3 * apart(pass), cell, hidden);
}

}  // namespace unrolled
