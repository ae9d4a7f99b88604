// The kernel: one layer over one block of nodes, written once and compiled for each instruction set.
//
// A tile is up to Isa::rows nodes by one panel (lanes units x 4 gates). Its sums stay in registers over the
// whole depth and the gates are applied to them there. Each sum takes its products in the order of the
// depth, whatever the tile's height and wherever the depth is cut: that is what makes a node's result
// depend on the node alone.
#pragma once

#include <cstdint>

#include "hard_gates.h"
#include "kernel.h"
#include "precision.h"

namespace unrolled {
namespace {

// A deeper panel is passed in several runs, with the sums kept in memory in between: so a run's weights and the
// next one's stay in the second-level cache, and a block may have many nodes to use them.
constexpr std::int64_t kRunSteps = 1024;
constexpr std::int64_t kShortSteps = 256;

// Part of a panel's depth: steps [a, a_end) of the input, then [b, b_end) of the recurrent state.
struct Run {
  std::int64_t a, a_end, b, b_end;
  bool first, last;
  std::int64_t ahead_bytes;  // of the next run's weights that each step of each tile fetches
};

// The next run of a layer after `run`, whose ends are where it begins.
inline Run next_run(const Run& run, std::int64_t steps_a, std::int64_t steps_b) {
  Run next{run.a_end, run.a_end, run.b_end, run.b_end, false, false, run.ahead_bytes};
  const std::int64_t left = steps_a + steps_b - next.a - next.b;
  const std::int64_t runs = (left + kRunSteps - 1) / kRunSteps;
  std::int64_t room = runs > 1 ? (left + runs - 1) / runs : left;  // about equal runs
  const std::int64_t take_a = steps_a - next.a < room ? steps_a - next.a : room;
  next.a_end += take_a;
  room -= take_a;
  next.b_end += steps_b - next.b < room ? steps_b - next.b : room;
  next.last = next.a_end == steps_a && next.b_end == steps_b;
  return next;
}

template <class P, int R>
using Sums = typename P::Isa::Vec[R][kGates];

// Weights that the next pass over the block will want, fetched a little with each step of this one.
struct Ahead {
  const char* at;
  std::int64_t bytes_per_step;
};

// sums[r][gate] += weights[step][gate] * x[r][step], steps [begin, end). Returns where the weights go on.
template <class P, int R>
UNROLLED_INLINE const typename P::Element* accumulate(Sums<P, R>& sums, const typename P::Element* weights,
                                                      const void* const* rows, std::int64_t begin,
                                                      std::int64_t end, Ahead& ahead) {
  using Element = typename P::Element;
  constexpr int kStep = kGates * P::Isa::lanes * P::step_inputs;
  const Element* x[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) x[r] = static_cast<const Element*>(rows[r]);
  for (std::int64_t step = begin; step < end; ++step) {
    typename P::Weight w[kGates];
#pragma GCC unroll 4
    for (int gate = 0; gate < kGates; ++gate) {
      w[gate] = P::weight(weights + gate * P::Isa::lanes * P::step_inputs);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const typename P::Weight spread = P::spread(x[r] + step * P::step_inputs);
#pragma GCC unroll 4
      for (int gate = 0; gate < kGates; ++gate) sums[r][gate] = P::dot(sums[r][gate], w[gate], spread);
    }
    weights += kStep;
    __builtin_prefetch(ahead.at);
    ahead.at += ahead.bytes_per_step;
  }
  return weights;
}

struct Place {
  std::int64_t node;    // first node of the tile
  std::int64_t panel;
};

// Asks for what a node of a later tile begins with and ends with. Table rows and outputs lie anywhere in
// memory: no hardware foresees them, and a tile's time is enough for them to arrive.
template <class P>
UNROLLED_INLINE void prefetch(const LayerBlock& block, std::int64_t node, std::int64_t panel) {
  constexpr int kWidth = kGates * P::Isa::lanes;
  constexpr int kLine = 16;  // floats
#pragma GCC unroll 4
  for (int line = 0; line < kWidth; line += kLine) __builtin_prefetch(block.start[node] + panel * kWidth + line);
  __builtin_prefetch(block.cell_in[node] + panel * P::Isa::lanes);
  if (block.outputs) __builtin_prefetch(block.outputs[node] + panel * P::Isa::lanes, 1);
}

// The products of one matrix in a run: steps [begin, end) of `rows` with the panel's weights from `weights` on.
template <class P>
struct Product {
  const typename P::Element* weights;
  const void* const* rows;
  std::int64_t begin, end;
};

// A function of its own, its loops over rows unrolled: inlined into a larger one the sums spill to memory.
template <class P, class Gate, int R>
__attribute__((noinline)) void tile(const PackedLayer& layer, const LayerBlock& block, const Place& place,
                                    const Place& next, const Run& run) {
  using Isa = typename P::Isa;
  using Element = typename P::Element;
  constexpr int kWidth = kGates * Isa::lanes;
  constexpr int kStep = kWidth * P::step_inputs;

  float* const kept = block.sums + place.node * kWidth;
  Sums<P, R> sums;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const float* from = run.first ? block.start[place.node + r] + place.panel * kWidth : kept + r * kWidth;
#pragma GCC unroll 4
    for (int gate = 0; gate < kGates; ++gate) sums[r][gate] = Isa::load(from + gate * Isa::lanes);
  }

