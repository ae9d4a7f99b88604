// From the pool's rows to a trie of token prefixes.
//
// The trie is never built: rows are sorted, and each row knows how many tokens it shares with the row before
// it. Row r has a node of its own at every level shared..length-1 (level t is the state after t + 1 tokens);
// the states before that belong to rows in front of it. Walking level by level then is a merge (walk.h).
//
// A backward layer reads a row from its last token on: the same with the rows reversed, so that it shares
// suffixes. Where a state depends on the whole row, rows share nothing (share_nothing).
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
  float* const* outputs;  // one array for each column
};

struct Row {
  const std::int32_t* tokens;
  std::int32_t length;   // at least 1
  std::int32_t shared;   // tokens in common with the row before it in sorted order, in the order of reading
  std::uint32_t shard;
  std::uint32_t index;   // within the shard
  std::int64_t vectors;  // its first vector's place in what a stage hands to the next

  std::int64_t own_nodes() const { return length - shared; }
  // Where in the row the token lies that level `level` reads.
  std::int32_t position(std::int32_t level, bool backward) const { return backward ? length - 1 - level : level; }
};

// What was wrong with the caller's arrays.
enum class Fault { none, offsets, token, too_many_rows, row_too_long };

struct InputError {
  Fault fault;
  std::int64_t shard;
  std::int64_t position;  // of the offset, or of the token in values
  std::int64_t value;     // what was found there
};

// The pool's rows, checked, empty ones left out, in the caller's order. Throws InputError, std::bad_alloc.
std::vector<Row> list_rows(const Shard* shards, std::int64_t shard_count, std::int64_t vocab_size);

// Sorts rows as they are read, forward or backward, and fills in what each shares.
void sort_rows(std::vector<Row>& rows, bool backward, std::int64_t vocab_size);

// A row that is equal to another, and so needs only its results.
struct Duplicate {
  Row of, row;
};

// Takes the duplicates out of sorted rows.
std::vector<Duplicate> take_duplicates(std::vector<Row>& rows);

// Each row alone, where what it reads depends on more than the tokens in common.
void share_nothing(std::vector<Row>& rows);

// Rows first..last of the sorted order.
struct Span {
  std::size_t first, last;
};

// Cuts the sorted rows into spans of about equal work, at least `pieces` and none of more than `max_rows`
// rows. A cut costs the states that its first row shares with the rows in front of it, computed once more:
// so each is made where few are shared.
std::vector<Span> cut_spans(const std::vector<Row>& rows, std::size_t pieces, std::size_t max_rows);

}  // namespace unrolled
