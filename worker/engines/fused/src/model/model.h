// A model's weights, packed for one kernel. One file, because what the caller gives and what is packed mirror each other.
#pragma once

#include <cstdint>
#include <vector>

#include "kernel/kernel.h"
#include "model/memory.h"

namespace unrolled {

// Mirrored in library.py.
enum class Cell : std::int32_t {
  lstm = 0, gru = 1, gru_reset_before = 2, mlstm = 3, dense = 4, layer_norm = 5, scale = 6, normed_lstm = 7
};
// Which cell state the next step of a normed LSTM reads: the normalized one, or the one before its norm.
enum class NormKind : std::int32_t { none = 0, carried = 1, output = 2 };
inline bool is_gru(Cell cell) { return cell == Cell::gru || cell == Cell::gru_reset_before; }
// Whether a layer is a map: it changes the vector of each token independently of the others, and has no state and no
// direction.
inline bool is_map(Cell cell) { return cell == Cell::dense || cell == Cell::layer_norm || cell == Cell::scale; }
// The function of a layer's gates: sigmoid, or clamp(slope x + 1/2, 0, 1) with a slope of 1/5 or 1/6.
enum class GateKind : std::int32_t { sigmoid = 0, hard_fifth = 1, hard_sixth = 2 };
enum class Direction : std::int32_t { forward = 0, backward = 1, bidirectional = 2 };

// The weights of one direction of a layer in Keras's layout, with G gates side by side: i, f, c, o of an LSTM, z, r, h
// of a GRU. A dense map has one such matrix; a layer_norm and a scale have a gain instead.
struct PassWeights {
  const float* kernel;            // (inputs, G * units)
  const float* recurrent_kernel;  // (state, G * units)
  const float* bias;              // (G * units); for a GRU that resets after the product (2, G * units)
  const float* projection;        // (units, projection), or null
  const float* input_factor;      // (inputs, units), of a multiplicative LSTM
  const float* state_factor;      // (units, units), of one too
  const float* first_state;       // (state), before the first token of a row; null for zeros
  const float* first_cell;        // (units); null for zeros, and for a GRU
  const float* gain;              // (units), of a layer_norm or a scale
  // Of a normed LSTM: what is added to the products before their norms, and the gains of these, (4 units) each; and of
  // the cell state's norm, (units).
  const float* input_shift = nullptr;
  const float* input_gain = nullptr;
  const float* state_shift = nullptr;
  const float* state_gain = nullptr;
  const float* cell_gain = nullptr;
  const float* cell_bias = nullptr;
};

struct LayerWeights {
  Cell cell;
  Direction direction;
  std::int32_t span;        // 0, or the output of the layer that is `span` layers below is added; 1 is the input
  GateKind gates;
  float cell_clip;          // the largest magnitude of a cell state; 0 for any
  float projection_clip;    // and of a projected state
  std::int64_t inputs;
  std::int64_t units;
  std::int64_t projection;  // width of the projected state, or 0
  double epsilon;           // of norms
  NormKind norm;            // of a normed LSTM
  Activation activation;    // of a map
  PassWeights passes[2];    // the only one, or forward and backward
  std::int32_t given_state = 0;  // whether each row brings the state before its first token
};

// One direction of a layer, packed.
struct Pass {
  Cell cell = Cell::lstm;
  bool clipped = false;           // whether its cell states are
  bool hard = false;              // whether its gates are a straight line, as in hard_gates.h
  PackedLayer packed{};
  std::int64_t written_units = 0; // whole panels
  std::int64_t padded_units = 0;  // and whole blocks: a second product reads so many
  Buffer panels;
  Buffer bias;                    // float [panel_count][kGates * lanes], scaled: added to the products

  // Another product, if the layer has one: an LSTM's projection, the candidate's recurrent kernel of a GRU that resets
  // before it, the factors of a multiplicative LSTM, which are multiplied first, or a normed LSTM's product with its
  // state. Its depth is 0 otherwise.
  PackedLayer projection{};
  Buffer projection_panels;
  std::int64_t state_dim = 0;     // width of the state that the next step reads
  std::int64_t written_state = 0; // whole panels
  std::int64_t padded_state = 0;  // and whole blocks: the next step reads so many

