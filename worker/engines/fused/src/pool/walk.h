// One walk down the trie of a span of sorted rows, level by level.
//
// At level t the nodes are the rows with shared <= t < length, in sorted order. A node's parent is its row's node one
// level up or, if the row begins at t, the last node before it there: every row in between shares more than t tokens
// and so has no node at t - 1. A level is therefore a merge of the level before it with the rows that begin at it, and
// no more of the trie is kept than two levels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "pool/plan/plan.h"

namespace unrolled {

class Walk {
 public:
  // All rows of a span. The first row owns all of its nodes, whatever it shares with rows outside the span.
  Walk(const std::vector<Row>& rows, Span span);

  // Finds the next level's nodes; false if there are none.
  bool advance();

  // A row that begins at this level, and the row that owns the states before it.
  struct Branch {
    const Row *owner, *row;
  };
  const std::vector<Branch>& branches() const { return branches_; }

  std::int32_t level() const { return level_; }
  std::size_t size() const { return nodes_.size(); }
  const Row& row(std::size_t node) const { return rows_[nodes_[node]]; }
  std::uint32_t parent(std::size_t node) const { return parents_[node]; }
  // How many nodes are left.
  std::int64_t remaining() const { return remaining_; }

  // Call it between two levels. Moves the later part of the subtries, about half of the work, to the walk `other`.
  // `from` is the first of this level's nodes that moved. False, and nothing is moved, if either walk would have fewer
  // than `least` nodes.
  bool split(std::int64_t least, Walk& other, std::size_t& from);

  explicit Walk(const std::vector<Row>& rows) : rows_(rows.data()) {}

 private:
  const Row* rows_;
  std::int32_t level_ = -1;
  std::int64_t remaining_ = 0;
  std::vector<std::uint32_t> nodes_, parents_;       // row of each node; its parent's index one level up
  std::vector<std::uint32_t> next_nodes_;            // a member, so that its memory is kept
  std::vector<std::uint32_t> waiting_;               // rows that have not begun, ordered by level, then by row
  std::size_t begun_ = 0;                            // how many of them have begun since
  std::vector<Branch> branches_;
};

}  // namespace unrolled
