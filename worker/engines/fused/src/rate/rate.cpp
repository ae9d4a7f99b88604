#include "rate/rate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <vector>

#include "pool/engine.h"

namespace unrolled {
namespace {

constexpr std::int64_t kUnits = 256, kEmbedding = 16, kTokens = 6;

// Numbers as large as those of a trained model: on zeros, a processor's clock is faster.
class Weights {
 public:
  const float* take(std::int64_t rows, std::int64_t columns) {
    std::vector<float>& numbers = kept_.emplace_back(static_cast<std::size_t>(rows * columns));
    const float scale = 2 / std::sqrt(static_cast<float>(rows));
    for (float& number : numbers) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      number = (static_cast<float>(state_ >> 40) * 0x1p-24f - 0.5f) * scale;
    }
    return numbers.data();
  }

 private:
  std::vector<std::vector<float>> kept_;
  std::uint64_t state_ = 1;
};

// A pool of rows with different first tokens, so that nothing is shared.
struct Rows {
  std::vector<std::int32_t> values;
  std::vector<std::int64_t> offsets{0};
  std::vector<float> states;

  Rows(std::int64_t rows, std::int64_t tokens) : states(static_cast<std::size_t>(rows * tokens * kUnits)) {
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t t = 0; t < tokens; ++t) values.push_back(static_cast<std::int32_t>((r + t * t * 7) % rows + 1));
      offsets.push_back(static_cast<std::int64_t>(values.size()));
    }
  }

  double seconds(Engine& engine) {
    float* outputs[1] = {states.data()};
    const Shard shard{values.data(), offsets.data(), static_cast<std::int64_t>(offsets.size()) - 1,
                      static_cast<std::int64_t>(values.size()), outputs};
    const Column column{1, Pooling::none};
    const auto start = std::chrono::steady_clock::now();
    engine.compute(&shard, 1, &column, 1);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
};

// The first layer's input is in a table, and a row's first token has no state before it.
double operations(std::int64_t rows, std::int64_t tokens) {
  return 2.0 * kUnits * kGates * kUnits * static_cast<double>(rows * (2 * (tokens - 1) + tokens));
}

}  // namespace

double measure_rate(const Kernel& kernel, int threads) {
  const std::int64_t rows = 384 * std::int64_t{threads};
  Weights weights;
  std::vector<LayerWeights> layers;
  for (const std::int64_t inputs : {kEmbedding, kUnits}) {
    LayerWeights layer{};  // a forward LSTM with sigmoid gates
    layer.inputs = inputs;
    layer.units = kUnits;
    layer.passes[0].kernel = weights.take(inputs, kGates * kUnits);
    layer.passes[0].recurrent_kernel = weights.take(kUnits, kGates * kUnits);
    layer.passes[0].bias = weights.take(1, kGates * kUnits);
    layers.push_back(layer);
  }
  const float* const embedding = weights.take(rows + 1, kEmbedding);
  Engine engine(Model(kernel, rows, kEmbedding, embedding, layers, std::int64_t{1} << 30), threads, 1);
  // A kernel that is emulated is measured on less.
  Rows few(16 * std::int64_t{threads}, 2);
  few.seconds(engine);
  const double slow = operations(16 * std::int64_t{threads}, 2) / few.seconds(engine);
  if (slow < 5e9 * threads) return slow;
  Rows many(rows, kTokens);
  many.seconds(engine);  // touches the memory
  return operations(rows, kTokens) / std::min(many.seconds(engine), many.seconds(engine));
}

}  // namespace unrolled
