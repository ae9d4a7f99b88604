#include "pool/plan/initial_states.h"

#include <algorithm>
#include <cstring>

namespace unrolled {
namespace {

struct Hashed {
  std::uint64_t hash;
  const float* state;
  Row* row;
};

std::uint64_t hash_of(const float* state, std::int64_t dim) {
  std::uint64_t hash = 0;
  for (std::int64_t k = 0; k < dim; ++k) {
    std::uint32_t bits;
    std::memcpy(&bits, state + k, sizeof bits);
    hash = (hash ^ bits) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace

void number_states(std::vector<Row>& rows, const Shard* shards, std::int64_t dim) {
  const std::size_t bytes = static_cast<std::size_t>(dim) * sizeof(float);
  std::vector<Hashed> hashed;
  hashed.reserve(rows.size());
  for (Row& row : rows) {
    const float* const state = shards[row.shard].states + row.index * dim;
    hashed.push_back({hash_of(state, dim), state, &row});
  }
  std::sort(hashed.begin(), hashed.end(), [](const Hashed& a, const Hashed& b) { return a.hash < b.hash; });
  std::uint32_t number = 0;
  for (std::size_t from = 0, to; from < hashed.size(); from = to, ++number) {
    const auto differ = [&](const Hashed& each) { return std::memcmp(each.state, hashed[from].state, bytes) != 0; };
    for (to = from + 1; to < hashed.size() && hashed[to].hash == hashed[from].hash;) ++to;
    const auto begin = hashed.begin() + static_cast<std::ptrdiff_t>(from);
    const auto end = hashed.begin() + static_cast<std::ptrdiff_t>(to);
    // Different states seldom have one hash. A chosen collision costs a sort by all their bits, and is no error.
    const bool collide = std::any_of(begin, end, differ);
    if (collide) {
      std::sort(begin, end, [&](const Hashed& a, const Hashed& b) { return std::memcmp(a.state, b.state, bytes) < 0; });
    }
    for (std::size_t k = from; k < to; ++k) {
      if (collide && k > from && std::memcmp(hashed[k].state, hashed[k - 1].state, bytes) != 0) ++number;
      hashed[k].row->state = number;
    }
  }
}

}  // namespace unrolled
