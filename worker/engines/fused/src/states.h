// The states of two levels of one walk, and their computation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "memory.h"
#include "model.h"
#include "walk.h"

namespace unrolled {

// Hidden and cell states of some nodes, taken out of one thread's States for another's.
struct StateCopy {
  std::size_t nodes = 0;
  std::vector<char> bytes;
};

// One thread's workspace. Kept between calls, so that its memory is touched for the first time once.
class States {
 public:
  // Room for levels of up to `nodes` nodes of this model. Throws std::bad_alloc.
  void prepare(const Model& model, std::size_t nodes);
  // Fills the states of the walk's level from those of its parents, and the outputs of its rows.
  void compute(const Model& model, const Walk& walk);

  StateCopy copy(const Model& model, std::size_t first, std::size_t count) const;
  void restore(const Model& model, const StateCopy& states);

  // Bytes that the states of one node take in a workspace.
  static std::size_t node_bytes(const Model& model);

 private:
  struct LayerStates {
    Buffer hidden, cell;            // of the level that was computed last
    Buffer next_hidden, next_cell;  // of the one being computed
  };
  void compute_block(const Model& model, const Walk& walk, std::size_t first, std::size_t count);

  std::vector<LayerStates> layers_;
  Buffer zeros_;  // the cell state in front of a row
  Buffer sums_;
  std::vector<const float*> start_, cell_in_;
  std::vector<const void*> input_, recurrent_;
  std::vector<float*> outputs_;
};

}  // namespace unrolled