  const Element* panel = reinterpret_cast<const Element*>(static_cast<const char*>(layer.panels) +
                                                          place.panel * layer.panel_bytes);
  // The next pass's weights lie behind this one's; each tile of this pass fetches its share of them.
  Ahead ahead{reinterpret_cast<const char*>(panel + (layer.steps_a + run.b_end) * kStep), run.ahead_bytes};
  ahead.at += place.node / Isa::rows * (run.a_end - run.a + run.b_end - run.b) * run.ahead_bytes;
  const Product<P> products[2] = {
      {panel + run.a * kStep, block.input + place.node, run.a, run.a_end},
      {panel + (layer.steps_a + run.b) * kStep, block.recurrent + place.node, run.b, run.b_end}};
  // The later tile's nodes are fetched one by one along the depth: all at once they would take every slot for
  // misses, and the weights behind them would wait for memory too.
  const std::int64_t piece = (run.a_end - run.a + run.b_end - run.b + R - 1) / R;
  int fetched = 0;
  for (const Product<P>& product : products) {
    const Element* weights = product.weights;
    for (std::int64_t step = product.begin; step < product.end; step += piece) {
      if (fetched < R) prefetch<P>(block, next.node + fetched++, next.panel);
      const std::int64_t end = step + piece < product.end ? step + piece : product.end;
      weights = accumulate<P, R>(sums, weights, product.rows, step, end, ahead);
    }
  }
  for (; fetched < R; ++fetched) prefetch<P>(block, next.node + fetched, next.panel);

  if (!run.last) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int gate = 0; gate < kGates; ++gate) Isa::store(kept + r * kWidth + gate * Isa::lanes, sums[r][gate]);
    }
    return;
  }

  const std::int64_t unit = place.panel * Isa::lanes;
  const std::int64_t left = layer.units - unit;
  typename Isa::Vec cells[R], hidden[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) cells[r] = Isa::load(block.cell_in[place.node + r] + unit);
  update_cells<Isa, P::fine, R>(Gate{}, sums, cells, hidden);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const std::int64_t node = place.node + r;
    Isa::store(block.cell_out + node * block.cell_stride + unit, cells[r]);
    P::store_hidden(static_cast<Element*>(block.hidden_out) + node * block.hidden_stride + unit, hidden[r]);
  }
  if (!block.outputs) return;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    float* const output = block.outputs[place.node + r] + unit;
    if (left >= Isa::lanes) {
      Isa::store(output, hidden[r]);
    } else {
      Isa::store_first(output, hidden[r], static_cast<int>(left));
    }
  }
}

// A tile of as many rows as there are, at most R.
template <class P, class Gate, int R>
UNROLLED_INLINE void tile_of(std::int64_t rows, const PackedLayer& layer, const LayerBlock& block,
                             const Place& place, const Place& next, const Run& run) {
  if constexpr (R > 1) {
    if (rows < R) {
      tile_of<P, Gate, R - 1>(rows, layer, block, place, next, run);
      return;
    }
  }
  tile<P, Gate, R>(layer, block, place, next, run);
}

template <class P, class Gate>
void run_layer(const PackedLayer& layer, const LayerBlock& block) {
  constexpr int kRows = P::Isa::rows;
  const std::int64_t steps_b = block.first_level ? 0 : layer.steps_b;
  const std::int64_t tiles = (block.nodes + kRows - 1) / kRows;
  const std::int64_t step_bytes = std::int64_t{kGates} * P::Isa::lanes * P::step_inputs * sizeof(typename P::Element);
  const std::int64_t ahead_bytes = (step_bytes + tiles - 1) / tiles;
  // A tile of few steps is over before memory answers: then rows are fetched two tiles early.
  const bool early = tiles > 1 && layer.steps_a + steps_b < kShortSteps;
  const std::int64_t ahead_rows = early ? 2 * kRows : kRows;
  for (std::int64_t panel = 0; panel < layer.panel_count; ++panel) {
    Run run{0, 0, 0, 0, false, false, ahead_bytes};
    for (bool first = true; !run.last; first = false) {
      run = next_run(run, layer.steps_a, steps_b);
      run.first = first;
      for (std::int64_t node = 0; node < block.nodes; node += kRows) {
        const Place place{node, panel};
        // The arrays of a block have room for a whole tile behind the last node; panels for one more.
        const std::int64_t after = node + ahead_rows, end = tiles * kRows;
        const Place next = after < end ? Place{after, panel} : Place{after - end, panel + 1};
        tile_of<P, Gate, kRows>(block.nodes - node, layer, block, place, next, run);
      }
    }
  }
}

