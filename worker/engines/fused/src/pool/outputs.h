// The caller's arrays: one for each column of each shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/model.h"
#include "pool/plan/plan.h"

namespace unrolled {

// What becomes of a row's vectors: all are kept, or one is made of them. Mirrored in library.py.
enum class Pooling : std::int32_t { none = 0, mean = 1, max = 2, last = 3, first = 4 };

struct Column {
  std::int32_t layer;
  Pooling pooling;
};

class Outputs {
 public:
  // Throws std::invalid_argument where a column is of no layer or no known pooling, or comes twice, or there is none.
  Outputs(const Model& model, const Shard* shards, const Column* columns, std::int64_t count);

  std::size_t size() const { return columns_.size(); }
  const Column& column(std::size_t c) const { return columns_[c]; }
  // Layers that have to be computed for them.
  std::size_t layers() const { return layers_; }

  std::int64_t width(std::size_t c) const { return widths_[c]; }
  // The vector of a row's token.
  float* of_token(std::size_t c, const Row& row, std::int64_t position) const {
    const Shard& shard = shards_[row.shard];
    return shard.outputs[c] + (row.tokens - shard.values + position) * widths_[c];
  }
  // The one vector of a row.
  float* of_row(std::size_t c, const Row& row) const {
    return shards_[row.shard].outputs[c] + static_cast<std::int64_t>(row.index) * widths_[c];
  }

  // What a duplicate is due, from the row that was computed.
  void copy(const Duplicate& duplicate) const;
  // Rows without tokens have nothing to pool: zeros.
  void clear_empty_rows(std::int64_t shard_count) const;

 private:
  const Shard* shards_;
  std::vector<Column> columns_;
  std::vector<std::int64_t> widths_;
  std::size_t layers_ = 0;
};

}  // namespace unrolled
