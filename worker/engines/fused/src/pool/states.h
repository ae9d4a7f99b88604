// The states of one walk's present level, and the computation of the next one's.
//
// Both levels lie in one ring of slots. Nodes are computed in sorted order, and so are their parents: what lies in
// front of the parent of the next node is of no use any more. Of each row at most one node is still needed at a time,
// its last one, so a walk needs a slot for each of its rows and no second level.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "pool/plan/course.h"
#include "model/memory.h"
#include "model/model.h"
#include "pool/pooling.h"
#include "pool/walk.h"

namespace unrolled {

// States of some nodes, taken out of one thread's States for another's.
struct StateCopy {
  std::size_t nodes = 0;
  Buffer bytes;
};

// One thread's workspace. Kept between calls, so that its memory is touched for the first time once.
class States {
 public:
  // Room for a walk of up to `rows` rows of this course, at its beginning. Throws std::bad_alloc.
  void prepare(const Course& course, std::size_t rows);
  // Fills the states of the walk's level from those of its parents, and the outputs of its rows.
  void compute(const Course& course, const Walk& walk);

  StateCopy copy(const Course& course, std::size_t first, std::size_t count) const;
  // After `prepare`.
  void restore(const Course& course, const StateCopy& states);

  // Bytes that the states of one node take in a workspace.
  static std::size_t node_bytes(const Course& course);

 private:
  // Of slot 0.
  struct LayerStates {
    char *hidden, *cell;
  };
  // Where a level lies: one node behind the other from slot `first` on, and from slot 0 on those from `turn` on.
  struct Level {
    std::size_t first = 0, turn = ~std::size_t{0};
    std::size_t slot(std::size_t node) const { return node < turn ? first + node : node - turn; }
  };
  // Nodes first..first + count of a level, which pass all layers together; their states go to `slot` and those
  // behind it.
  struct Block {
    const Course& course;
    const Walk& walk;
    std::size_t first, count, slot;
  };
  void compute_block(const Block& block);
  void read_tokens(const Block& block);
  void read_vectors(const Block& block);
  void aim_outputs(const Block& block, std::size_t l);
  void read_parents(const Block& block, std::size_t l);
  void run_pass(const Block& block, std::size_t l, bool with_outputs);
  void add_input(const Block& block, std::size_t l);
  void pool(const Block& block, std::size_t l);
  void hand_over(const Block& block, const char* results, std::size_t stride) const;
  template <class Action>
  void for_each_state(const Course& course, Action action) const;

  Buffer ring_;
  std::size_t slots_ = 0, next_slot_ = 0;
  Level level_;  // that was computed last
  std::vector<LayerStates> layers_;
  std::vector<PoolingStates> poolings_;  // one for each of Course::pooled
  Buffer zeros_;       // the cell state in front of a row
  Buffer sums_;
  // Of a block, between the two products of a layer that has two: what enters the second, and more sums.
  Buffer between_, between_floats_;
  Buffer floats_;      // a block's states in float32, where no column keeps them
  Buffer mixed_;       // a block's results of a residual layer
  std::vector<const float*> start_, cell_in_;
  std::vector<const void*> input_, recurrent_, between_rows_;
  std::vector<float*> outputs_;
};

}  // namespace unrolled
