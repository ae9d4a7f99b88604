// One file, because every function here knows the layout of a panel and of its sums.
#include "model/pack.h"

#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "model/elements.h"
#include "model/strides.h"
#include "kernel/gates/activations.h"
#include "kernel/gates/gates.h"
#include "kernel/gates/gru_gates.h"

namespace unrolled {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// The factors of gates that are a straight line, of an LSTM and of a GRU; see hard_gates.h.
constexpr double kFifth = 1.0 / 5, kSixth = 1.0 / 6;
constexpr double kFifths[4] = {kFifth, kFifth, kGateScale[2], kFifth};
constexpr double kSixths[4] = {kSixth, kSixth, kGateScale[2], kSixth};
constexpr double kGruFifths[4] = {kFifth, kFifth, kGruScale[2], kGruScale[3]};
constexpr double kGruSixths[4] = {kSixth, kSixth, kGruScale[2], kGruScale[3]};

// The gates in one step of a panel. They are in Keras's order: i, f, g, o for an LSTM (Keras calls g c), z, r, h for a
// GRU, whose fourth sum has no weights of its own (see gru_gates.h).
struct Gates {
  const double* scale;
  int columns;          // gates in the matrix
  int filled;           // how many of these are packed, from the first on
  int width;            // gates in a step
};

float scaled(const float* gates, std::int64_t units, int gate, std::int64_t unit, const Gates& kind) {
  return static_cast<float>(gates[gate * units + unit] * kind.scale[gate]);
}

// Packs one matrix (depth, columns * units) into its part of every panel, which begins at `part` in the first panel.
// The memory is zero before.
void pack(const Kernel& kernel, const PackedLayer& layer, char* part, const float* matrix, std::int64_t depth,
          const Gates& kind) {
  const std::int64_t lanes = kernel.lanes;
  for (std::int64_t panel = 0; panel < layer.panel_count; ++panel) {
    void* const out = part + panel * layer.panel_bytes;
    const std::int64_t first = panel * lanes;
    const std::int64_t width = layer.units - first < lanes ? layer.units - first : lanes;
    for (std::int64_t k = 0; k < depth; ++k) {
      const float* const gates = matrix + k * kind.columns * layer.units;
      for (int gate = 0; gate < kind.filled; ++gate) {
        const std::int64_t at = weight_at(kernel, k, gate, 0, kind.width);
        for (std::int64_t lane = 0; lane < width; ++lane) {
          put_number(kernel, out, at + lane * kernel.step_inputs, weights_apart(kernel, kind.width),
                     scaled(gates, layer.units, gate, first + lane, kind));
        }
      }
    }
  }
}

// Adds scaled gates (filled * units) in the layout of the panels' sums: [panel_count][kGates * lanes].
void add_to_sums(const Kernel& kernel, float* sums, const float* gates, std::int64_t units, const Gates& kind) {
  for (int gate = 0; gate < kind.filled; ++gate) {
    for (std::int64_t unit = 0; unit < units; ++unit) {
      sums[(unit / kernel.lanes * kGates + gate) * kernel.lanes + unit % kernel.lanes] +=
          scaled(gates, units, gate, unit, kind);
    }
  }
}

Gates gates_of(const LayerWeights& layer) {
  static constexpr const double* kScales[2][3] = {{kGateScale, kFifths, kSixths}, {kGruScale, kGruFifths, kGruSixths}};
  static constexpr double kPlain[4] = {1, 1, 1, 1};  // a norm follows, and has the factors
  if (layer.cell == Cell::normed_lstm) return {kPlain, 4, 4, 4};
  const bool gru = is_gru(layer.cell);
  const int width = gru ? 3 : 4;
  return {kScales[gru][static_cast<int>(layer.gates)], width, width, width};
}

// Adds the half of a straight line to every gate but the candidate.
void add_halves(const Kernel& kernel, const Pass& pass, float* sums) {
  for (int gate = 0; gate < kGates; ++gate) {
    if (gate == 2 || (gate == 3 && is_gru(pass.cell))) continue;
    for (std::int64_t unit = 0; unit < pass.packed.units; ++unit) {
      sums[(unit / kernel.lanes * kGates + gate) * kernel.lanes + unit % kernel.lanes] += 0.5f;
    }
  }
}

void pack_bias(const Kernel& kernel, Pass& pass, const float* bias, const Gates& kind) {
  const std::int64_t units = pass.packed.units;
  const std::size_t count = static_cast<std::size_t>(pass.table_stride);
  float* const out = pass.bias.reserve<float>(count);
  std::memset(out, 0, count * sizeof(float));
  add_to_sums(kernel, out, bias, units, kind);
  if (pass.hard) add_halves(kernel, pass, out);
  if (pass.cell != Cell::gru) return;
  // The bias of the recurrent side: z and r have one sum for both sides, h has two.
  const float* const recurrent = bias + 3 * units;
  add_to_sums(kernel, out, recurrent, units, {kind.scale, 3, 2, 2});
  for (std::int64_t unit = 0; unit < units; ++unit) {
    out[(unit / kernel.lanes * kGates + 3) * kernel.lanes + unit % kernel.lanes] =
        scaled(recurrent, units, 2, unit, {kGruScale, 3, 3, 3});
  }
}

// Reserves memory for the panels, whose steps have the weights of `gates` gates in all.
char* reserve_panels(const Kernel& kernel, PackedLayer& packed, Buffer& panels, std::int64_t units_of_panel,
                     std::int64_t gates) {
  packed.panel_count = ceil_div(packed.units, units_of_panel);
  packed.panel_bytes = gates * kernel.lanes * kernel.step_inputs * kernel.element_bytes;
  const std::size_t bytes = static_cast<std::size_t>(packed.panel_count * packed.panel_bytes);
  char* const out = panels.reserve<char>(bytes);
  if (bytes > 0) std::memset(out, 0, bytes);  // null if a table has all products of the layer
  packed.panels = out;
  return out;
}

// A matrix of `depth` rows, `stride` floats apart, and `width` columns; a panel takes groups * lanes columns.
struct Columns {
  const float* matrix;
  std::int64_t depth, width, stride;
  double scale;
  int groups;
};

// Packs columns into their part of every panel, which begins at `part` in the first panel.
void pack_columns(const Kernel& kernel, const PackedLayer& packed, char* part, const Columns& from) {
  const std::int64_t lanes = kernel.lanes, columns = from.groups * lanes;
  for (std::int64_t k = 0; k < from.depth; ++k) {
    for (std::int64_t column = 0; column < from.width; ++column) {
      const int gate = static_cast<int>(column % columns / lanes);
      put_number(kernel, part + column / columns * packed.panel_bytes,
                 weight_at(kernel, k, gate, column % lanes, from.groups), weights_apart(kernel, from.groups),
                 static_cast<float>(from.matrix[k * from.stride + column] * from.scale));
    }
  }
}

void pack_second(const Kernel& kernel, Pass& pass, const Columns& from) {
  PackedLayer& packed = pass.projection;
  packed.units = from.width;
  packed.steps_a = steps_of(kernel, from.depth);
  char* const panels =
      reserve_panels(kernel, packed, pass.projection_panels, kGates * kernel.lanes, packed.steps_a * kGates);
  pack_columns(kernel, packed, panels, from);
}

// Packs the factors of a multiplicative LSTM, as kinds.h reads them; the input's only if there is no table.
void pack_factors(const Kernel& kernel, Pass& pass, const LayerWeights& layer, const PassWeights& weights, bool input) {
  constexpr int kGroups = 2;
  PackedLayer& packed = pass.projection;
  packed.units = layer.units;
  packed.steps_a = input ? steps_of(kernel, layer.inputs) : 0;
  packed.steps_b = steps_of(kernel, layer.units);
  char* const panels = reserve_panels(kernel, packed, pass.projection_panels, kGroups * kernel.lanes,
                                      (packed.steps_a + packed.steps_b) * kGroups);
  if (input) {
    pack_columns(kernel, packed, panels, {weights.input_factor, layer.inputs, layer.units, layer.units, 1, kGroups});
  }
  char* const part =
      panels + packed.steps_a * kGroups * kernel.lanes * kernel.step_inputs * kernel.element_bytes;
  pack_columns(kernel, packed, part, {weights.state_factor, layer.units, layer.units, layer.units, 1, kGroups});
}

// Which of a pass's matrices are packed.
struct Parts {
  bool input, state;
};

// Packs the weights of one pass, or those that read its input or its state alone. One function, because the sizes of a
// pass follow from each other.
Pass pack_parts(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights, const Parts& parts,
                const Gates& kind) {
  Pass pass;
  pass.cell = layer.cell;
  pass.hard = layer.gates != GateKind::sigmoid;
  pass.clipped = layer.cell_clip > 0;
  pass.table_stride = table_stride(kernel, layer);
  pass.state_dim = layer.projection ? layer.projection : layer.units;
  pass.written_state = round_up(pass.state_dim, kernel.lanes);
  pass.padded_state = round_up(pass.written_state, kernel.block_inputs);
  PackedLayer& packed = pass.packed;
  packed.units = layer.units;
  packed.bound = layer.cell_clip;
  packed.steps_a = parts.input ? steps_of(kernel, layer.inputs) : 0;
  packed.steps_b = parts.state ? steps_of(kernel, pass.state_dim) : 0;
  const bool before = layer.cell == Cell::gru_reset_before;
  const Gates state_kind = before ? Gates{kind.scale, 3, 2, 2} : kind;
  const std::int64_t gates = packed.steps_a * kind.width + packed.steps_b * state_kind.width;
  char* const panels = reserve_panels(kernel, packed, pass.panels, kernel.lanes, gates);
  pass.written_units = packed.panel_count * kernel.lanes;
  pass.padded_units = round_up(pass.written_units, kernel.block_inputs);
  if (parts.input) pack(kernel, packed, panels, weights.kernel, layer.inputs, kind);
  if (parts.state) {
    const std::int64_t step_bytes = std::int64_t{kind.width} * kernel.lanes * kernel.step_inputs * kernel.element_bytes;
    char* const part = panels + packed.steps_a * step_bytes;
    pack(kernel, packed, part, weights.recurrent_kernel, pass.state_dim, state_kind);
  }
  pack_bias(kernel, pass, weights.bias, kind);
  if (parts.state && layer.projection) {
    pack_second(kernel, pass, {weights.projection, layer.units, layer.projection, layer.projection, 1, kGates});
    const float unbounded = std::numeric_limits<float>::infinity();
    pass.projection.bound = layer.projection_clip > 0 ? layer.projection_clip : unbounded;
  }
  if (parts.state && before) {
    const float* const candidate = weights.recurrent_kernel + 2 * layer.units;
    pack_second(kernel, pass, {candidate, layer.units, layer.units, 3 * layer.units, kGruScale[2], kGates});
    // It multiplies the state, which a row's first token doesn't have.
    std::swap(pass.projection.steps_a, pass.projection.steps_b);
  }
  if (layer.cell == Cell::mlstm) {
    pass.factor_at = packed.panel_count * kGates * kernel.lanes;
    if (parts.state) pack_factors(kernel, pass, layer, weights, parts.input);
  }
  return pass;
}

// Fills in the part of a table's rows that is the input's factor.
void add_factors(const Kernel& kernel, Pass& pass, const LayerWeights& layer, const PassWeights& weights,
                 const std::vector<const void*>& inputs) {
  PackedLayer packed{};
  Buffer panels;
  packed.units = layer.units;
  packed.steps_a = steps_of(kernel, layer.inputs);
  char* const part = reserve_panels(kernel, packed, panels, kGates * kernel.lanes, packed.steps_a * kGates);
  pack_columns(kernel, packed, part, {weights.input_factor, layer.inputs, layer.units, layer.units, 1, kGates});
  // Zeros in this part of the bias are what the sums begin with.
  kernel.project(packed, static_cast<std::int64_t>(inputs.size()), pass.bias.as<float>() + pass.factor_at,
                 inputs.data(), pass.table.as<float>() + pass.factor_at, pass.table_stride);
}

}  // namespace

