// Weights from Keras's layout into panels.
#pragma once

#include <cstdint>

#include "kernel/kernel.h"
#include "model/model.h"

namespace unrolled {

// One direction of a layer; the input's part is left out where a table will hold its product. Throws std::bad_alloc.
Pass pack_pass(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights, bool tabled);

// Floats of a table's row.
std::int64_t table_stride(const Kernel& kernel, const LayerWeights& layer);

// Fills in a row of sums for each token: bias + embedding @ kernel, or, where `embedding` is null, bias + the token's
// own row of the kernel. `kernel` is the float32 one of the instruction set. Throws std::bad_alloc.
void make_table(const Kernel& kernel, Pass& pass, const LayerWeights& layer, const PassWeights& weights,
                std::int64_t vocab_size, const float* embedding);

}  // namespace unrolled
