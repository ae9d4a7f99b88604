#include "states.h"

#include <algorithm>
#include <cstring>

namespace unrolled {
namespace {

// Rows of states lie a cache line further apart than their width, so that a width of a power of two does not
// put them all into the same few cache sets.
constexpr std::int64_t kApart = 64;

std::int64_t hidden_stride(const Model& model, const Layer& layer) {  // elements
  return layer.padded_units + kApart / model.kernel().element_bytes;
}
std::int64_t cell_stride(const Layer& layer) { return layer.padded_units + kApart / 4; }  // floats

std::size_t hidden_bytes(const Model& model, const Layer& layer) {
  return static_cast<std::size_t>(hidden_stride(model, layer) * model.kernel().element_bytes);
}
std::size_t cell_bytes(const Layer& layer) { return static_cast<std::size_t>(cell_stride(layer)) * sizeof(float); }

// Nodes that pass all panels together. Their inputs should stay in the second-level cache beside a panel;
// the more there are, the less often the weights are fetched.
std::size_t block_nodes(const Model& model) {
  std::int64_t deepest = 0;
  for (const Layer& layer : model.layers()) {
    deepest = std::max(deepest, layer.packed.steps_a + layer.packed.steps_b);
  }
  deepest = std::min<std::int64_t>(deepest, 1280);
  const std::int64_t bytes = deepest * model.kernel().step_inputs * model.kernel().element_bytes;
  const std::int64_t fitting = (std::int64_t{400} << 10) / bytes;
  return static_cast<std::size_t>(std::min<std::int64_t>(std::max<std::int64_t>(fitting, 48), 384));
}

}  // namespace

std::size_t States::node_bytes(const Model& model) {
  std::size_t bytes = 0;
  for (const Layer& layer : model.layers()) bytes += 2 * (hidden_bytes(model, layer) + cell_bytes(layer));
  return bytes;
}

void States::prepare(const Model& model, std::size_t nodes) {
  layers_.resize(model.layers().size());
  std::int64_t widest = 0;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = model.layers()[l];
    for (Buffer* buffer : {&layers_[l].hidden, &layers_[l].next_hidden}) {
      buffer->reserve(nodes * hidden_bytes(model, layer));
    }
    for (Buffer* buffer : {&layers_[l].cell, &layers_[l].next_cell}) {
      buffer->reserve(nodes * cell_bytes(layer));
    }
    widest = std::max(widest, layer.padded_units);
  }
  float* const zeros = zeros_.reserve<float>(static_cast<std::size_t>(widest));
  std::memset(zeros, 0, static_cast<std::size_t>(widest) * sizeof(float));
  const std::size_t block = block_nodes(model);
  sums_.reserve<float>(block * kGates * static_cast<std::size_t>(model.kernel().lanes));
  // The kernel prefetches for a whole tile behind the last one; what it finds there is never read.
  const std::size_t entries = block + static_cast<std::size_t>(model.kernel().tile_rows);
  start_.resize(entries);
  cell_in_.resize(entries);
  input_.resize(entries);
  recurrent_.resize(entries);
  outputs_.resize(entries);
}

void States::compute(const Model& model, const Walk& walk) {
  // Even blocks: a small one at the end would fetch all the weights for a few nodes.
  const std::size_t most = block_nodes(model), nodes = walk.size();
  const std::size_t blocks = (nodes + most - 1) / most;
  const std::size_t rows = static_cast<std::size_t>(model.kernel().tile_rows);
  const std::size_t even = std::min(((nodes + blocks - 1) / blocks + rows - 1) / rows * rows, most);
  for (std::size_t first = 0; first < nodes; first += even) {
    compute_block(model, walk, first, std::min(even, nodes - first));
  }
  for (LayerStates& layer : layers_) {
    layer.hidden.swap(layer.next_hidden);
    layer.cell.swap(layer.next_cell);
  }
}

void States::compute_block(const Model& model, const Walk& walk, std::size_t first, std::size_t count) {
  const bool first_level = walk.level() == 0;
  const std::int64_t units = model.units();
  for (std::size_t k = 0; k < count; ++k) {
    const Row& row = walk.row(first + k);
    const std::int32_t token = row.tokens[walk.level()];
    start_[k] = model.start(token);
    input_[k] = model.input(token);
    outputs_[k] = row.output + walk.level() * units;
  }
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = model.layers()[l];
    LayerStates& states = layers_[l];
    const std::size_t hidden = hidden_bytes(model, layer), cell = cell_bytes(layer);
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t parent = walk.parent(first + k);
      recurrent_[k] = states.hidden.as<char>() + parent * hidden;
      cell_in_[k] = first_level ? zeros_.as<float>()
                                : reinterpret_cast<float*>(states.cell.as<char>() + parent * cell);
    }
    if (l > 0) {
      const std::size_t below = hidden_bytes(model, model.layers()[l - 1]);
      for (std::size_t k = 0; k < count; ++k) {
        start_[k] = layer.bias.as<float>();
        input_[k] = layers_[l - 1].next_hidden.as<char>() + (first + k) * below;
      }
    }
    LayerBlock block{};
    block.nodes = static_cast<std::int64_t>(count);
    block.start = start_.data();
    block.input = input_.data();
    block.recurrent = recurrent_.data();
    block.cell_in = cell_in_.data();
    block.cell_out = reinterpret_cast<float*>(states.next_cell.as<char>() + first * cell);
    block.hidden_out = states.next_hidden.as<char>() + first * hidden;
    block.cell_stride = cell_stride(layer);
    block.hidden_stride = hidden_stride(model, layer);
    block.outputs = l + 1 == layers_.size() ? outputs_.data() : nullptr;
    block.sums = sums_.as<float>();
    block.first_level = first_level;
    model.kernel().run_layer(layer.packed, block);
  }
}

StateCopy States::copy(const Model& model, std::size_t first, std::size_t count) const {
  StateCopy copied;
  copied.nodes = count;
  copied.bytes.reserve(count * node_bytes(model) / 2);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const std::size_t hidden = hidden_bytes(model, model.layers()[l]), cell = cell_bytes(model.layers()[l]);
    const char* const h = layers_[l].hidden.as<char>() + first * hidden;
    const char* const c = layers_[l].cell.as<char>() + first * cell;
    copied.bytes.insert(copied.bytes.end(), h, h + count * hidden);
    copied.bytes.insert(copied.bytes.end(), c, c + count * cell);
  }
  return copied;
}

void States::restore(const Model& model, const StateCopy& states) {
  const char* from = states.bytes.data();
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const std::size_t hidden = states.nodes * hidden_bytes(model, model.layers()[l]);
    const std::size_t cell = states.nodes * cell_bytes(model.layers()[l]);
    std::memcpy(layers_[l].hidden.as<char>(), from, hidden);
    std::memcpy(layers_[l].cell.as<char>(), from + hidden, cell);
    from += hidden + cell;
  }
}

}  // namespace unrolled
