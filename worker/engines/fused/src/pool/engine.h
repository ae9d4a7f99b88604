// A pool, from the caller's arrays to the caller's arrays.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "pool/plan/course.h"
#include "model/model.h"
#include "pool/outputs.h"
#include "pool/plan/plan.h"
#include "pool/states.h"

namespace unrolled {

struct PoolStats {
  std::int64_t tokens;          // real tokens in the pool
  std::int64_t nodes;           // tokens computed for them, averaged over layers and directions
  double plan_seconds;
  double compute_seconds;
};

class Engine {
 public:
  // `vector_bytes`: what stages hand to each other may take so much memory; more for one row that needs it.
  Engine(Model model, int threads, std::int64_t vector_bytes);

  // One pool at a time; a second caller waits. Throws InputError, std::invalid_argument, std::bad_alloc.
  PoolStats compute(const Shard* shards, std::int64_t shard_count, const Column* columns, std::int64_t column_count);

  const Model& model() const { return model_; }

 private:
  struct Counts {
    std::int64_t done = 0, passes = 0;  // nodes times layers; layers and directions of a token
  };
  void run_piece(std::vector<Row>& rows, const std::vector<Stage>& stages, const Outputs& outputs, Counts& counts);
  void run(const std::vector<Course>& courses);
  void copy_duplicates(const std::vector<Duplicate>& duplicates, const Outputs& outputs) const;

  const Model model_;
  const std::size_t threads_;
  const std::int64_t vector_bytes_;
  std::mutex busy_;
  std::vector<States> states_;  // one per thread
  Vectors vectors_[2];          // what stages hand on: one is read and the other written
};

}  // namespace unrolled
