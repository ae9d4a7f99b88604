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
  explicit Inputs(const Model& model);

  // Takes a pool's shards, which must stay where they are. Afterwards vectors [0, `unconverted`) have to be converted,
  // in any portions, on any threads. Throws InputError, std::bad_alloc.
  void take(const Shard* shards, std::int64_t count);
  std::int64_t unconverted() const { return converts_ ? vector_count_ : 0; }
  // Brings vectors into the form in which the kernel reads them.
  void convert(std::int64_t first, std::int64_t end);

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

  // Brings `dim` finite numbers into the form in which the kernel reads them, with zeros up to whole blocks.
  void convert_numbers(const float* from, std::int64_t dim, void* out) const;

  // A row's initial state, as its shard has it.
  const float* state(const Row& row) const { return shards()[row.shard].states + row.index * model_.given_dim(); }

  // Frees the memory if it is more than `bytes`.
  void shrink(std::size_t bytes);

 private:
  // The vectors of one shard; the token id of the first one is `first`.
  struct Table {
    const char* vectors;
    std::int64_t first;
  };
  void number(const Shard* shards, std::int64_t count);

  const Model& model_;
  const Shard* given_ = nullptr;
  std::int64_t vector_count_ = 0, stride_ = 0;  // bytes from one vector to the next
  bool converts_ = false;
  std::vector<std::int64_t> places_;  // of the numbers of one block, in elements
  std::vector<Shard> numbered_;
  std::vector<Table> tables_;
  Buffer ids_, vectors_;
};

}  // namespace unrolled
