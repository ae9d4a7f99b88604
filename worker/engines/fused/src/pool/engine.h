// Computes pools: from the caller's rows to the caller's arrays.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "pool/plan/course.h"
#include "pool/plan/handing.h"
#include "pool/plan/inputs.h"
#include "model/model.h"
#include "pool/outputs.h"
#include "pool/plan/plan.h"
#include "pool/states.h"

namespace unrolled {

struct PoolStats {
  std::int64_t tokens;          // real tokens in the pool
  std::int64_t nodes;           // tokens computed for them, averaged over recurrent layers and directions
  double plan_seconds;
  double compute_seconds;
};

class Engine {
 public:
  // `vector_bytes` is the most memory for the vectors that stages hand to each other; a single row may take more.
  Engine(Model model, int threads, std::int64_t vector_bytes);

  // One pool at a time; a second caller waits. Throws InputError, std::invalid_argument, std::bad_alloc.
  PoolStats compute(const Shard* shards, std::int64_t shard_count, const Column* columns, std::int64_t column_count);

  const Model& model() const { return model_; }

 private:
  struct Counts {
    // Nodes computed in all passes; passes, one for each recurrent layer and direction.
    std::int64_t done = 0, passes = 0;
  };
  std::int64_t recurrent_layers(const Stage& stage) const;
  void run_piece(std::vector<Row>& rows, const std::vector<Stage>& stages, const std::vector<Handed>& handed,
                 const Outputs& outputs, Counts& counts);
  void run(const std::vector<Course>& courses);
  void copy_duplicates(const std::vector<Duplicate>& duplicates, const Outputs& outputs) const;

  const Model model_;
  const std::size_t threads_;
  const std::int64_t vector_bytes_;
  std::mutex busy_;
  Inputs inputs_;
  std::vector<States> states_;  // one for each thread
  std::vector<Vectors> vectors_;  // what stages hand to each other, one for each slot
};

}  // namespace unrolled
