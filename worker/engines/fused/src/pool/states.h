// The states of a walk's present level, and the computation of the next level from them.
//
// Both levels share one ring of slots. Nodes are computed in sorted order, and their parents have the same order, so
// the states before the parent of the next node are no longer needed. At any time at most one node of each row is
// needed, its last one, so a walk needs a slot for each of its rows and no second level.
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

// A copy of the states of some nodes, which moves from one thread's States to another's.
struct StateCopy {
  std::size_t nodes = 0;
  Buffer bytes;
};

// The workspace of one thread. It is kept between calls, so that its page faults happen only once.
class States {
 public:
  // Reserves memory for a walk of up to `rows` rows of this course, which has not begun. Throws std::bad_alloc.
  void prepare(const Course& course, std::size_t rows);
  // Computes the states of the walk's level from the states of the parents, and writes the rows' outputs.
  void compute(const Course& course, const Walk& walk);

  StateCopy copy(const Course& course, std::size_t first, std::size_t count) const;
  // Call `prepare` first.
  void restore(const Course& course, const StateCopy& states);

  // Bytes for the states of one node.
  static std::size_t node_bytes(const Course& course);

 private:
  // Addresses of the states in slot 0.
  struct LayerStates {
    char *hidden, *cell;
  };
  // The slots of a level's nodes: consecutive from slot `first` on; from node `turn` on, consecutive from slot 0.
  struct Level {
    std::size_t first = 0, turn = ~std::size_t{0};
    std::size_t slot(std::size_t node) const { return node < turn ? first + node : node - turn; }
  };
  // Nodes first..first + count of a level, which pass all layers together; their states go to the slots from `slot` on.
  struct Block {
    const Course& course;
    const Walk& walk;
    std::size_t first, count, slot;
  };
  void prepare_results(const Course& course, std::size_t block);
  void compute_block(const Block& block);
  void read_tokens(const Block& block);
  void read_vectors(const Block& block);
  void aim_outputs(const Block& block, std::size_t l);
  void read_parents(const Block& block, std::size_t l);
  void read_given(const Block& block, std::size_t l);
  void run_pass(const Block& block, std::size_t l, bool with_outputs);
  void run_normed(const Block& block, const Pass& pass, LayerBlock& sums, bool with_outputs);
  void run_map(const Block& block, std::size_t l, bool with_outputs);
  const void* source_of(const Block& block, std::size_t l, std::size_t k) const;
  void run_factors(const Block& block, const Pass& pass, LayerBlock& gates);
  void aim_between(const Block& block, const Pass& pass, std::int64_t stride);
  void add_input(const Block& block, std::size_t l);
  void add_to_poolings(const Block& block, std::size_t l);
  void hand_over(const Block& block, std::size_t l) const;
  template <class Action>
  void for_each_state(const Course& course, Action action) const;

  Buffer ring_;
  std::size_t slots_ = 0, next_slot_ = 0;
  Level level_;  // the level that was computed last
  std::vector<LayerStates> layers_;
  std::vector<PoolingStates> poolings_;  // one for each of Course::pooled
  Buffer zeros_;       // the cell state before a row's first token
  Buffer given_, given_cells_;  // a block's initial states, if rows bring them
  Buffer sums_;
  Buffer gathered_;    // see LayerBlock
  // For a block, between the two products of a layer that has two: what the second one multiplies, and sums.
  Buffer between_, between_floats_;
  Buffer floats_;      // a block's states in float32, if no column keeps them
  // A block's results of a layer, as the layers above read them: a node's states in the ring or, if the layer is a map
  // or residual, a part of `made_`.
  struct Results {
    char* made;
    const char* at;
    std::size_t stride;  // bytes
  };
  std::vector<Results> results_;  // one for each layer
  Buffer made_;
  Buffer vector_;      // of a map or a normed LSTM: scratch for one node
  std::vector<const float*> start_, factor_start_, cell_in_;
  std::vector<const void*> input_, recurrent_, between_rows_;
  std::vector<float*> outputs_;
};

}  // namespace unrolled
