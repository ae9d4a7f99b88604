// The mean and the deviation of a vector, in float64 and in one order on every processor.
#pragma once

#include <cmath>
#include <cstdint>

namespace unrolled {

// The sum of term(k) for all k below `count`: eight sums of every eighth term, which are then added in pairs. The
// compiler can compute them side by side.
template <class Term>
double sum_of(std::int64_t count, Term term) {
  constexpr int kSums = 8;
  double sums[kSums] = {};
  std::int64_t k = 0;
  for (; k + kSums <= count; k += kSums) {
    for (int s = 0; s < kSums; ++s) sums[s] += term(k + s);
  }
  for (int s = 0; k + s < count; ++s) sums[s] += term(k + s);
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

struct Norm {
  double mean, factor;
  double operator()(float x) const { return (x - mean) * factor; }
};

inline Norm norm_of(const float* x, std::int64_t count, double epsilon) {
  const double numbers = static_cast<double>(count);
  const double mean = sum_of(count, [&](std::int64_t k) { return static_cast<double>(x[k]); }) / numbers;
  const double variance = sum_of(count, [&](std::int64_t k) { return (x[k] - mean) * (x[k] - mean); }) / numbers;
  return {mean, 1 / std::sqrt(variance + epsilon)};
}

}  // namespace unrolled
