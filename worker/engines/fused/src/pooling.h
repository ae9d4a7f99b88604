// What pooling keeps of the tokens that a walk has passed: for every node of a level one sum or one maximum,
// carried on from its parent. So a pooled column costs no memory for each token.
#pragma once

#include <cstddef>
#include <cstdint>

#include "memory.h"
#include "outputs.h"

namespace unrolled {

class PoolStates {
 public:
  // Bytes that a node takes, in each of two levels; 0 where nothing is carried.
  static std::size_t node_bytes(Pool pool, std::int64_t width);

  // Memory is kept from one course to the next. Throws std::bad_alloc.
  void prepare(Pool pool, std::int64_t width, std::size_t nodes);
  // Node `node` has the vector `values` (width); its parent's place is in the level before, if there is one.
  void add(std::size_t node, const std::size_t* parent, const float* values);
  // The pooled vector of a row of `length` tokens that ends at a node of the level being computed. Pool::last and
  // Pool::first are `values` themselves.
  void finish(std::size_t node, const float* values, std::int64_t length, float* pooled) const;
  void next_level() { now_.swap(next_); }

  std::size_t node_bytes() const { return node_bytes_; }
  char* now(std::size_t node) const { return now_.as<char>() + node * node_bytes_; }

 private:
  Pool pool_ = Pool::none;
  std::int64_t width_ = 0;
  std::size_t node_bytes_ = 0;
  Buffer now_, next_;
};

}  // namespace unrolled
