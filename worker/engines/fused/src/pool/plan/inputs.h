// What the first layer reads for each token of a pool: a row of the model's embedding or, if rows are vectors, one of
// the vectors that their shard brings.
#pragma once

#include <cstdint>
#include <vector>

#include "model/memory.h"
#include "model/model.h"
#include "pool/plan/plan.h"

namespace unrolled {

class Inputs {
 public:
  explicit Inputs(const Model& model) : model_(model) {}

  // Takes a pool's shards, which must stay where they are. Throws InputError, std::bad_alloc.
  void take(const Shard* shards, std::int64_t count);

  // The shards as the pool computes them. If rows are vectors, no two shards have a token id in common: equal ids of two
  // shards are different vectors, and rows that begin with them share nothing.
  const Shard* shards() const { return model_.vector_dim() ? numbered_.data() : given_; }
  // The largest token id.
  std::int64_t vocab_size() const { return model_.vector_dim() ? vector_count_ : model_.vocab_size(); }

  // A token's input, as the kernel reads it; null if no layer reads it.
  const void* at(const Row& row, std::int32_t token) const {
    if (!model_.vector_dim()) return model_.input(token);
    const Table& table = tables_[row.shard];
    return table.vectors + (token - table.first) * stride_;
  }

  // Frees the memory if it is more than `bytes`.
  void shrink(std::size_t bytes);

 private:
  // The vectors of one shard; the token id of the first one is `first`.
  struct Table {
    const char* vectors;
    std::int64_t first;
  };
  void number(const Shard* shards, std::int64_t count);
  void convert(const Shard* shards, std::int64_t count);

  const Model& model_;
  const Shard* given_ = nullptr;
  std::int64_t vector_count_ = 0, stride_ = 0;  // bytes from one vector to the next
  std::vector<Shard> numbered_;
  std::vector<Table> tables_;
  Buffer ids_, vectors_;
};

}  // namespace unrolled
