// A pool, from the caller's arrays to the caller's arrays.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "model.h"
#include "plan.h"
#include "states.h"

namespace unrolled {

struct PoolStats {
  std::int64_t tokens;          // real tokens in the pool
  std::int64_t nodes;           // distinct prefixes among them
  double plan_seconds;
  double compute_seconds;
};

class Engine {
 public:
  Engine(Model model, int threads);

  // One pool at a time; a second caller waits. Throws InputError, std::bad_alloc.
  PoolStats compute(const Shard* shards, std::int64_t shard_count);

  const Model& model() const { return model_; }

 private:
  void run(std::vector<Row>& rows);

  const Model model_;
  const std::size_t threads_;
  std::mutex busy_;
  std::vector<States> states_;  // one per thread
};

}  // namespace unrolled
