#include "model/maps.h"

#include <cstring>

#include "model/norms.h"
#include "model/pack.h"

namespace unrolled {
namespace {

void keep(Buffer& buffer, const float* values, std::int64_t count) {
  std::memcpy(buffer.reserve<float>(static_cast<std::size_t>(count)), values,
              static_cast<std::size_t>(count) * sizeof(float));
}

}  // namespace

Pass pack_map(const Kernel& kernel, const LayerWeights& layer, const PassWeights& weights) {
  if (layer.cell == Cell::dense) return pack_dense(kernel, layer, weights);
  Pass pass = size_map(kernel, layer);
  keep(pass.gain, weights.gain, layer.units);
  keep(pass.bias, weights.bias, layer.units);
  pass.epsilon = layer.epsilon;
  return pass;
}

void apply_map(const Pass& pass, const float* from, float* to) {
  const std::int64_t units = pass.packed.units;
  const float* const gain = pass.gain.as<float>();
  const float* const bias = pass.bias.as<float>();
  Norm norm{0, 1};
  if (pass.cell == Cell::layer_norm) norm = norm_of(from, units, pass.epsilon);
  for (std::int64_t u = 0; u < units; ++u) {
    to[u] = static_cast<float>(norm(from[u]) * static_cast<double>(gain[u]) + static_cast<double>(bias[u]));
  }
}

}  // namespace unrolled
