// From the pool's rows to a trie of token prefixes.
//
// The trie is never built: rows are sorted, and each row knows how many tokens it shares with the row before
// it. Row r has a node of its own at every level shared..length-1 (level t is the state after token t);
// the states before that belong to rows in front of it. Walking level by level then is a merge (walk.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace unrolled {

// One shard as the caller holds it: row r is values[offsets[r]..offsets[r + 1]).
struct Shard {
  const std::int32_t* values;
  const std::int64_t* offsets;
  std::int64_t rows;
  std::int64_t value_count;
  float* output;  // (value_count, units)
};

struct Row {
  const std::int32_t* tokens;
  float* output;         // (length, units), in the caller's array
  std::int32_t length;   // at least 1
  std::int32_t shared;   // leading tokens in common with the row before it in sorted order

  std::int64_t own_nodes() const { return length - shared; }
};

// What was wrong with the caller's arrays.
enum class Fault { none, offsets, token, too_many_rows, row_too_long };

struct InputError {
  Fault fault;
  std::int64_t shard;
  std::int64_t position;  // of the offset, or of the token in values
  std::int64_t value;     // what was found there
};

// The pool's rows in sorted order, empty ones left out. Throws InputError, std::bad_alloc.
std::vector<Row> plan_rows(const Shard* shards, std::int64_t shard_count, std::int64_t vocab_size,
                           std::int64_t units);

// Rows first..last of the sorted order.
struct Span {
  std::size_t first, last;
};

// Cuts the sorted rows into spans of about equal work, at least `pieces` and none of more than `max_rows`
// rows. A cut costs the states that its first row shares with the rows in front of it, computed once more:
// so each is made where few are shared.
std::vector<Span> cut_spans(const std::vector<Row>& rows, std::size_t pieces, std::size_t max_rows);

}  // namespace unrolled