std::int64_t table_stride(const Kernel& kernel, const LayerWeights& layer) {
  const std::int64_t gates = ceil_div(layer.units, kernel.lanes) * kGates * kernel.lanes;
  return gates + (layer.cell == Cell::mlstm ? round_up(layer.units, kGates * kernel.lanes) : 0);
}

void keep_first(const Kernel& kernel, Pass& pass, const PassWeights& weights) {
  if (!weights.first_state) return;
  pass.has_first = true;
  char* const state = pass.first_state.reserve<char>(hidden_bytes(kernel, pass));
  std::memset(state, 0, hidden_bytes(kernel, pass));
  for (std::int64_t u = 0; u < pass.state_dim; ++u) put_element(kernel, state, u, weights.first_state[u]);
  // What a block carries from step to step in float32 is an LSTM's cell state, or a GRU's state.
  const float* const carried = is_gru(pass.cell) ? weights.first_state : weights.first_cell;
  float* const cell = static_cast<float*>(pass.first_cell.reserve(cell_bytes(pass)));
  std::memset(cell, 0, cell_bytes(pass));
  std::memcpy(cell, carried, static_cast<std::size_t>(pass.packed.units) * sizeof(float));
}

Pass pack_pass(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights, bool tabled) {
  Pass pass = pack_parts(kernel, layer, weights, {!tabled, true}, gates_of(layer));
  keep_first(kernel, pass, weights);
  return pass;
}