// sums[node] = start + input[node] @ weights, in the same order of products as a tile.
template <class P>
void project(const PackedLayer& layer, std::int64_t nodes, const float* start, const void* const* input,
             float* sums_out, std::int64_t sums_stride) {
  using Isa = typename P::Isa;
  using Element = typename P::Element;
  constexpr int kWidth = kGates * Isa::lanes;
  for (std::int64_t panel = 0; panel < layer.panel_count; ++panel) {
    const Element* weights = reinterpret_cast<const Element*>(static_cast<const char*>(layer.panels) +
                                                              panel * layer.panel_bytes);
    for (std::int64_t node = 0; node < nodes; node += 2) {
      // Two rows at a time: this runs once, when the model is loaded.
      const void* const rows[2] = {input[node], input[node + 1 < nodes ? node + 1 : node]};
      Sums<P, 2> sums;
      for (int r = 0; r < 2; ++r) {
        for (int gate = 0; gate < kGates; ++gate) {
          sums[r][gate] = Isa::load(start + panel * kWidth + gate * Isa::lanes);
        }
      }
      Ahead ahead{reinterpret_cast<const char*>(weights), 0};
      accumulate<P, 2>(sums, weights, rows, 0, layer.steps_a, ahead);
      for (int r = 0; r < 2 && node + r < nodes; ++r) {
        float* const to = sums_out + (node + r) * sums_stride + panel * kWidth;
        for (int gate = 0; gate < kGates; ++gate) Isa::store(to + gate * Isa::lanes, sums[r][gate]);
      }
    }
  }
}

template <class P>
void cell_update(std::int64_t count, const float* i, const float* f, const float* g, const float* o,
                 const float* cell_in, float* cell_out, float* hidden_out) {
  using Isa = typename P::Isa;
  const auto scaled = [](const float* p, std::int64_t at, std::int64_t n, int gate) {
    float lanes[Isa::lanes] = {};
    for (std::int64_t lane = 0; lane < n; ++lane) {
      lanes[lane] = static_cast<float>(p[at + lane] * kGateScale[gate]);
    }
    return Isa::load(lanes);
  };
  for (std::int64_t at = 0; at < count; at += Isa::lanes) {
    const std::int64_t n = count - at < Isa::lanes ? count - at : Isa::lanes;
    float lanes[Isa::lanes] = {};
    for (std::int64_t lane = 0; lane < n; ++lane) lanes[lane] = cell_in[at + lane];
    Sums<P, 1> sums = {{scaled(i, at, n, 0), scaled(f, at, n, 1), scaled(g, at, n, 2), scaled(o, at, n, 3)}};
    typename Isa::Vec cells[1] = {Isa::load(lanes)}, hidden[1];
    update_cells<Isa, P::fine, 1>(Sigmoid{}, sums, cells, hidden);
    Isa::store_first(cell_out + at, cells[0], static_cast<int>(n));
    Isa::store_first(hidden_out + at, hidden[0], static_cast<int>(n));
  }
}

template <class P>
__attribute__((noinline)) double spin(std::int64_t rounds) {
  using Isa = typename P::Isa;
  using Element = typename P::Element;
  constexpr int kStep = Isa::lanes * P::step_inputs;
  Element weights[kGates * kStep] = {};
  Element inputs[2 * Isa::rows] = {};
  float starts[Isa::rows * kGates * Isa::lanes] = {};
  // The compiler must not know that all is zero, or it would do the same sum once.
  asm volatile("" : : "r"(weights), "r"(inputs), "r"(starts) : "memory");
  Sums<P, Isa::rows> sums;
  const typename P::Weight w[2] = {P::weight(weights), P::weight(weights + kStep)};
  const typename P::Weight x = P::spread(inputs);
#pragma GCC unroll 8
  for (int r = 0; r < Isa::rows; ++r) {
#pragma GCC unroll 4
    for (int gate = 0; gate < kGates; ++gate) {
      sums[r][gate] = Isa::load(starts + (r * kGates + gate) * Isa::lanes);
    }
  }
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int r = 0; r < Isa::rows; ++r) {
#pragma GCC unroll 4
      for (int gate = 0; gate < kGates; ++gate) sums[r][gate] = P::dot(sums[r][gate], w[gate % 2], x);
    }
  }
  float sink[Isa::lanes];
#pragma GCC unroll 8
  for (int r = 0; r < Isa::rows; ++r) {
#pragma GCC unroll 4
    for (int gate = 0; gate < kGates; ++gate) {
      Isa::store(sink, sums[r][gate]);
      asm volatile("" : : "r"(sink) : "memory");
    }
  }
  return 2.0 * static_cast<double>(rounds) * Isa::rows * kGates * kStep;
}

}  // namespace
}  // namespace unrolled
