#include "model/model.h"

#include <algorithm>
#include <stdexcept>

#include "model/elements.h"
#include "model/maps.h"
#include "model/normed_lstm.h"
#include "model/pack.h"

namespace unrolled {
namespace {

void check_map(const LayerWeights& layer, std::int64_t inputs) {
  const PassWeights& pass = layer.passes[0];
  const bool known = layer.activation >= Activation::linear && layer.activation <= Activation::sigmoid;
  const bool dense = layer.cell == Cell::dense;
  const bool sized = layer.units > 0 && layer.inputs == inputs && (dense || layer.units == inputs);
  const bool normal = layer.cell != Cell::layer_norm || layer.epsilon > 0;
  if (!known || !sized || !normal || !pass.bias || !(dense ? pass.kernel : pass.gain)) {
    throw std::invalid_argument("no such map");
  }
}

void check(const LayerWeights& layer, std::int64_t inputs) {
  const bool normed = layer.cell == Cell::normed_lstm;
  const bool known = layer.cell == Cell::lstm || layer.cell == Cell::mlstm || is_gru(layer.cell) || normed;
  const bool norms = normed ? layer.epsilon > 0 && (layer.norm == NormKind::carried || layer.norm == NormKind::output)
                            : layer.norm == NormKind::none;
  const bool directed = layer.direction == Direction::forward || layer.direction == Direction::backward ||
                        layer.direction == Direction::bidirectional;
  const bool gated = layer.gates == GateKind::sigmoid || layer.gates == GateKind::hard_fifth ||
                     layer.gates == GateKind::hard_sixth;
  const bool clipped = layer.cell_clip != 0 || layer.projection_clip != 0;
  const bool clips = layer.cell_clip >= 0 && layer.projection_clip >= 0 && (!clipped || !is_gru(layer.cell));
  const bool sized = layer.units > 0 && layer.projection >= 0 && layer.inputs == inputs;
  const int passes = layer.direction == Direction::bidirectional ? 2 : 1;
  for (int d = 0; d < passes; ++d) {
    const PassWeights& pass = layer.passes[d];
    if (!pass.first_state != !pass.first_cell && !is_gru(layer.cell)) {
      throw std::invalid_argument("an LSTM's first state has two parts");
    }
    if (layer.given_state && pass.first_state) throw std::invalid_argument("two first states");
    const bool shifted = pass.input_shift && pass.state_shift && pass.input_gain && pass.state_gain;
    if (normed && !(shifted && pass.cell_gain && pass.cell_bias)) {
      throw std::invalid_argument("a normed LSTM has three norms");
    }
    if (layer.cell == Cell::mlstm && (!pass.input_factor || !pass.state_factor)) {
      throw std::invalid_argument("a multiplicative LSTM has two factors");
    }
  }
  if (normed && (clipped || layer.gates != GateKind::sigmoid)) throw std::invalid_argument("norms of plain gates only");
  if (!known || !norms || !gated || !directed || !sized || !clips || (layer.projection && layer.cell != Cell::lstm)) {
    throw std::invalid_argument("no such layer");
  }
}

}  // namespace

Model::Model(const Kernel& kernel, std::int64_t vocab_size, std::int64_t embedding_dim, const float* embedding,
             const std::vector<LayerWeights>& layers, std::int64_t table_bytes)
    : kernel_(kernel), vocab_size_(vocab_size), vector_dim_(embedding ? 0 : embedding_dim) {
  if (layers.empty()) throw std::invalid_argument("no layers");
  if (!embedding_dim) embedding = nullptr;
  for (const LayerWeights& weights : layers) {
    const std::int64_t inputs =
        layers_.empty() ? (embedding_dim ? embedding_dim : vocab_size) : layers_.back().output_dim;
    // A map below the first recurrent layer is a part of the embedding, if there is one.
    if (unrolled::is_map(weights.cell) && (vector_dim_ || !layers_.empty())) {
      check_map(weights, inputs);
      layers_.push_back({Direction::forward, weights.span != 0, 0, inputs, weights.units, {}});
      layers_.back().passes.push_back(pack_map(kernel_, weights, weights.passes[0]));
    } else {
      check(weights, inputs);
      add_layer(weights, embedding, table_bytes);
    }
    aim_source(weights.span, embedding_dim);
  }
  const bool added = std::any_of(layers_.begin(), layers_.end(),
                                 [](const Layer& layer) { return layer.residual && layer.source < 0; });
  if (embedding && (!has_table() || added)) keep_embedding(embedding_dim, embedding);
}

// Sets and checks what is added to the last layer's output.
void Model::aim_source(std::int64_t span, std::int64_t embedding_dim) {
  Layer& layer = layers_.back();
  if (!layer.residual) return;
  layer.source = static_cast<std::int64_t>(layers_.size()) - 1 - span;
  if (span < 1 || layer.source < -1) throw std::invalid_argument("a residual layer adds what is not below it");
  const std::int64_t width =
      layer.source < 0 ? embedding_dim : layers_[static_cast<std::size_t>(layer.source)].output_dim;
  if (width != layer.output_dim) throw std::invalid_argument("a residual layer's input and output differ in width");
}

void Model::add_layer(const LayerWeights& weights, const float* embedding, std::int64_t table_bytes) {
  const std::int64_t directions = weights.direction == Direction::bidirectional ? 2 : 1;
  // Not the row's real size, which depends on the kernel: in bfloat16, a model without a table has other results, and
  // they must not differ between processors.
  const std::int64_t sums = kGates + (weights.cell == Cell::mlstm);
  const std::int64_t row_bytes = sums * round_up(weights.units, 16) * std::int64_t{sizeof(float)};
  const bool fits = (vocab_size_ + 1) * directions <= table_bytes / row_bytes;
  const bool tabled = layers_.empty() && !vector_dim_ && (fits || !embedding);
  Layer layer{weights.direction, weights.span != 0, 0, weights.inputs, 0, {}};
  for (std::int64_t d = 0; d < directions; ++d) {
    const bool normed = weights.cell == Cell::normed_lstm;
    const PassWeights& own = weights.passes[d];
    Pass pass = normed ? pack_normed(kernel_, weights, own, tabled) : pack_pass(kernel_, weights, own, tabled);
    const PassWeights begun = normed ? shifted_input(own) : own;
    if (tabled) make_table(*kernel_.table_kernel(), pass, weights, begun, vocab_size_, embedding);
    layer.output_dim += pass.state_dim;
    if (weights.given_state) {
      pass.has_first = true;
      pass.given_at = given_dim_;
      given_dim_ += pass.state_dim;
      pass.given_cell_at = is_gru(pass.cell) ? pass.given_at : given_dim_;
      if (!is_gru(pass.cell)) given_dim_ += weights.units;
    }
    layer.passes.push_back(std::move(pass));
  }
  layers_.push_back(std::move(layer));
}

void Model::keep_embedding(std::int64_t embedding_dim, const float* embedding) {
  const std::int64_t padded = round_up(embedding_dim, kernel_.block_inputs);
  embedding_bytes_ = padded * kernel_.element_bytes;
  char* const out = embedding_.reserve<char>(static_cast<std::size_t>((vocab_size_ + 1) * embedding_bytes_));
  for (std::int64_t r = 0; r <= vocab_size_; ++r) {
    for (std::int64_t k = 0; k < padded; ++k) {
      put_element(kernel_, out + r * embedding_bytes_, k, k < embedding_dim ? embedding[r * embedding_dim + k] : 0.0f);
    }
  }
}

std::vector<Stage> Model::stages(std::size_t layers) const {
  std::vector<Stage> stages;
  for (std::size_t l = 0; l < layers; ++l) {
    const Direction direction = layers_[l].direction;
    Stage* const last = stages.empty() ? nullptr : &stages.back();
    bool maps = last != nullptr;  // whether the last stage has only maps; it takes the direction of what is above them
    for (std::size_t k = last ? last->first : l; k < l; ++k) maps = maps && is_map(k);
    if (last && (maps || (!last->both() && (is_map(l) || last->direction == direction)))) {
      *last = {last->first, l + 1, is_map(l) ? last->direction : direction};
    } else {
      stages.push_back({l, l + 1, direction});
    }
  }
  return stages;
}

}  // namespace unrolled
