// One walk down the trie of a span of sorted rows, level by level.
//
// At level t the nodes are the rows with shared <= t < length, in sorted order. A node's parent is the same
// row's node one level up, or, for a row that begins at t, the last node in front of it there: every row in
// between shares more than t tokens and so has no node at t - 1. So a level is one merge of the level before
// with the rows that begin at it, and nothing of the trie is kept but two levels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "pool/plan/plan.h"

namespace unrolled {

class Walk {
 public:
  // The whole of a span. The first row owns all of its nodes, whatever it shares with rows outside.
  Walk(const std::vector<Row>& rows, Span span);

  // Makes the next level's nodes; false when there are none.
  bool advance();

  // A row that began at this level, and the one that owns the states before it.
  struct Branch {
    const Row *owner, *row;
  };
  const std::vector<Branch>& branches() const { return branches_; }

  std::int32_t level() const { return level_; }
  std::size_t size() const { return nodes_.size(); }
  const Row& row(std::size_t node) const { return rows_[nodes_[node]]; }
  std::uint32_t parent(std::size_t node) const { return parents_[node]; }
  // Nodes that are still to be made.
  std::int64_t remaining() const { return remaining_; }

  // Between two levels: moves the later part of the subtries, about half of the work, into a walk of its
  // own. `from` is the first of this level's nodes that went. False, and nothing moved, where a part would
  // have fewer than `least` nodes.
  bool split(std::int64_t least, Walk& other, std::size_t& from);

  explicit Walk(const std::vector<Row>& rows) : rows_(rows.data()) {}

 private:
  const Row* rows_;
  std::int32_t level_ = -1;
  std::int64_t remaining_ = 0;
  std::vector<std::uint32_t> nodes_, parents_;       // row of each node; its parent's place one level up
  std::vector<std::uint32_t> next_nodes_;            // kept for its memory
  std::vector<std::uint32_t> waiting_;               // rows that have not begun, by level, then by row
  std::size_t begun_ = 0;                            // how many of waiting_ have
  std::vector<Branch> branches_;
};

}  // namespace unrolled
