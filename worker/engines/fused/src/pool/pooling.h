// What pooling keeps of the tokens that a walk has passed: for every node one sum or one maximum,
// carried on from its parent. So a pooled column costs no memory for each token.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pool/outputs.h"

namespace unrolled {

class PoolingStates {
 public:
  // Bytes that a node takes; 0 where nothing is carried.
  static std::size_t node_bytes(Pooling pooling, std::int64_t width);

  // `slots` is where the nodes' values lie, `node_bytes` apart.
  PoolingStates(Pooling pooling, std::int64_t width, char* slots)
      : pooling_(pooling), width_(width), node_bytes_(node_bytes(pooling, width)), slots_(slots) {}

  // The node in `slot` has the vector `values` (width); its parent, if there is one, lies in another slot.
  void add(std::size_t slot, const std::size_t* parent, const float* values) const;
  // The pooled vector of a row of `length` tokens that ends at the node in `slot`. Pooling::last and Pooling::first are
  // `values` themselves.
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
