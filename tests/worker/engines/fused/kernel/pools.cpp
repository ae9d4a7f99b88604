// Computes random pools under the sanitizers: every path that touches memory or another thread, and a check that rows
// have the results that they have alone. Usage: pools ISA UNITS...
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "pool/engine.h"

namespace {

using unrolled::Activation;
using unrolled::Arithmetic;
using unrolled::Cell;
using unrolled::Column;
using unrolled::Direction;
using unrolled::Engine;
using unrolled::GateKind;
using unrolled::InputError;
using unrolled::LayerWeights;
using unrolled::NormKind;
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

// The vectors that rows contain, if the model reads vectors; as many as a model of ids has ids.
constexpr std::int64_t kVocab = 5;
const std::vector<float>& vectors_of(std::int64_t dim) {
  static const std::vector<float> numbers = random_floats(kVocab * 64);
  static std::vector<float> vectors;
  vectors.assign(numbers.begin(), numbers.begin() + kVocab * dim);
  vectors.shrink_to_fit();  // the sanitizers see a read behind them
  return vectors;
}

// The initial state of row `at` of a pool, if the model reads them: one of three, and none after the last.
std::vector<float> state_of(std::int64_t dim, std::size_t at) {
  static const std::vector<float> numbers = random_floats(3 * 4096);
  const auto begin = numbers.begin() + static_cast<std::ptrdiff_t>(at % 3 * 4096);
  return std::vector<float>(begin, begin + dim);
}

struct Pool {
  std::size_t first_state = 0;  // the number of the first row's
  std::vector<float> states;
  std::vector<std::int32_t> values;
  std::vector<std::int64_t> offsets{0};
  std::vector<std::vector<float>> outputs;
  std::vector<float*> addresses;

  std::int64_t rows() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  void add(const std::vector<std::int32_t>& row) {
    values.insert(values.end(), row.begin(), row.end());
    offsets.push_back(static_cast<std::int64_t>(values.size()));
  }
  void compute(Engine& engine, const std::vector<Column>& columns) {
    outputs.clear();
    addresses.clear();
    for (const Column& column : columns) {
      const bool per_token = column.pooling == unrolled::Pooling::none;
      const std::int64_t count = per_token ? static_cast<std::int64_t>(values.size()) : rows();
      outputs.emplace_back(static_cast<std::size_t>(count * width(engine, column)), NAN);
    }
    for (std::vector<float>& output : outputs) addresses.push_back(output.data());
    Shard shard{values.data(), offsets.data(), rows(), static_cast<std::int64_t>(values.size()), addresses.data(),
                nullptr, 0};
    if (const std::int64_t dim = engine.model().vector_dim()) {
      shard.vectors = vectors_of(dim).data();
      shard.vector_count = kVocab;
    }
    states.clear();
    for (std::int64_t r = 0; r < rows(); ++r) {
      const std::vector<float> state = state_of(engine.model().given_dim(), first_state + static_cast<std::size_t>(r));
      states.insert(states.end(), state.begin(), state.end());
    }
    states.shrink_to_fit();  // the sanitizers see a read behind them
    shard.states = states.data();
    engine.compute(&shard, 1, columns.data(), static_cast<std::int64_t>(columns.size()));
  }
  static std::int64_t width(const Engine& engine, const Column& column) {
    return engine.model().layers()[static_cast<std::size_t>(column.layer)].output_dim;
  }
};

std::vector<std::int32_t> random_row(std::int64_t vocab, std::int64_t longest) {
  std::vector<std::int32_t> row(static_cast<std::size_t>(pick(0, longest)));
  for (std::int32_t& token : row) token = static_cast<std::int32_t>(pick(1, vocab));
  return row;
}

void check_alone(const Pool& pool, std::size_t r, const std::vector<std::int32_t>& row, Engine& alone,
                 const std::vector<Column>& columns) {
  Pool single;
  single.first_state = r;
  single.add(row);
  single.compute(alone, columns);
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const bool per_token = columns[c].pooling == unrolled::Pooling::none;
    const std::int64_t first = per_token ? pool.offsets[r] : static_cast<std::int64_t>(r);
    const float* const found = pool.outputs[c].data() + first * Pool::width(alone, columns[c]);
    const std::vector<float>& wanted = single.outputs[c];
    check(wanted.empty() || std::memcmp(found, wanted.data(), wanted.size() * sizeof(float)) == 0,
          "a row alone gives other bytes than in a pool");
  }
}

// Emulated tiles are slow, more so under sanitizers.
bool is_slow(const char* isa) { return std::strcmp(isa, "amx-emulated") == 0; }

