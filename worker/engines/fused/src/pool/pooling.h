// The state of pooling: every node has one sum or one maximum, continued from its parent's. So a pooled column needs no
// memory for each token.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pool/outputs.h"

namespace unrolled {

class PoolingStates {
 public:
  // Bytes for one node; 0 if nothing is kept.
  static std::size_t node_bytes(Pooling pooling, std::int64_t width);

  // `slots` is the memory of the nodes' values, which are `node_bytes` apart.
  PoolingStates(Pooling pooling, std::int64_t width, char* slots)
      : pooling_(pooling), width_(width), node_bytes_(node_bytes(pooling, width)), slots_(slots) {}

  // Adds the vector `values` (width) of the node in `slot`; its parent, if it has one, is in another slot.
  void add(std::size_t slot, const std::size_t* parent, const float* values) const;
  // Writes the pooled vector of a row of `length` tokens that ends at the node in `slot`. For Pooling::last and
  // Pooling::first it is `values`.
  void finish(std::size_t slot, const float* values, std::int64_t length, float* pooled) const;

  std::size_t node_bytes() const { return node_bytes_; }
  char* at(std::size_t slot) const { return slots_ + slot * node_bytes_; }

 private:
  Pooling pooling_;
  std::int64_t width_;
  std::size_t node_bytes_;
  char* slots_;
};

}  // namespace unrolled
