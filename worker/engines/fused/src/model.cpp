#include "model.h"

#include <cstring>

#include "gates.h"

namespace unrolled {
namespace {

std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

// The upper half of x rounded to nearest even; a NaN stays one.
std::uint16_t to_bfloat16(float x) {
  const std::uint32_t bits = bits_of(x);
  if (x != x) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Writes x as an element of the kernel's: float32, float32 rounded to bfloat16, or bfloat16.
void put_element(const Kernel& kernel, void* elements, std::int64_t at, float x) {
  if (kernel.element_bytes == 2) {
    static_cast<std::uint16_t*>(elements)[at] = to_bfloat16(x);
  } else if (kernel.weight_bits == 8) {
    const std::uint32_t bits = static_cast<std::uint32_t>(to_bfloat16(x)) << 16;
    std::memcpy(static_cast<float*>(elements) + at, &bits, sizeof bits);
  } else {
    static_cast<float*>(elements)[at] = x;
  }
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Keras's gates in the panel's order i, f, g, o are in the same order: g is Keras's c.
float scaled(const float* gates, std::int64_t units, int gate, std::int64_t unit) {
  return static_cast<float>(gates[gate * units + unit] * kGateScale[gate]);
}

// One matrix (depth, 4 * units) into its part of every panel, from `step` on. Memory is zero already.
void pack(const Kernel& kernel, const PackedLayer& layer, char* panels, std::int64_t step, const float* matrix,
          std::int64_t depth) {
  const std::int64_t lanes = kernel.lanes, inputs = kernel.step_inputs;
  for (std::int64_t panel = 0; panel < layer.panel_count; ++panel) {
    void* const out = panels + panel * layer.panel_bytes;
    const std::int64_t first = panel * lanes;
    const std::int64_t width = layer.units - first < lanes ? layer.units - first : lanes;
    for (std::int64_t k = 0; k < depth; ++k) {
      const float* const gates = matrix + k * kGates * layer.units;
      for (int gate = 0; gate < kGates; ++gate) {
        const std::int64_t at = ((step + k / inputs) * kGates + gate) * lanes * inputs + k % inputs;
        for (std::int64_t lane = 0; lane < width; ++lane) {
          put_element(kernel, out, at + lane * inputs, scaled(gates, layer.units, gate, first + lane));
        }
      }
    }
  }
}

void pack_bias(const Kernel& kernel, Layer& layer, const float* bias) {
  const std::int64_t count = layer.packed.panel_count * kGates * kernel.lanes;
  float* const out = layer.bias.reserve<float>(static_cast<std::size_t>(count));
  std::memset(out, 0, static_cast<std::size_t>(count) * sizeof(float));
  for (int gate = 0; gate < kGates; ++gate) {
    for (std::int64_t unit = 0; unit < layer.packed.units; ++unit) {
      out[(unit / kernel.lanes * kGates + gate) * kernel.lanes + unit % kernel.lanes] =
          scaled(bias, layer.packed.units, gate, unit);
    }
  }
}

Layer pack_layer(const Kernel& kernel, const LayerWeights& weights, bool with_input, bool with_state) {
  Layer layer;
  PackedLayer& packed = layer.packed;
  packed.units = weights.units;
  packed.panel_count = ceil_div(weights.units, kernel.lanes);
  packed.steps_a = with_input ? ceil_div(weights.inputs, kernel.step_inputs) : 0;
  packed.steps_b = with_state ? ceil_div(weights.units, kernel.step_inputs) : 0;
  const std::int64_t step_bytes = std::int64_t{kGates} * kernel.lanes * kernel.step_inputs * kernel.element_bytes;
  packed.panel_bytes = (packed.steps_a + packed.steps_b) * step_bytes;
  layer.padded_units = packed.panel_count * kernel.lanes;

  const std::size_t bytes = static_cast<std::size_t>(packed.panel_count * packed.panel_bytes);
  char* const panels = layer.panels.reserve<char>(bytes);
  std::memset(panels, 0, bytes);
  if (with_input) pack(kernel, packed, panels, 0, weights.kernel, weights.inputs);
  if (with_state) pack(kernel, packed, panels, packed.steps_a, weights.recurrent_kernel, weights.units);
  packed.panels = panels;
  pack_bias(kernel, layer, weights.bias);
  return layer;
}

}  // namespace

Model::Model(const Kernel& kernel, const Kernel& table_kernel, std::int64_t vocab_size,
             std::int64_t embedding_dim, const float* embedding, const std::vector<LayerWeights>& layers,
             std::int64_t table_bytes)
    : kernel_(kernel), vocab_size_(vocab_size) {
  table_stride_ = ceil_div(layers[0].units, kernel.lanes) * kGates * kernel.lanes;
  has_table_ = (vocab_size + 1) <= table_bytes / (table_stride_ * std::int64_t{sizeof(float)});
  for (std::size_t l = 0; l < layers.size(); ++l) {
    layers_.push_back(pack_layer(kernel, layers[l], l > 0 || !has_table_, true));
  }
  if (has_table_) {
    make_table(table_kernel, embedding_dim, embedding, layers[0]);
  } else {
    keep_embedding(embedding_dim, embedding);
  }
}

void Model::make_table(const Kernel& table_kernel, std::int64_t embedding_dim, const float* embedding,
                       const LayerWeights& weights) {
  const Layer layer = pack_layer(table_kernel, weights, true, false);
  const std::size_t rows = static_cast<std::size_t>(vocab_size_ + 1);
  float* const table = table_.reserve<float>(rows * static_cast<std::size_t>(table_stride_));
  std::vector<const void*> inputs(rows);
  for (std::size_t r = 0; r < rows; ++r) inputs[r] = embedding + static_cast<std::int64_t>(r) * embedding_dim;
  table_kernel.project(layer.packed, vocab_size_ + 1, layer.bias.as<float>(), inputs.data(), table,
                       table_stride_);
}

void Model::keep_embedding(std::int64_t embedding_dim, const float* embedding) {
  const std::int64_t padded = ceil_div(embedding_dim, kernel_.step_inputs) * kernel_.step_inputs;
  embedding_bytes_ = padded * kernel_.element_bytes;
  char* const out = embedding_.reserve<char>(static_cast<std::size_t>((vocab_size_ + 1) * embedding_bytes_));
  for (std::int64_t r = 0; r <= vocab_size_; ++r) {
    for (std::int64_t k = 0; k < padded; ++k) {
      put_element(kernel_, out + r * embedding_bytes_, k, k < embedding_dim ? embedding[r * embedding_dim + k] : 0.0f);
    }
  }
}

}  // namespace unrolled
