// The ring of states: its memory, its levels, and copies of it. One block's way through the layers is in
// states_block.cpp. It is one file because all of it depends on the order of the arrays in the ring.
#include "pool/states.h"

#include <algorithm>
#include <cstring>

#include "model/elements.h"
#include "model/normed_lstm.h"
#include "model/strides.h"

namespace unrolled {
namespace {

constexpr std::size_t kLine = 64;

// The largest widths of a course's layers, in whole panels; and whether a layer needs memory for a second product's
// sums.
struct Widest {
  std::int64_t units = 0, state = 0;
  std::int64_t steps = 0;  // of one product
  bool resets = false;
  std::int64_t normed = 0, scratch = 0;  // floats of a normed LSTM, for the products of a node and for its norms

  explicit Widest(const Course& course) {
    for (std::size_t l = course.first(); l < course.end(); ++l) {
      units = std::max(units, course.pass(l).padded_units);
      state = std::max(state, course.pass(l).padded_state);
      for (const PackedLayer* packed : {&course.pass(l).packed, &course.pass(l).projection}) {
        steps = std::max(steps, packed->steps_a + packed->steps_b);
      }
      resets = resets || course.pass(l).cell == Cell::gru_reset_before;
      if (course.pass(l).cell != Cell::normed_lstm) continue;
      normed = std::max(normed, floats_apart(kGates * course.pass(l).written_units));
      scratch = std::max(scratch, normed_scratch(course.pass(l)) + course.pass(l).written_units);
    }
  }
};

// How many nodes pass all panels together: the more there are, the less often the weights are fetched. The inputs of
// shallow layers should stay in the second-level cache beside a panel. If too few nodes would fit, their inputs are
// read from the third level, because fetching a panel from memory costs more.
std::size_t block_nodes(const Course& course) {
  constexpr std::int64_t kFew = 96;
  const Kernel& kernel = course.model().kernel();
  const std::int64_t most = kernel.most_nodes;
  std::int64_t deepest = 1;
  for (std::size_t l = course.first(); l < course.end(); ++l) {
    deepest = std::max(deepest, course.pass(l).packed.steps_a + course.pass(l).packed.steps_b);
  }
  const std::int64_t fitting = kernel.cached_bytes / (deepest * kernel.step_inputs * kernel.element_bytes);
  const std::int64_t whole = fitting / kernel.tile_rows * kernel.tile_rows;
  return static_cast<std::size_t>(whole < kFew ? most : std::min(whole, most));
}

// Slots in addition to those that are still needed: for the block that is being computed, and for those at the ring's
// end that a block did not fit into.
std::size_t spare_slots(const Course& course) { return 2 * block_nodes(course); }

}  // namespace

std::size_t States::node_bytes(const Course& course) {
  std::size_t bytes = 0;
  for (std::size_t l = course.first(); l < course.end(); ++l) {
    if (course.model().is_map(l)) continue;
    bytes += hidden_bytes(course.model().kernel(), course.pass(l)) + cell_bytes(course.pass(l));
  }
  for (const Course::Pooled& pooled : course.pooled()) {
    bytes += PoolingStates::node_bytes(pooled.pooling, course.pass(pooled.layer).state_dim);
  }
  return bytes;
}

// One function, because every buffer of a course gets its size here, once.
void States::prepare(const Course& course, std::size_t rows) {
  const Kernel& kernel = course.model().kernel();
  slots_ = rows + std::min(2 * rows, spare_slots(course));
  next_slot_ = 0;
  level_ = Level();
  const std::size_t arrays = 2 * (course.end() - course.first()) + course.pooled().size();
  char* at = ring_.reserve<char>(slots_ * node_bytes(course) + arrays * kLine);
  const auto take = [&](std::size_t bytes) {
    char* const taken = at;
    at += (slots_ * bytes + kLine - 1) / kLine * kLine;
    return taken;
  };
  layers_.clear();
  for (std::size_t l = course.first(); l < course.end(); ++l) {
    const Pass& pass = course.pass(l);
    if (course.model().is_map(l)) {
      layers_.push_back({nullptr, nullptr});
      continue;
    }
    layers_.push_back({take(hidden_bytes(kernel, pass)), take(cell_bytes(pass))});
    // What a block reads beyond a state's last panel has weights of 0, but must not be NaN.
    for (std::size_t slot = 0; pass.written_state < pass.padded_state && slot < slots_; ++slot) {
      clear_elements(kernel, layers_.back().hidden + slot * hidden_bytes(kernel, pass), pass.written_state,
                     pass.padded_state);
    }
  }
  poolings_.clear();
  for (const Course::Pooled& pooled : course.pooled()) {
    const std::int64_t width = course.pass(pooled.layer).state_dim;
    poolings_.emplace_back(pooled.pooling, width, take(PoolingStates::node_bytes(pooled.pooling, width)));
  }
  const Widest widest(course);
  float* const zeros = zeros_.reserve<float>(static_cast<std::size_t>(widest.units));
  std::memset(zeros, 0, static_cast<std::size_t>(widest.units) * sizeof(float));
  const std::size_t block = block_nodes(course), element = static_cast<std::size_t>(kernel.element_bytes);
  sums_.reserve<float>(block * kGates * static_cast<std::size_t>(kernel.lanes));
  if (kernel.tiles) {
    const std::int64_t nodes = round_up(static_cast<std::int64_t>(block), kernel.tile_rows);
    gathered_.reserve(static_cast<std::size_t>(nodes * widest.steps * kernel.step_inputs * kernel.element_bytes));
  }
  between_.reserve(block * element * static_cast<std::size_t>(elements_apart(kernel, widest.units)));
  const std::int64_t floats = std::max(widest.normed, widest.resets ? floats_apart(widest.units) : 0);
  between_floats_.reserve<float>(2 * block * static_cast<std::size_t>(floats));
  floats_.reserve<float>(block * static_cast<std::size_t>(floats_apart(widest.state)));
  std::size_t given = 0, given_cells = 0;
  for (std::size_t l = course.first(); l < course.end(); ++l) {
    if (course.pass(l).given_at < 0) continue;
    given = std::max(given, hidden_bytes(kernel, course.pass(l)));
    given_cells = std::max(given_cells, cell_bytes(course.pass(l)));
  }
  given_.reserve(block * given);
  given_cells_.reserve(block * given_cells);
  prepare_results(course, block);
  vector_.reserve<float>(static_cast<std::size_t>(std::max(2 * widest.state, widest.scratch)));
  // The kernel prefetches for a whole tile after the last one; what these entries point to is never read.
  const std::size_t entries = block + static_cast<std::size_t>(kernel.tile_rows);
  start_.resize(entries);
  factor_start_.resize(entries);
  cell_in_.resize(entries);
  input_.resize(entries);
  recurrent_.resize(entries);
  between_rows_.resize(entries);
  outputs_.resize(entries);
}

// Memory for the results of layers that aren't states in the ring.
void States::prepare_results(const Course& course, std::size_t block) {
  const Kernel& kernel = course.model().kernel();
  const auto makes = [&](std::size_t l) { return course.model().is_map(l) || course.layer(l).residual; };
  std::size_t bytes = 0;
  for (std::size_t l = course.first(); l < course.end(); ++l) {
    if (makes(l)) bytes += block * hidden_bytes(kernel, course.pass(l));
  }
  char* at = made_.reserve<char>(bytes);
  results_.clear();
  for (std::size_t l = course.first(); l < course.end(); ++l) {
    const Pass& pass = course.pass(l);
    results_.push_back({makes(l) ? at : nullptr, nullptr, hidden_bytes(kernel, pass)});
    if (!makes(l)) continue;
    // What is read beyond the last panel has weights of 0, but must not be NaN.
    for (std::size_t k = 0; k < block; ++k) {
      clear_elements(kernel, at + k * results_.back().stride, pass.written_state, pass.padded_state);
    }
    at += block * results_.back().stride;
  }
}

void States::compute(const Course& course, const Walk& walk) {
  for (const Walk::Branch& branch : walk.branches()) course.copy_shared(branch, walk.level());
  // Blocks of about equal size: a small one at the end would fetch all the weights for a few nodes.
  const std::size_t most = block_nodes(course), nodes = walk.size();
  const std::size_t blocks = (nodes + most - 1) / most;
  const std::size_t rows = static_cast<std::size_t>(course.model().kernel().tile_rows);
  const std::size_t even = std::min(((nodes + blocks - 1) / blocks + rows - 1) / rows * rows, most);
  Level next{next_slot_};
  for (std::size_t first = 0; first < nodes; first += even) {
    const std::size_t count = std::min(even, nodes - first);
    if (next_slot_ + count > slots_) {
      next.turn = first;
      next_slot_ = 0;
    }
    compute_block({course, walk, first, count, next_slot_});
    next_slot_ += count;
  }
  level_ = next;
}

// Calls action(address in slot 0, bytes of a node) for every state that is carried from level to level.
template <class Action>
void States::for_each_state(const Course& course, Action action) const {
  for (std::size_t l = course.first(); l < course.end(); ++l) {
    if (course.model().is_map(l)) continue;
    const LayerStates& states = layers_[l - course.first()];
    action(states.hidden, hidden_bytes(course.model().kernel(), course.pass(l)));
    action(states.cell, cell_bytes(course.pass(l)));
  }
  for (const PoolingStates& pooling : poolings_) action(pooling.at(0), pooling.node_bytes());
}

StateCopy States::copy(const Course& course, std::size_t first, std::size_t count) const {
  StateCopy copied;
  copied.nodes = count;
  char* to = copied.bytes.reserve<char>(count * node_bytes(course));
  const std::size_t before_turn = std::min(count, level_.turn - std::min(level_.turn, first));
  for_each_state(course, [&](const char* states, std::size_t bytes) {
    if (!bytes) return;
    std::memcpy(to, states + level_.slot(first) * bytes, before_turn * bytes);
    to += before_turn * bytes;
    if (before_turn == count) return;
    std::memcpy(to, states + level_.slot(first + before_turn) * bytes, (count - before_turn) * bytes);
    to += (count - before_turn) * bytes;
  });
  return copied;
}

void States::restore(const Course& course, const StateCopy& copied) {
  const char* from = copied.bytes.as<char>();
  for_each_state(course, [&](char* states, std::size_t bytes) {
    if (bytes) std::memcpy(states, from, copied.nodes * bytes);
    from += copied.nodes * bytes;
  });
  next_slot_ = copied.nodes;
}

}  // namespace unrolled
