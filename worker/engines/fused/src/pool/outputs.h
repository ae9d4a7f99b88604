// The caller's output arrays: one for each column of each shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/model.h"
#include "pool/plan/plan.h"

namespace unrolled {

// How a row's vectors are pooled: all are kept, or they make one. Mirrored in library.py.
enum class Pooling : std::int32_t { none = 0, mean = 1, max = 2, last = 3, first = 4 };

struct Column {
  std::int32_t layer;
  Pooling pooling;
};

class Outputs {
 public:
  // Throws std::invalid_argument if a column's layer or pooling doesn't exist, if one comes twice, or if there is none.
  Outputs(const Model& model, const Shard* shards, const Column* columns, std::int64_t count);

  std::size_t size() const { return columns_.size(); }
  const Column& column(std::size_t c) const { return columns_[c]; }
  // How many layers must be computed for the columns.
  std::size_t layers() const { return layers_; }

  std::int64_t width(std::size_t c) const { return widths_[c]; }
  // The vector of a token.
  float* of_token(std::size_t c, const Row& row, std::int64_t position) const {
    const Shard& shard = shards_[row.shard];
    return shard.outputs[c] + (row.tokens - shard.values + position) * widths_[c];
  }
  // The one vector of a row.
  float* of_row(std::size_t c, const Row& row) const {
    return shards_[row.shard].outputs[c] + static_cast<std::int64_t>(row.index) * widths_[c];
  }

  // Copies a duplicate's results from the row that was computed.
  void copy(const Duplicate& duplicate) const;
  // Sets the pooled vectors of rows without tokens to zero.
  void clear_empty_rows(std::int64_t shard_count) const;

 private:
  const Shard* shards_;
  std::vector<Column> columns_;
  std::vector<std::int64_t> widths_;
  std::size_t layers_ = 0;
};

}  // namespace unrolled
