#include "pool/pooling.h"

#include <cstring>

namespace unrolled {

// A mean's sum is a double: in float32, the sum of a million numbers near 1 would be wrong by 1 %.
std::size_t PoolingStates::node_bytes(Pooling pooling, std::int64_t width) {
  const std::size_t one = pooling == Pooling::mean ? sizeof(double) : pooling == Pooling::max ? sizeof(float) : 0;
  return (static_cast<std::size_t>(width) * one + 63) / 64 * 64;
}

void PoolingStates::add(std::size_t slot, const std::size_t* parent, const float* values) const {
  if (pooling_ == Pooling::mean) {
    double* const sums = reinterpret_cast<double*>(at(slot));
    if (!parent) {
      for (std::int64_t u = 0; u < width_; ++u) sums[u] = values[u];
      return;
    }
    const double* const before = reinterpret_cast<const double*>(at(*parent));
    for (std::int64_t u = 0; u < width_; ++u) sums[u] = before[u] + static_cast<double>(values[u]);
  } else if (pooling_ == Pooling::max) {
    float* const most = reinterpret_cast<float*>(at(slot));
    if (!parent) {
      std::memcpy(most, values, static_cast<std::size_t>(width_) * sizeof(float));
      return;
    }
    const float* const before = reinterpret_cast<const float*>(at(*parent));
    for (std::int64_t u = 0; u < width_; ++u) most[u] = before[u] > values[u] ? before[u] : values[u];
  }
}

void PoolingStates::finish(std::size_t slot, const float* values, std::int64_t length, float* pooled) const {
  if (pooling_ == Pooling::mean) {
    const double* const sums = reinterpret_cast<const double*>(at(slot));
    const double count = static_cast<double>(length);
    for (std::int64_t u = 0; u < width_; ++u) pooled[u] = static_cast<float>(sums[u] / count);
  } else {
    std::memcpy(pooled, pooling_ == Pooling::max ? reinterpret_cast<const float*>(at(slot)) : values,
                static_cast<std::size_t>(width_) * sizeof(float));
  }
}

}  // namespace unrolled