// `ring`: whether the last pool has more rows than a block, so that its states wrap around in the ring of slots.
void run_pools(Engine& engine, Engine& alone, std::int64_t vocab, bool ring) {
  const bool slow = is_slow(engine.model().kernel().isa);
  std::vector<Column> columns;
  for (std::size_t l = 0; l < engine.model().layers().size(); ++l) {
    for (std::int32_t pooling = 0; pooling < 5; ++pooling) {
      if (pick(0, 2)) columns.push_back({static_cast<std::int32_t>(l), static_cast<unrolled::Pooling>(pooling)});
    }
  }
  if (columns.empty()) columns.push_back({0, unrolled::Pooling::none});
  for (int round = slow ? 1 : 0; round < 2; ++round) {
    Pool pool;
    std::vector<std::vector<std::int32_t>> rows;
    const bool wide = ring && round == 1;
    const std::int64_t longest = (wide ? 8 : 30) / (slow ? 4 : 1);
    for (std::int64_t r = wide ? 900 : pick(0, 120); r > 0; --r) rows.push_back(random_row(vocab, longest));
    rows.push_back(random_row(vocab, slow ? 40 : 600));  // one long row: all threads but one run out of work
    const auto any_row = [&] { return static_cast<std::size_t>(pick(0, static_cast<std::int64_t>(rows.size()) - 1)); };
    for (std::int64_t r = pick(0, 20); r > 0; --r) rows.push_back(rows[any_row()]);
    for (const auto& row : rows) pool.add(row);
    pool.compute(engine, columns);
    for (int sample = 0; sample < 5; ++sample) {
      const std::size_t r = any_row();
      check_alone(pool, r, rows[r], alone, columns);
    }
  }
}

// Sizes around the one from which on memory is mapped; the sanitizers see what isn't freed.
void grow_buffers() {
  constexpr std::size_t kMapped = std::size_t{2} << 20;
  for (std::size_t size = kMapped - 130; size < kMapped + 3; ++size) {
    unrolled::Buffer buffer;
    for (std::size_t more : {size, size + 200, 3 * kMapped + 1}) std::memset(buffer.reserve(more), 1, more);
  }
}

// Random weights for a stack of layers.
struct Sample {
  std::int64_t vocab = kVocab, embedding_dim;
  std::vector<float> embedding;
  std::vector<std::vector<float>> arrays;
  std::vector<LayerWeights> layers;

  explicit Sample(std::int64_t width) : embedding_dim(width), embedding(random_floats((vocab + 1) * width)) {}

  const float* array(std::int64_t count) {
    arrays.push_back(random_floats(count));
    return arrays.back().data();
  }
  std::int64_t add(std::int64_t inputs, Cell cell, Direction direction, std::int64_t units, std::int64_t projection,
                   bool residual, GateKind kind = GateKind::sigmoid, bool first = false) {
    LayerWeights layer{cell, direction, residual, kind, 0, 0, inputs, units, projection, 0, NormKind::none,
                       Activation::linear, {}};
    const bool factors = cell == Cell::mlstm;
    const std::int64_t gates = (unrolled::is_gru(cell) ? 3 : 4) * units, state = projection ? projection : units;
    const std::int64_t directions = direction == Direction::bidirectional ? 2 : 1;
    for (std::int64_t d = 0; d < directions; ++d) {
      layer.passes[d] = {array(inputs * gates), array(state * gates), array(2 * gates),
                         projection ? array(units * projection) : nullptr, factors ? array(inputs * units) : nullptr,
                         factors ? array(units * units) : nullptr, first ? array(state) : nullptr,
                         first && !unrolled::is_gru(cell) ? array(units) : nullptr, nullptr};
    }
    layers.push_back(layer);
    return directions * state;
  }
  std::int64_t add_normed(std::int64_t inputs, Direction direction, std::int64_t units, NormKind norm) {
    const std::int64_t width = add(inputs, Cell::normed_lstm, direction, units, 0, false);
    LayerWeights& layer = layers.back();
    layer.epsilon = 0.01;
    layer.norm = norm;
    for (unrolled::PassWeights& pass : layer.passes) {
      for (const float** part : {&pass.input_shift, &pass.input_gain, &pass.state_shift, &pass.state_gain}) {
        *part = array(4 * units);
      }
      pass.cell_gain = array(units);
      pass.cell_bias = array(units);
    }
    return width;
  }
  std::int64_t add_map(std::int64_t inputs, Cell cell, std::int64_t units, Activation activation, std::int32_t span) {
    LayerWeights layer{cell, Direction::forward, span, GateKind::sigmoid, 0, 0, inputs, units, 0, 0.01,
                       NormKind::none, activation, {}};
    layer.passes[0].bias = array(units);
    if (cell == Cell::dense) {
      layer.passes[0].kernel = array(inputs * units);
    } else {
      layer.passes[0].gain = array(units);
    }
    layers.push_back(layer);
    return units;
  }
};

