#include "model/maps.h"

#include <cmath>
#include <cstring>

#include "model/pack.h"

namespace unrolled {
namespace {

constexpr int kSums = 8;

// The sum of term(k) for all k below `count`: eight sums of every eighth term, which are then added in pairs. The
// compiler can compute them side by side, and the order is the same on every processor.
template <class Term>
double sum_of(std::int64_t count, Term term) {
  double sums[kSums] = {};
  std::int64_t k = 0;
  for (; k + kSums <= count; k += kSums) {
    for (int s = 0; s < kSums; ++s) sums[s] += term(k + s);
  }
  for (int s = 0; k + s < count; ++s) sums[s] += term(k + s);
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

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
  double mean = 0, factor = 1;
  if (pass.cell == Cell::layer_norm) {
    const double count = static_cast<double>(units);
    mean = sum_of(units, [&](std::int64_t u) { return static_cast<double>(from[u]); }) / count;
    const double variance = sum_of(units, [&](std::int64_t u) { return (from[u] - mean) * (from[u] - mean); }) / count;
    factor = 1 / std::sqrt(variance + pass.epsilon);
  }
  for (std::int64_t u = 0; u < units; ++u) {
    to[u] = static_cast<float>((from[u] - mean) * factor * static_cast<double>(gain[u]) + static_cast<double>(bias[u]));
  }
}

}  // namespace unrolled
