// A model's weights, packed for one kernel.
#pragma once

#include <cstdint>
#include <vector>

#include "kernel.h"
#include "memory.h"

namespace unrolled {

// One layer as Keras keeps it: gates i, f, c, o side by side.
struct LayerWeights {
  std::int64_t inputs;
  std::int64_t units;
  const float* kernel;            // (inputs, 4 * units)
  const float* recurrent_kernel;  // (units, 4 * units)
  const float* bias;              // (4 * units)
};

struct Layer {
  PackedLayer packed;
  std::int64_t padded_units;  // whole panels
  Buffer panels;
  Buffer bias;                // float [panel_count][kGates * lanes], scaled
};

class Model {
 public:
  // `embedding` is (vocab_size + 1, embedding_dim), row 0 for padding. Layer 0's input product is kept as a
  // table of one row per token where that takes at most `table_bytes`; `table_kernel` is the float32 kernel
  // with which it is made. Throws std::bad_alloc.
  Model(const Kernel& kernel, const Kernel& table_kernel, std::int64_t vocab_size, std::int64_t embedding_dim,
        const float* embedding, const std::vector<LayerWeights>& layers, std::int64_t table_bytes);

  const Kernel& kernel() const { return kernel_; }
  std::int64_t vocab_size() const { return vocab_size_; }
  std::int64_t units() const { return layers_.back().packed.units; }
  const std::vector<Layer>& layers() const { return layers_; }
  bool has_table() const { return has_table_; }

  // Where layer 0's sums begin for a token.
  const float* start(std::int32_t token) const {
    return has_table_ ? table_.as<float>() + token * table_stride_ : layers_[0].bias.as<float>();
  }
  // Layer 0's input for a token; null where the table holds its product.
  const void* input(std::int32_t token) const {
    return has_table_ ? nullptr : embedding_.as<char>() + token * embedding_bytes_;
  }

 private:
  void make_table(const Kernel& table_kernel, std::int64_t embedding_dim, const float* embedding,
                  const LayerWeights& weights);
  void keep_embedding(std::int64_t embedding_dim, const float* embedding);

  const Kernel& kernel_;
  std::int64_t vocab_size_;
  std::vector<Layer> layers_;
  bool has_table_ = false;
  Buffer table_;
  std::int64_t table_stride_ = 0;     // floats
  Buffer embedding_;
  std::int64_t embedding_bytes_ = 0;  // of one row, whole steps
};

}  // namespace unrolled