  // The state before a row's first token, if it isn't zero: as the kernel reads states, and what a LayerBlock calls
  // cell_in, which is the cell state or, for a GRU, the state.
  bool has_first = false;
  Buffer first_state, first_cell;
  // If each row brings that state, as float32: where in the row's numbers it begins, and where its cell state does. For a
  // GRU, which carries its state in float32 too, the two are one. -1 otherwise.
  std::int64_t given_at = -1, given_cell_at = -1;

  // The first layer's input product for each token, if it is kept.
  bool has_table = false;
  Buffer table;
  std::int64_t table_stride = 0;  // floats, also in `bias`
  std::int64_t factor_at = 0;     // where in a row of the table, or in `bias`, the input's factor begins

  // Of a layer_norm or a scale: float (units); `bias` then has as many. Of a normed LSTM: see normed_lstm.cpp.
  Buffer gain;
  double epsilon = 0;
  Buffer state_start;             // of a normed LSTM: what the products with the state begin with, as `bias`
  bool carries_norm = false;

  const float* start(std::int32_t token) const {
    return has_table ? table.as<float>() + token * table_stride : bias.as<float>();
  }
};

struct Layer {
  Direction direction;
  bool residual;
  std::int64_t source;       // of what is added in a residual layer: a layer's number, or -1 for the embedding
  std::int64_t inputs;
  std::int64_t output_dim;
  std::vector<Pass> passes;  // two if it is bidirectional, forward first

  const Pass& pass(bool backward) const { return passes[passes.size() == 2 && backward ? 1 : 0]; }
  // Where a direction's state begins in the layer's output.
  std::int64_t offset(bool backward) const { return passes.size() == 2 && backward ? passes[0].state_dim : 0; }
};

// Layers that one walk computes together: each reads the output of the layer below for the same token. A stage above
// the first one reads the vectors of the stage below, one for every token of a row. Maps belong to the stage of the
// layer below, or, if that is bidirectional, to the next stage: both of its directions compute them then, because that
// costs less than keeping their results.
struct Stage {
  std::size_t first, end;   // layers
  Direction direction;

  bool both() const { return direction == Direction::bidirectional; }
};

class Model {
 public:
  // `embedding` is (vocab_size + 1, embedding_dim), with row 0 for padding; if embedding_dim is 0, tokens enter as
  // one-hot vectors. Layer 0's input product is kept as a table with one row for each token if that takes at most
  // `table_bytes` or the vectors are one-hot. Without an embedding, embedding_dim is the width of the vectors that rows
  // contain; a shard brings them (plan.h). Throws std::bad_alloc, and std::invalid_argument if the sizes of layers
  // don't fit together.
  Model(const Kernel& kernel, std::int64_t vocab_size, std::int64_t embedding_dim, const float* embedding,
        const std::vector<LayerWeights>& layers, std::int64_t table_bytes);

  const Kernel& kernel() const { return kernel_; }
  std::int64_t vocab_size() const { return vocab_size_; }
  // The width of the vectors that rows contain; 0 if they contain token ids.
  std::int64_t vector_dim() const { return vector_dim_; }
  // The width of the initial states that rows bring: of all layers that read them together; 0 if none does.
  std::int64_t given_dim() const { return given_dim_; }
  const std::vector<Layer>& layers() const { return layers_; }
  bool has_table() const { return layers_[0].passes[0].has_table; }
  bool is_map(std::size_t l) const { return unrolled::is_map(layers_[l].passes[0].cell); }

  // A token's row of the embedding; null if no layer reads it.
  const void* input(std::int32_t token) const {
    return embedding_bytes_ ? embedding_.as<char>() + token * embedding_bytes_ : nullptr;
  }

  // The stages of the first `layers` layers.
  std::vector<Stage> stages(std::size_t layers) const;

 private:
  void add_layer(const LayerWeights& weights, const float* embedding, std::int64_t table_bytes);
  void aim_source(std::int64_t span, std::int64_t embedding_dim);
  void keep_embedding(std::int64_t embedding_dim, const float* embedding);

  const Kernel& kernel_;
  std::int64_t vocab_size_, vector_dim_, given_dim_ = 0;
  std::vector<Layer> layers_;
  Buffer embedding_;
  std::int64_t embedding_bytes_ = 0;  // size of one row, in whole blocks
};

}  // namespace unrolled
