// LSTMs with layer normalization. Their gates need the mean of all gates' products, so the products of a block are
// stored, and the gates are computed node by node.
#pragma once

#include "kernel/kernel.h"
#include "model/model.h"

namespace unrolled {

// Packs one direction, as `pack_pass`: the input's product in `packed`, the state's in `projection`.
Pass pack_normed(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights, bool tabled);

// What the table and the sums of the input begin with: `weights` with the input's shift as its bias.
PassWeights shifted_input(const PassWeights& weights);

// Floats of scratch for one node.
std::int64_t normed_scratch(const Pass& pass);

// The gates and states of one node, from the products with the input and with the state as a kernel stores them:
// [panel][gate][lane]. `hidden` (units) has room for a whole vector after the last unit, as has `cell_out`.
void update_normed(const Kernel& kernel, const Pass& pass, const float* input, const float* state, const float* cell_in,
                   float* cell_out, float* hidden, float* scratch);

}  // namespace unrolled
