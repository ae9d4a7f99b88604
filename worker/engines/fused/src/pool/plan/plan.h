// Turns the pool's rows into a trie of token prefixes.
//
// The trie is never built: rows are sorted, and each row knows how many tokens it shares with the row before it. A row
// has its own nodes at the levels shared..length-1 (level t is the state after t + 1 tokens); the states before these
// belong to earlier rows. Walking level by level then is a merge (walk.h).
//
// A backward layer reads a row from its last token on, so the reversed rows are sorted and suffixes are shared. If a
// state depends on the whole row, rows share nothing (share_nothing). Rows with different initial states share nothing
// either: the state is the root of their part of the trie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace unrolled {

// One shard in the caller's memory: row r is values[offsets[r]..offsets[r + 1]).
struct Shard {
  const std::int32_t* values;
  const std::int64_t* offsets;
  std::int64_t rows;
  std::int64_t value_count;
  float* const* outputs;  // one array for each column
  // If the model reads vectors: those that the values name, counted from 1, each as wide as the model reads them.
  const float* vectors = nullptr;
  std::int64_t vector_count = 0;
  // If the model reads initial states: one for each row, as wide as all those of its layers together.
  const float* states = nullptr;
};

struct Row {
  const std::int32_t* tokens;
  std::int32_t length;   // at least 1
  std::int32_t shared;   // how many tokens equal those of the row before it in sorted order, in the order of reading
  std::uint32_t shard;
  std::uint32_t index;   // within the shard
  std::int64_t vectors;  // the index of its first vector among those that a stage hands to the next
  std::uint32_t state = 0;  // equal in two rows if their initial states are; see initial_states.h

  std::int64_t own_nodes() const { return length - shared; }
  // The position in the row of the token that a level reads.
  std::int32_t position(std::int32_t level, bool backward) const { return backward ? length - 1 - level : level; }
};

// What is wrong with the caller's arrays.
enum class Fault { none, offsets, token, too_many_rows, row_too_long };

struct InputError {
  Fault fault;
  std::int64_t shard;
  std::int64_t position;  // the index of the offset, or of the token in values
  std::int64_t value;     // the value there
};

// Checks that a shard's values are in 1..vocab_size; `index` is its number. Throws InputError.
void check_tokens(const Shard& shard, std::int64_t index, std::int64_t vocab_size);

// The pool's rows that are not empty, checked, in the caller's order. Throws InputError, std::bad_alloc.
std::vector<Row> list_rows(const Shard* shards, std::int64_t shard_count, std::int64_t vocab_size);

// Sorts rows by the tokens in the order in which they are read, and fills in `shared`.
void sort_rows(std::vector<Row>& rows, bool backward, std::int64_t vocab_size);

// A row that equals another one, `of`, and gets a copy of its results.
struct Duplicate {
  Row of, row;
};

// Removes the duplicates from sorted rows.
std::vector<Duplicate> take_duplicates(std::vector<Row>& rows);

// Makes rows share nothing, because what they read depends on more than the shared tokens.
void share_nothing(std::vector<Row>& rows);

// Rows first..last of the sorted order.
struct Span {
  std::size_t first, last;
};

// Cuts the sorted rows into at least `pieces` spans of about equal work, none of more than `max_rows` rows. The states
// that a span's first row shares with earlier rows are computed again, so cuts are made where few are shared.
std::vector<Span> cut_spans(const std::vector<Row>& rows, std::size_t pieces, std::size_t max_rows);

}  // namespace unrolled
