// Packs weights from Keras's layout into panels.
#pragma once

#include <cstdint>

#include "kernel/kernel.h"
#include "model/model.h"

namespace unrolled {

// Packs one direction of a layer; the input's part is left out if `tabled`, because a table will have its product.
// Throws std::bad_alloc.
Pass pack_pass(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights, bool tabled);

// Packs the product with the input, or with the state, of one direction of a normed LSTM, without a first state.
Pass pack_side(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights, bool input, bool state);

// Keeps the state before a row's first token, if it isn't zero, in whole panels and blocks. Throws std::bad_alloc.
void keep_first(const Kernel& kernel, Pass& pass, const PassWeights& weights);

// The sizes of a map's pass, without weights.
Pass size_map(const Kernel& kernel, const LayerWeights& layer);

// Packs a dense map. Throws std::bad_alloc.
Pass pack_dense(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights);

// Floats in a row of the table.
std::int64_t table_stride(const Kernel& kernel, const LayerWeights& layer);

// Fills in the table with a row of sums for each token: bias + embedding @ kernel, or, if `embedding` is null, bias +
// the token's row of the kernel. `kernel` is the instruction set's float32 kernel. Throws std::bad_alloc.
void make_table(const Kernel& kernel, Pass& pass, const LayerWeights& layer, const PassWeights& weights,
                std::int64_t vocab_size, const float* embedding);

}  // namespace unrolled
