#include "pool/walk.h"

#include <algorithm>
#include <cstdlib>

namespace unrolled {

Walk::Walk(const std::vector<Row>& rows, Span span) : rows_(rows.data()) {
  nodes_.reserve(span.last - span.first);
  // A counting sort by the level at which each row begins; the first row is a node before any level.
  std::int32_t deepest = 0;
  for (std::size_t r = span.first + 1; r < span.last; ++r) deepest = std::max(deepest, rows_[r].shared);
  std::vector<std::uint32_t> place(static_cast<std::size_t>(deepest) + 2, 0);
  for (std::size_t r = span.first; r < span.last; ++r) {
    const std::int32_t shared = r == span.first ? 0 : rows_[r].shared;
    ++place[static_cast<std::size_t>(shared) + 1];
    remaining_ += rows_[r].length - shared;
  }
  for (std::size_t t = 1; t < place.size(); ++t) place[t] += place[t - 1];
  waiting_.resize(span.last - span.first);
  for (std::size_t r = span.first; r < span.last; ++r) {
    const std::int32_t shared = r == span.first ? 0 : rows_[r].shared;
    waiting_[place[static_cast<std::size_t>(shared)]++] = static_cast<std::uint32_t>(r);
  }
}

bool Walk::advance() {
  const std::int32_t level = ++level_;
  next_nodes_.clear();
  parents_.clear();
  branches_.clear();
  std::size_t above = 0;  // how many nodes of the level before have been merged
  const auto pass = [&](std::size_t until) {
    for (; above < until; ++above) {
      if (rows_[nodes_[above]].length > level) {
        next_nodes_.push_back(nodes_[above]);
        parents_.push_back(static_cast<std::uint32_t>(above));
      }
    }
  };
  for (; begun_ < waiting_.size(); ++begun_) {
    const std::uint32_t r = waiting_[begun_];
    const Row& row = rows_[r];
    std::uint32_t parent = 0;
    if (level > 0) {
      if (row.shared > level) break;
      const auto end = std::lower_bound(nodes_.begin() + static_cast<std::ptrdiff_t>(above), nodes_.end(), r);
      pass(static_cast<std::size_t>(end - nodes_.begin()));
      parent = static_cast<std::uint32_t>(above - 1);
      branches_.push_back({&rows_[nodes_[parent]], &row});
    } else if (begun_ > 0 && row.shared > 0) {
      break;
    }
    if (row.length > level) {
      next_nodes_.push_back(r);
      parents_.push_back(parent);
    }
  }
  pass(nodes_.size());
  nodes_.swap(next_nodes_);
  remaining_ -= static_cast<std::int64_t>(nodes_.size());
  return !nodes_.empty();
}

bool Walk::split(std::int64_t least, Walk& other, std::size_t& from) {
  if (nodes_.size() < 2 || remaining_ < 2 * least) return false;
  // work[k]: the nodes that are left below node k of this level, with those of rows that branch off it later.
  std::vector<std::int64_t> work(nodes_.size());
  for (std::size_t k = 0; k < nodes_.size(); ++k) work[k] = rows_[nodes_[k]].length - (level_ + 1);
  const auto under = [&](std::uint32_t r) {
    return static_cast<std::size_t>(std::upper_bound(nodes_.begin(), nodes_.end(), r) - nodes_.begin()) - 1;
  };
  for (std::size_t w = begun_; w < waiting_.size(); ++w) {
    work[under(waiting_[w])] += rows_[waiting_[w]].own_nodes();
  }
  std::int64_t kept = 0, best_kept = 0;
  std::size_t best = 0;
  for (std::size_t k = 1; k < nodes_.size(); ++k) {
    kept += work[k - 1];
    if (best == 0 || std::abs(2 * kept - remaining_) < std::abs(2 * best_kept - remaining_)) {
      best = k;
      best_kept = kept;
    }
  }
  if (best_kept < least || remaining_ - best_kept < least) return false;

  from = best;
  const std::uint32_t boundary = nodes_[best];
  other.level_ = level_;
  other.remaining_ = remaining_ - best_kept;
  other.nodes_.assign(nodes_.begin() + static_cast<std::ptrdiff_t>(best), nodes_.end());
  other.waiting_.clear();
  other.begun_ = 0;
  std::vector<std::uint32_t> staying;
  for (std::size_t w = begun_; w < waiting_.size(); ++w) {
    (waiting_[w] < boundary ? staying : other.waiting_).push_back(waiting_[w]);
  }
  nodes_.resize(best);
  waiting_.swap(staying);
  begun_ = 0;
  remaining_ = best_kept;
  return true;
}

}  // namespace unrolled