Pass pack_side(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights, bool input, bool state) {
  return pack_parts(kernel, layer, weights, {input, state}, gates_of(layer));
}

Pass size_map(const Kernel& kernel, const LayerWeights& layer) {
  Pass pass;
  pass.cell = layer.cell;
  pass.packed.units = pass.state_dim = layer.units;
  pass.packed.activation = layer.activation;
  pass.written_units = pass.written_state = round_up(layer.units, kernel.lanes);
  pass.padded_units = pass.padded_state = round_up(pass.written_state, kernel.block_inputs);
  return pass;
}

Pass pack_dense(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights) {
  Pass pass = size_map(kernel, layer);
  PackedLayer& packed = pass.packed;
  const double scale = activation_scale(layer.activation);
  packed.steps_a = steps_of(kernel, layer.inputs);
  char* const panels = reserve_panels(kernel, packed, pass.panels, kGates * kernel.lanes, packed.steps_a * kGates);
  pack_columns(kernel, packed, panels, {weights.kernel, layer.inputs, layer.units, layer.units, scale, kGates});
  const std::size_t count = static_cast<std::size_t>(packed.panel_count * kGates * kernel.lanes);
  float* const bias = pass.bias.reserve<float>(count);
  std::memset(bias, 0, count * sizeof(float));
  for (std::int64_t u = 0; u < layer.units; ++u) bias[u] = static_cast<float>(weights.bias[u] * scale);
  return pass;
}

