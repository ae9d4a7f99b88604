// Takes one block of nodes through the layers of a course. It is one file because each function fills in the arrays
// that the next one reads.
#include <algorithm>
#include <cstring>

#include "model/elements.h"
#include "model/maps.h"
#include "model/normed_lstm.h"
#include "pool/states.h"
#include "model/strides.h"

namespace unrolled {

void States::compute_block(const Block& block) {
  const Course& course = block.course;
  if (course.first() > 0) {
    read_vectors(block);
  } else {
    read_tokens(block);
  }
  for (std::size_t l = course.first(); l < course.end(); ++l) {
    const bool wants_floats = course.wants_floats(l);
    Results& results = results_[l - course.first()];
    if (wants_floats) aim_outputs(block, l);
    if (course.model().is_map(l)) {
      run_map(block, l, wants_floats);
    } else {
      read_parents(block, l);
      run_pass(block, l, wants_floats);
    }
    if (course.layer(l).residual) add_input(block, l);
    results.at = results.made;
    if (!results.made) results.at = layers_[l - course.first()].hidden + block.slot * results.stride;
    if (wants_floats) add_to_poolings(block, l);
    if (l + 1 == course.end()) continue;
    for (std::size_t k = 0; k < block.count; ++k) {
      start_[k] = course.pass(l + 1).bias.as<float>();
      input_[k] = results.at + k * results.stride;
    }
  }
  for (const std::size_t l : course.given()) hand_over(block, l);
}

void States::read_tokens(const Block& block) {
  const Course& course = block.course;
  const Pass& pass = course.pass(0);
  const std::int32_t level = block.walk.level();
  for (std::size_t k = 0; k < block.count; ++k) {
    const Row& row = block.walk.row(block.first + k);
    const std::int32_t token = row.tokens[row.position(level, course.backward())];
    start_[k] = pass.start(token);
    input_[k] = course.inputs().at(row, token);
  }
}

void States::read_vectors(const Block& block) {
  const Course& course = block.course;
  const Vectors& below = course.vectors(course.first() - 1);
  const float* const bias = course.pass(course.first()).bias.as<float>();
  const std::int32_t level = block.walk.level();
  for (std::size_t k = 0; k < block.count; ++k) {
    const Row& row = block.walk.row(block.first + k);
    start_[k] = bias;
    input_[k] = below.at(row, row.position(level, course.backward()));
  }
}

// Sets where a layer's states are written in float32: in the caller's array, or in the workspace to be pooled.
void States::aim_outputs(const Block& block, std::size_t l) {
  const Course& course = block.course;
  const std::size_t column = course.per_token(l);
  const std::int32_t level = block.walk.level();
  const std::size_t stride = static_cast<std::size_t>(floats_apart(course.pass(l).padded_state));
  for (std::size_t k = 0; k < block.count; ++k) {
    const Row& row = block.walk.row(block.first + k);
    const std::int32_t position = row.position(level, course.backward());
    outputs_[k] = column == Course::kNone ? floats_.as<float>() + k * stride
                                          : course.outputs().of_token(column, row, position) + course.offset(l);
  }
}

void States::read_parents(const Block& block, std::size_t l) {
  const Pass& pass = block.course.pass(l);
  const LayerStates& states = layers_[l - block.course.first()];
  const std::size_t hidden = hidden_bytes(block.course.model().kernel(), pass), cell = cell_bytes(pass);
  const bool first_level = block.walk.level() == 0;
  if (first_level && pass.given_at >= 0) {
    read_given(block, l);
    return;
  }
  if (first_level && pass.has_first) {
    std::fill_n(recurrent_.begin(), block.count, pass.first_state.as<void>());
    std::fill_n(cell_in_.begin(), block.count, pass.first_cell.as<float>());
    return;
  }
  for (std::size_t k = 0; k < block.count; ++k) {
    const std::size_t parent = level_.slot(block.walk.parent(block.first + k));
    recurrent_[k] = states.hidden + parent * hidden;
    cell_in_[k] = first_level ? zeros_.as<float>() : reinterpret_cast<float*>(states.cell + parent * cell);
  }
}

// Brings the initial states of a block's rows into the form in which a layer reads states.
void States::read_given(const Block& block, std::size_t l) {
  const Kernel& kernel = block.course.model().kernel();
  const Pass& pass = block.course.pass(l);
  const std::size_t hidden = hidden_bytes(kernel, pass), cell = cell_bytes(pass);
  const std::int64_t converted = round_up(pass.state_dim, kernel.block_inputs);
  for (std::size_t k = 0; k < block.count; ++k) {
    const float* const given = block.course.inputs().state(block.walk.row(block.first + k));
    char* const state = given_.as<char>() + k * hidden;
    block.course.inputs().convert_numbers(given + pass.given_at, pass.state_dim, state);
    clear_elements(kernel, state, std::min(converted, pass.padded_state), pass.padded_state);
    char* const carried = given_cells_.as<char>() + k * cell;
    std::memset(carried, 0, cell);
    std::memcpy(carried, given + pass.given_cell_at, static_cast<std::size_t>(pass.packed.units) * sizeof(float));
    recurrent_[k] = state;
    cell_in_[k] = reinterpret_cast<float*>(carried);
  }
}

// Runs a layer's kernel. It is one function because it fills in one LayerBlock, and from that the second product's.
void States::run_pass(const Block& at, std::size_t l, bool with_outputs) {
  const Kernel& kernel = at.course.model().kernel();
  const Pass& pass = at.course.pass(l);
  LayerStates& states = layers_[l - at.course.first()];
  char* const hidden_out = states.hidden + at.slot * hidden_bytes(kernel, pass);
  const bool projected = pass.cell == Cell::lstm && pass.projection.steps_a > 0;
  LayerBlock block{};
  block.nodes = static_cast<std::int64_t>(at.count);
  block.start = start_.data();
  block.input = input_.data();
  block.recurrent = recurrent_.data();
  block.cell_in = cell_in_.data();
  block.cell_out = reinterpret_cast<float*>(states.cell + at.slot * cell_bytes(pass));
  block.hidden_out = projected ? between_.as<char>() : hidden_out;
  block.cell_stride = floats_apart(pass.padded_units);
  block.hidden_stride = elements_apart(kernel, pass.padded_units);
  block.outputs = with_outputs && !projected ? outputs_.data() : nullptr;
  block.outputs_read = at.course.reads_floats(l);
  block.sums = sums_.as<float>();
  block.gathered = gathered_.as<void>();
  block.first_level = at.walk.level() == 0 && !pass.has_first;
  if (pass.cell == Cell::normed_lstm) {
    run_normed(at, pass, block, with_outputs);
    return;
  }
  if (pass.cell == Cell::mlstm && !block.first_level) run_factors(at, pass, block);
  if (!is_gru(pass.cell)) {
    (pass.clipped ? kernel.clipped_lstm : kernel.lstm)[pass.hard](pass.packed, block);
    if (!projected) return;
  } else if (pass.cell == Cell::gru) {
    kernel.gru[pass.hard](pass.packed, block);
    return;
  } else {
    block.hidden_out = between_.as<char>();
    block.updates = between_floats_.as<float>();
    block.candidates = block.updates + block.nodes * block.cell_stride;
    kernel.reset_gates[pass.hard](pass.packed, block);
  }
  aim_between(at, pass, block.hidden_stride);
  LayerBlock second = block;
  second.input = second.recurrent = between_rows_.data();
  second.hidden_out = hidden_out;
  second.hidden_stride = elements_apart(kernel, pass.padded_state);
  second.outputs = with_outputs ? outputs_.data() : nullptr;
  (projected ? kernel.projection : kernel.reset_candidate[pass.hard])(pass.projection, second);
}

// Multiplies the factors of a multiplicative LSTM; their product takes the place of the state.
void States::run_factors(const Block& at, const Pass& pass, LayerBlock& gates) {
  for (std::size_t k = 0; k < at.count; ++k) factor_start_[k] = start_[k] + pass.factor_at;
  LayerBlock first = gates;
  first.start = factor_start_.data();
  first.hidden_out = between_.as<char>();
  first.outputs = nullptr;
  at.course.model().kernel().factors(pass.projection, first);
  aim_between(at, pass, gates.hidden_stride);
  gates.recurrent = between_rows_.data();
}

// The second product multiplies the results of the first pass, in whole blocks, which are `stride` elements apart.
void States::aim_between(const Block& at, const Pass& pass, std::int64_t stride) {
  const Kernel& kernel = at.course.model().kernel();
  for (std::size_t k = 0; k < at.count; ++k) {
    char* const row = between_.as<char>() + static_cast<std::int64_t>(k) * stride * kernel.element_bytes;
    clear_elements(kernel, row, pass.written_units, pass.padded_units);
    between_rows_[k] = row;
  }
}

// Runs a layer whose gates are normalized: two products, and then the gates of each node.
void States::run_normed(const Block& at, const Pass& pass, LayerBlock& sums, bool with_outputs) {
  const Kernel& kernel = at.course.model().kernel();
  const std::int64_t units = pass.packed.units;
  const bool tabled = pass.packed.steps_a == 0;
  float* const products = between_floats_.as<float>();
  char* const hidden_out = static_cast<char*>(sums.hidden_out);
  const std::int64_t cell_stride = sums.cell_stride;
  sums.outputs = nullptr;
  sums.cell_stride = floats_apart(kGates * pass.written_units);
  sums.updates = products;
  if (!tabled) kernel.products(pass.packed, sums);
  float* const states = products + sums.nodes * sums.cell_stride;
  if (!sums.first_level) {
    std::fill_n(factor_start_.begin(), at.count, pass.state_start.as<float>());
    LayerBlock second = sums;
    second.start = factor_start_.data();
    second.input = second.recurrent;
    second.updates = states;
    kernel.products(pass.projection, second);
  }
  float* const hidden = vector_.as<float>();
  for (std::size_t k = 0; k < at.count; ++k) {
    const std::int64_t row = static_cast<std::int64_t>(k) * sums.cell_stride;
    const float* const state = sums.first_level ? pass.state_start.as<float>() : states + row;
    update_normed(kernel, pass, tabled ? start_[k] : products + row, state, cell_in_[k],
                  sums.cell_out + static_cast<std::int64_t>(k) * cell_stride, hidden, hidden + pass.written_units);
    char* const made = hidden_out + static_cast<std::int64_t>(k) * sums.hidden_stride * kernel.element_bytes;
    for (std::int64_t u = 0; u < units; ++u) put_element(kernel, made, u, hidden[u]);
    for (std::int64_t u = units; u < pass.written_state; ++u) put_element(kernel, made, u, 0.0f);
    if (with_outputs) std::memcpy(outputs_[k], hidden, static_cast<std::size_t>(units) * sizeof(float));
  }
}

// Runs a map. It reads the vectors of the layer below, and keeps no states.
void States::run_map(const Block& at, std::size_t l, bool with_outputs) {
  const Kernel& kernel = at.course.model().kernel();
  const Pass& pass = at.course.pass(l);
  const Results& results = results_[l - at.course.first()];
  if (pass.cell == Cell::dense) {
    LayerBlock block{};
    block.nodes = static_cast<std::int64_t>(at.count);
    block.start = start_.data();
    block.input = block.recurrent = input_.data();
    block.hidden_out = results.made;
    block.hidden_stride = elements_apart(kernel, pass.padded_state);
    block.outputs = with_outputs ? outputs_.data() : nullptr;
    block.outputs_read = at.course.reads_floats(l);
    block.sums = sums_.as<float>();
    block.gathered = gathered_.as<void>();
    kernel.dense(pass.packed, block);
    return;
  }
  const std::int64_t units = pass.packed.units;
  float* const from = vector_.as<float>();
  float* const to = from + units;  // with room for a whole panel
  for (std::size_t k = 0; k < at.count; ++k) {
    get_elements(kernel, input_[k], units, from);
    apply_map(pass, from, to);
    kernel.activate(pass.packed.activation, to, units);
    std::memcpy(outputs_[k], to, static_cast<std::size_t>(units) * sizeof(float));
    char* const made = results.made + k * results.stride;
    for (std::int64_t u = 0; u < units; ++u) put_element(kernel, made, u, to[u]);
    for (std::int64_t u = units; u < pass.written_state; ++u) put_element(kernel, made, u, 0.0f);  // NaN spreads
  }
}

// What is added to the results of a residual layer for a node, as the kernel reads it.
const void* States::source_of(const Block& block, std::size_t l, std::size_t k) const {
  const Course& course = block.course;
  const std::int64_t source = course.layer(l).source;
  const Row& row = block.walk.row(block.first + k);
  const std::int32_t position = row.position(block.walk.level(), course.backward());
  if (source < 0) return course.inputs().at(row, row.tokens[position]);
  const std::size_t below = static_cast<std::size_t>(source);
  if (below < course.first()) return course.vectors(below).at(row, position);
  const Results& results = results_[below - course.first()];
  return results.at + k * results.stride;
}

// The results of a residual layer are its states plus the output of a layer below. The next step reads the states
// without it.
void States::add_input(const Block& block, std::size_t l) {
  const Kernel& kernel = block.course.model().kernel();
  const Pass& pass = block.course.pass(l);
  const Results& results = results_[l - block.course.first()];
  const std::int64_t offset = block.course.offset(l);
  for (std::size_t k = 0; k < block.count; ++k) {
    float* const output = outputs_[k];
    const void* const source = source_of(block, l, k);
    void* const mixed = results.made + k * results.stride;
    for (std::int64_t u = 0; u < pass.state_dim; ++u) {
      output[u] += get_element(kernel, source, offset + u);
      put_element(kernel, mixed, u, output[u]);
    }
    clear_elements(kernel, mixed, pass.state_dim, pass.padded_state);
  }
}

void States::add_to_poolings(const Block& block, std::size_t l) {
  const Course& course = block.course;
  const std::int32_t level = block.walk.level();
  for (std::size_t p = 0; p < course.pooled().size(); ++p) {
    const Course::Pooled& pooled = course.pooled()[p];
    if (pooled.layer != l) continue;
    for (std::size_t k = 0; k < block.count; ++k) {
      const std::size_t slot = block.slot + k, parent = level_.slot(block.walk.parent(block.first + k));
      const Row& row = block.walk.row(block.first + k);
      poolings_[p].add(slot, level == 0 ? nullptr : &parent, outputs_[k]);
      if (course.takes_first_level(pooled.pooling) ? level > 0 : level + 1 < row.length) continue;
      poolings_[p].finish(slot, outputs_[k], row.length, course.outputs().of_row(pooled.column, row) + course.offset(l));
    }
  }
}

void States::hand_over(const Block& block, std::size_t l) const {
  const Course& course = block.course;
  const Results& results = results_[l - course.first()];
  for (std::size_t k = 0; k < block.count; ++k) {
    const Row& row = block.walk.row(block.first + k);
    char* const vector = course.given_vectors(l).at(row, row.position(block.walk.level(), course.backward()));
    copy_elements(course.model().kernel(), vector, course.offset(l), results.at + k * results.stride, 0,
                  course.pass(l).state_dim);
  }
}

}  // namespace unrolled
