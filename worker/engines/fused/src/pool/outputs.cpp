#include "pool/outputs.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace unrolled {

Outputs::Outputs(const Model& model, const Shard* shards, const Column* columns, std::int64_t count)
    : shards_(shards) {
  const std::int32_t layers = static_cast<std::int32_t>(model.layers().size());
  for (std::int64_t c = 0; c < count; ++c) {
    const Column& column = columns[c];
    const bool again = std::any_of(columns_.begin(), columns_.end(), [&](const Column& other) {
      return other.layer == column.layer && other.pooling == column.pooling;
    });
    const bool known = column.pooling >= Pooling::none && column.pooling <= Pooling::first;
    if (again || !known || column.layer < 0 || column.layer >= layers) {
      throw std::invalid_argument("no such column");
    }
    columns_.push_back(column);
    widths_.push_back(model.layers()[static_cast<std::size_t>(column.layer)].output_dim);
    layers_ = std::max(layers_, static_cast<std::size_t>(column.layer) + 1);
  }
  if (columns_.empty()) throw std::invalid_argument("no columns");
}

void Outputs::copy(const Duplicate& duplicate) const {
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    const bool per_token = columns_[c].pooling == Pooling::none;
    const std::size_t bytes = static_cast<std::size_t>(widths_[c]) * sizeof(float);
    if (per_token) {
      std::memcpy(of_token(c, duplicate.row, 0), of_token(c, duplicate.of, 0),
                  bytes * static_cast<std::size_t>(duplicate.row.length));
    } else {
      std::memcpy(of_row(c, duplicate.row), of_row(c, duplicate.of), bytes);
    }
  }
}

void Outputs::clear_empty_rows(std::int64_t shard_count) const {
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (columns_[c].pooling == Pooling::none) continue;
    for (std::int64_t s = 0; s < shard_count; ++s) {
      for (std::int64_t r = 0; r < shards_[s].rows; ++r) {
        if (shards_[s].offsets[r] != shards_[s].offsets[r + 1]) continue;
        std::memset(shards_[s].outputs[c] + r * widths_[c], 0, static_cast<std::size_t>(widths_[c]) * sizeof(float));
      }
    }
  }
}

}  // namespace unrolled