void make_table(const Kernel& kernel, Pass& pass, const LayerWeights& layer, const PassWeights& weights,
                std::int64_t vocab_size, const float* embedding) {
  const std::size_t rows = static_cast<std::size_t>(vocab_size + 1);
  float* const table = pass.table.reserve<float>(rows * static_cast<std::size_t>(pass.table_stride));
  pass.has_table = true;
  Gates kind = gates_of(layer);
  if (!embedding) {
    for (std::int64_t r = 0; r <= vocab_size; ++r) {
      float* const sums = table + r * pass.table_stride;
      std::memcpy(sums, pass.bias.as<float>(), static_cast<std::size_t>(pass.table_stride) * sizeof(float));
      const float* const row = weights.kernel + (r - 1) * kind.columns * layer.units;
      if (r > 0) add_to_sums(kernel, sums, row, layer.units, kind);
      if (r > 0 && layer.cell == Cell::mlstm) {
        std::memcpy(sums + pass.factor_at, weights.input_factor + (r - 1) * layer.units,
                    static_cast<std::size_t>(layer.units) * sizeof(float));
      }
    }
    return;
  }
  kind.width = kGates;  // the width that `project` reads
  const Pass input = pack_parts(kernel, layer, weights, {true, false}, kind);
  std::vector<const void*> inputs(rows);
  for (std::size_t r = 0; r < rows; ++r) inputs[r] = embedding + static_cast<std::int64_t>(r) * layer.inputs;
  kernel.project(input.packed, vocab_size + 1, input.bias.as<float>(), inputs.data(), table, pass.table_stride);
  if (layer.cell == Cell::mlstm) add_factors(kernel, pass, layer, weights, inputs);
}

}  // namespace unrolled
