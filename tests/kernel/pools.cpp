// Random pools through the engine, for the sanitizers: every path that touches memory or another thread, and
// a check that rows come out as they do alone. Usage: pools ISA
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "engine.h"

namespace {

using unrolled::Engine;
using unrolled::InputError;
using unrolled::LayerWeights;
using unrolled::Shard;

std::mt19937 generator(1);

std::int64_t pick(std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(generator);
}

std::vector<float> random_floats(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = std::uniform_real_distribution<float>(-0.3f, 0.3f)(generator);
  return values;
}

void check(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

struct Pool {
  std::vector<std::int32_t> values;
  std::vector<std::int64_t> offsets{0};
  std::vector<float> output;

  void add(const std::vector<std::int32_t>& row) {
    values.insert(values.end(), row.begin(), row.end());
    offsets.push_back(static_cast<std::int64_t>(values.size()));
  }
  Shard shard(std::int64_t units) {
    output.assign(values.size() * static_cast<std::size_t>(units), NAN);
    return {values.data(), offsets.data(), static_cast<std::int64_t>(offsets.size()) - 1,
            static_cast<std::int64_t>(values.size()), output.data()};
  }
};

std::vector<std::int32_t> random_row(std::int64_t vocab, std::int64_t longest) {
  std::vector<std::int32_t> row(static_cast<std::size_t>(pick(0, longest)));
  for (std::int32_t& token : row) token = static_cast<std::int32_t>(pick(1, vocab));
  return row;
}

void run_pools(Engine& engine, Engine& alone, std::int64_t vocab) {
  const std::int64_t units = engine.model().units();
  for (int round = 0; round < 6; ++round) {
    Pool pool;
    std::vector<std::vector<std::int32_t>> rows;
    for (std::int64_t r = pick(0, 120); r > 0; --r) rows.push_back(random_row(vocab, 30));
    rows.push_back(random_row(vocab, 600));  // one long row: the others' threads run out of work
    const auto any_row = [&] { return static_cast<std::size_t>(pick(0, static_cast<std::int64_t>(rows.size()) - 1)); };
    for (std::int64_t r = pick(0, 20); r > 0; --r) rows.push_back(rows[any_row()]);
    for (const auto& row : rows) pool.add(row);
    Shard shard = pool.shard(units);
    engine.compute(&shard, 1);
    for (int sample = 0; sample < 5; ++sample) {
      const std::size_t r = any_row();
      Pool single;
      single.add(rows[r]);
      Shard one = single.shard(units);
      alone.compute(&one, 1);
      const float* const found = pool.output.data() + pool.offsets[r] * units;
      check(single.output.empty() ||
                std::memcmp(found, single.output.data(), single.output.size() * sizeof(float)) == 0,
            "a row alone gives other bytes than in a pool");
    }
  }
}

void run_model(const char* isa, bool bfloat16, std::int64_t units, std::int64_t table_bytes) {
  const unrolled::Kernel* kernel = unrolled::choose_kernel(isa, bfloat16);
  if (!kernel) return;
  const std::int64_t vocab = 5, width = 3;
  const std::vector<float> embedding = random_floats((vocab + 1) * width);
  std::vector<std::vector<float>> arrays;
  std::vector<LayerWeights> layers;
  for (std::int64_t inputs : {width, units}) {
    for (std::int64_t count : {inputs * 4 * units, units * 4 * units, 4 * units}) {
      arrays.push_back(random_floats(count));
    }
    const std::size_t k = arrays.size();
    layers.push_back({inputs, units, arrays[k - 3].data(), arrays[k - 2].data(), arrays[k - 1].data()});
  }
  const auto model = [&] {
    return unrolled::Model(*kernel, *unrolled::choose_kernel(isa, false), vocab, width, embedding.data(), layers,
                           table_bytes);
  };
  Engine alone(model(), 1);
  for (int threads : {1, 2, 7}) {
    Engine engine(model(), threads);
    run_pools(engine, alone, vocab);
  }
}

void refuse_hostile_input() {
  const auto fault = [](std::vector<std::int32_t> values, std::vector<std::int64_t> offsets) {
    const Shard shard{values.data(), offsets.data(), static_cast<std::int64_t>(offsets.size()) - 1,
                      static_cast<std::int64_t>(values.size()), nullptr};
    try {
      unrolled::plan_rows(&shard, 1, 9, 0);
    } catch (const InputError& error) {
      return error.fault;
    }
    return unrolled::Fault::none;
  };
  check(fault({1, 9}, {0, 1, 2}) == unrolled::Fault::none, "good rows are refused");
  check(fault({1, 10}, {0, 2}) == unrolled::Fault::token, "a token beyond the vocabulary");
  check(fault({0}, {0, 1}) == unrolled::Fault::token, "padding");
  check(fault({1, INT32_MIN}, {0, 2}) == unrolled::Fault::token, "the smallest token");
  check(fault({1}, {0, INT64_MAX}) == unrolled::Fault::offsets, "an offset beyond the values");
  check(fault({1}, {0, INT64_MIN, 1}) == unrolled::Fault::offsets, "a negative offset");
  check(fault({1, 1}, {0, 2, 1, 2}) == unrolled::Fault::offsets, "falling offsets");
  check(fault({1, 1}, {1, 2}) == unrolled::Fault::offsets, "offsets that begin late");
}

}  // namespace

int main(int argc, char** argv) {
  check(argc == 2, "usage: pools ISA");
  refuse_hostile_input();
  for (bool bfloat16 : {false, true}) {
    for (std::int64_t units : {1, 16, 37}) {
      run_model(argv[1], bfloat16, units, 1 << 20);
      run_model(argv[1], bfloat16, units, 0);
    }
  }
  std::puts("ok");
}
