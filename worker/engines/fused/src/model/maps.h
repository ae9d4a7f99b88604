// Maps: layers that change the vector of each token independently of all other tokens.
#pragma once

#include "kernel/kernel.h"
#include "model/model.h"

namespace unrolled {

// Packs the weights of a map. Throws std::bad_alloc.
Pass pack_map(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights);

// The results of a layer_norm or a scale for one vector, before the function of the map: from `from` (units) to `to`
// (units). In float64, because it costs little, and in an order of its own, so that all processors give the same bytes.
void apply_map(const Pass& pass, const float* from, float* to);

}  // namespace unrolled