void run_sample(const char* isa, Arithmetic arithmetic, const Sample& sample, std::int64_t table_bytes) {
  const unrolled::Kernel* kernel = unrolled::choose_kernel(isa, arithmetic);
  if (!kernel) return;
  const auto model = [&] {
    return unrolled::Model(*kernel, sample.vocab, sample.embedding_dim,
                           sample.embedding.empty() ? nullptr : sample.embedding.data(), sample.layers, table_bytes);
  };
  Engine alone(model(), 1, 1 << 20);
  for (int threads : {2, 7}) {  // `alone` has one
    Engine engine(model(), threads, pick(1, 20'000));
    run_pools(engine, alone, sample.vocab, threads == 7);
  }
}

void run_models(const char* isa, Arithmetic arithmetic, std::int64_t units) {
  Sample plain(3), gru(3), projected(0), all(7), hard(3), first(3), factors(0), clipped(3), maps(3), normed(3), vectors(37),
      given(3);
  for (std::int64_t width = 3; plain.layers.size() < 2;) {
    width = plain.add(width, Cell::lstm, Direction::forward, units, 0, false);
  }
  gru.add(gru.add(3, Cell::gru, Direction::backward, units, 0, false), Cell::gru, Direction::backward, 5, 0, false);
  projected.add(projected.add(projected.vocab, Cell::lstm, Direction::forward, units, 3, false), Cell::lstm,
                Direction::bidirectional, units, 70, false);
  std::int64_t width = all.add(7, Cell::lstm, Direction::forward, units, 7, true);
  width = all.add(width, Cell::gru, Direction::bidirectional, units, 0, false);
  width = all.add(width, Cell::lstm, Direction::backward, 2 * units, 0, true);
  width = all.add(width, Cell::gru, Direction::bidirectional, units, 0, true);
  all.add(width, Cell::gru_reset_before, Direction::bidirectional, units, 0, true);
  width = hard.add(3, Cell::lstm, Direction::forward, units, 5, false, GateKind::hard_fifth);
  width = hard.add(width, Cell::gru, Direction::forward, units, 0, false, GateKind::hard_sixth);
  hard.add(width, Cell::gru_reset_before, Direction::bidirectional, units, 0, false, GateKind::hard_fifth);
  width = first.add(3, Cell::lstm, Direction::bidirectional, units, 5, false, GateKind::sigmoid, true);
  width = first.add(width, Cell::gru, Direction::forward, units, 0, false, GateKind::sigmoid, true);
  first.add(width, Cell::gru_reset_before, Direction::backward, units, 0, false, GateKind::sigmoid, true);
  width = factors.add(factors.vocab, Cell::mlstm, Direction::bidirectional, units, 0, false);
  width = factors.add(width, Cell::mlstm, Direction::forward, units, 0, false, GateKind::hard_fifth, true);
  factors.add(width, Cell::mlstm, Direction::forward, units, 0, true);
  width = clipped.add(3, Cell::lstm, Direction::forward, units, 5, false);
  width = clipped.add(width, Cell::mlstm, Direction::backward, units, 0, false);
  clipped.add(width, Cell::lstm, Direction::forward, units, 0, false, GateKind::hard_sixth);
  for (LayerWeights& layer : clipped.layers) layer.cell_clip = layer.projection_clip = 0.1f;
  width = maps.add(3, Cell::lstm, Direction::forward, units, 0, false);
  width = maps.add_map(width, Cell::dense, 5, Activation::relu, 0);
  width = maps.add_map(width, Cell::layer_norm, 5, Activation::tanh, 1);
  width = maps.add(width, Cell::gru, Direction::bidirectional, units, 0, false);
  width = maps.add_map(width, Cell::layer_norm, width, Activation::linear, 0);
  width = maps.add(width, Cell::lstm, Direction::bidirectional, units, 0, true);
  maps.layers.back().span = 2;
  width = maps.add_map(width, Cell::dense, 3, Activation::sigmoid, 7);
  width = maps.add(width, Cell::lstm, Direction::backward, units, 0, false);
  width = maps.add_map(width, Cell::dense, 2 * units, Activation::linear, 3);
  maps.add_map(width, Cell::scale, width, Activation::linear, 4);
  width = normed.add_normed(3, Direction::bidirectional, units, NormKind::carried);
  normed.add_normed(width, Direction::forward, units, NormKind::output);
  vectors.embedding.clear();
  width = vectors.add_map(37, Cell::dense, 7, Activation::tanh, 0);
  width = vectors.add(width, Cell::lstm, Direction::bidirectional, units, 0, false);
  vectors.add(width, Cell::gru, Direction::forward, units, 0, false);
  width = given.add(3, Cell::lstm, Direction::bidirectional, units, 5, false);
  width = given.add(width, Cell::gru, Direction::backward, units, 0, false);
  given.add(width, Cell::mlstm, Direction::forward, units, 0, false);
  for (LayerWeights& layer : given.layers) layer.given_state = 1;
  for (const Sample* sample :
       {&given, &vectors, &normed, &plain, &gru, &projected, &all, &hard, &first, &factors, &clipped, &maps}) {
    run_sample(isa, arithmetic, *sample, 1 << 20);
    run_sample(isa, arithmetic, *sample, 0);
  }
}

void refuse_unfit_models() {
  const unrolled::Kernel& kernel = *unrolled::choose_kernel("portable", Arithmetic::float32);
  const auto refused = [&](const Sample& sample) {
    try {
      unrolled::Model(kernel, sample.vocab, sample.embedding_dim, sample.embedding.data(), sample.layers, 0);
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  Sample none(3), narrow(3), residual(3), unknown(3), ungated(3), half(3), factors(3), clipped(3), mapped(3), wide(3);
  Sample far(3), flat(3), two(3);
  narrow.add(3, Cell::lstm, Direction::bidirectional, 4, 0, false);
  narrow.add(4, Cell::lstm, Direction::forward, 4, 0, false);
  residual.add(3, Cell::lstm, Direction::forward, 4, 0, true);
  unknown.add(3, static_cast<Cell>(9), Direction::forward, 4, 0, false);
  ungated.add(3, Cell::lstm, Direction::forward, 4, 0, false, static_cast<GateKind>(3));
  half.add(3, Cell::lstm, Direction::forward, 4, 0, false, GateKind::sigmoid, true);
  half.layers[0].passes[0].first_cell = nullptr;
  two.add(3, Cell::lstm, Direction::forward, 4, 0, false, GateKind::sigmoid, true);
  two.layers[0].given_state = 1;
  factors.add(3, Cell::mlstm, Direction::forward, 4, 0, false);
  factors.layers[0].passes[0].state_factor = nullptr;
  clipped.add(3, Cell::gru, Direction::forward, 4, 0, false);
  clipped.layers[0].cell_clip = 1;
  mapped.add_map(3, Cell::dense, 4, Activation::tanh, 0);
  wide.add_map(wide.add(3, Cell::lstm, Direction::forward, 4, 0, false), Cell::scale, 5, Activation::tanh, 0);
  far.add_map(far.add(3, Cell::lstm, Direction::forward, 3, 0, false), Cell::scale, 3, Activation::tanh, 3);
  flat.add_map(flat.add(3, Cell::lstm, Direction::forward, 3, 0, false), Cell::layer_norm, 3, Activation::tanh, 0);
  flat.layers[1].passes[0].gain = nullptr;
  check(refused(mapped), "a map below all recurrent layers");
  check(refused(wide), "a map that scales vectors of another width");
  check(refused(far), "a sum that begins below the embedding");
  check(refused(flat), "a norm without a gain");
  check(refused(factors), "a multiplicative LSTM without a factor");
  check(refused(clipped), "a GRU whose cell states are clipped");
  check(refused(two), "a layer with a state of its own that rows bring, too");
  check(refused(none), "a model without layers");
  check(refused(half), "an LSTM with a first state and without a first cell state");
  check(refused(narrow), "a layer that reads half of the one below");
  check(refused(residual), "a residual layer of another width than its input");
  check(refused(unknown), "an unknown cell");
  check(refused(ungated), "unknown gates");
}

void refuse_hostile_input() {
  const auto fault = [](std::vector<std::int32_t> values, std::vector<std::int64_t> offsets) {
    const Shard shard{values.data(), offsets.data(), static_cast<std::int64_t>(offsets.size()) - 1,
                      static_cast<std::int64_t>(values.size()), nullptr, nullptr, 0};
    try {
      unrolled::list_rows(&shard, 1, 9);
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
  refuse_unfit_models();
  check(fault({1, 1}, {1, 2}) == unrolled::Fault::offsets, "offsets that begin late");
}

}  // namespace

int main(int argc, char** argv) {
  check(argc > 2, "usage: pools ISA UNITS...");
  refuse_hostile_input();
  grow_buffers();
  for (const Arithmetic arithmetic : {Arithmetic::float32, Arithmetic::bfloat16, Arithmetic::bfloat16x3}) {
    for (int k = 2; k < argc; ++k) run_models(argv[1], arithmetic, std::atoll(argv[k]));
  }
  std::puts("ok");
}
