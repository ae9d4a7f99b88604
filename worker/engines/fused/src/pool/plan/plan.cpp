// One file, because checking, sorting and cutting have no other caller and share what they know of a row's tokens.
#include "pool/plan/plan.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace unrolled {
namespace {

// Up to this number of rows are compared token by token; more are sorted by keys of several tokens.
constexpr std::size_t kFew = 6;

void check_offsets(const Shard& shard, std::int64_t index) {
  if (shard.rows < 0 || shard.value_count < 0) throw InputError{Fault::offsets, index, 0, shard.rows};
  if (shard.offsets[0] != 0) throw InputError{Fault::offsets, index, 0, shard.offsets[0]};
  for (std::int64_t r = 0; r < shard.rows; ++r) {
    const std::int64_t begin = shard.offsets[r], end = shard.offsets[r + 1];
    if (end < begin || end > shard.value_count) throw InputError{Fault::offsets, index, r + 1, end};
    if (end - begin > std::numeric_limits<std::int32_t>::max()) {
      throw InputError{Fault::row_too_long, index, r, end - begin};
    }
  }
  if (shard.offsets[shard.rows] != shard.value_count) {
    throw InputError{Fault::offsets, index, shard.rows, shard.offsets[shard.rows]};
  }
}

// The token that a level reads; 0 after a row's end.
std::int32_t token_at(const Row& row, std::int32_t level, bool backward) {
  return level < row.length ? row.tokens[row.position(level, backward)] : 0;
}

// The next tokens of a row as one number that has the order of the tokens. No id is 0, so a row that ends sorts first,
// and if equal keys end with a 0, the rows are equal.
struct Keys {
  int bits;           // bits of one token
  int tokens_in_key;
  bool backward;

  Keys(std::int64_t vocab_size, bool from_the_end)
      : bits(vocab_size < 65536 ? 16 : 32), tokens_in_key(64 / bits), backward(from_the_end) {}

  std::uint64_t at(const Row& row, std::int32_t depth) const {
    std::uint64_t key = 0;
    for (int k = 0; k < tokens_in_key; ++k, ++depth) {
      key = key << bits | static_cast<std::uint32_t>(token_at(row, depth, backward));
    }
    return key;
  }
  bool row_goes_on(std::uint64_t key) const { return (key & ((std::uint64_t{1} << bits) - 1)) != 0; }
};

struct Keyed {
  std::uint64_t key;
  std::uint32_t row;

  bool operator<(const Keyed& other) const {
    return key != other.key ? key < other.key : row < other.row;
  }
};

std::int32_t common_prefix(const Row& a, const Row& b, std::int32_t from, bool backward) {
  const std::int32_t most = std::min(a.length, b.length);
  std::int32_t depth = from;
  while (depth < most && token_at(a, depth, backward) == token_at(b, depth, backward)) ++depth;
  return depth;
}

bool row_before(const std::vector<Row>& rows, const Keyed& a, const Keyed& b, std::int32_t from, bool backward) {
  const Row &x = rows[a.row], &y = rows[b.row];
  const std::int32_t depth = common_prefix(x, y, from, backward);
  const std::int32_t tx = token_at(x, depth, backward), ty = token_at(y, depth, backward);
  return tx != ty ? tx < ty : a.row < b.row;
}

// Sorts by state, then by key, then each group of equal keys by the tokens after these.
void sort_keyed(const std::vector<Row>& rows, std::vector<Keyed>& keyed, const Keys& keys) {
  struct Group {
    std::size_t begin, end;
    std::int32_t depth;
  };
  for (Keyed& each : keyed) each.key = rows[each.row].state;
  std::sort(keyed.begin(), keyed.end());
  std::vector<Group> groups;
  for (std::size_t k = 0; k < keyed.size(); ++k) {
    if (k == 0 || keyed[k].key != keyed[k - 1].key) groups.push_back({k, k, 0});
    groups.back().end = k + 1;
  }
  while (!groups.empty()) {
    const Group group = groups.back();
    groups.pop_back();
    const auto begin = keyed.begin() + static_cast<std::ptrdiff_t>(group.begin);
    const auto end = keyed.begin() + static_cast<std::ptrdiff_t>(group.end);
    if (group.end - group.begin <= kFew) {
      std::sort(begin, end, [&](const Keyed& a, const Keyed& b) {
        return row_before(rows, a, b, group.depth, keys.backward);
      });
      continue;
    }
    bool all_equal = true;
    for (auto it = begin; it != end; ++it) {
      it->key = keys.at(rows[it->row], group.depth);
      all_equal = all_equal && it->key == begin->key;
    }
    if (!all_equal) std::sort(begin, end);
    for (std::size_t from = group.begin; from < group.end;) {
      std::size_t to = from + 1;
      while (to < group.end && keyed[to].key == keyed[from].key) ++to;
      if (to - from > 1 && keys.row_goes_on(keyed[from].key)) {
        groups.push_back({from, to, group.depth + keys.tokens_in_key});
      }
      from = to;
    }
  }
}

struct Cut {
  std::size_t at;      // the row that begins the next span
  std::int64_t nodes;  // nodes of the span before it
};

// Where a span that begins at `first` should end. A cut costs the states that are computed twice, and its distance from
// the target as far as that is more than a sixteenth of the target.
Cut best_cut(const std::vector<Row>& rows, std::size_t first, std::size_t max_rows, std::int64_t target) {
  const std::int64_t slack = target / 16;
  const std::size_t furthest = first + std::min(max_rows, rows.size() - first);
  Cut best{furthest, 0};
  std::int64_t best_cost = std::numeric_limits<std::int64_t>::max(), nodes = 0;
  for (std::size_t at = first + 1; at <= furthest; ++at) {
    nodes += rows[at - 1].own_nodes();
    const std::int64_t beyond = std::max<std::int64_t>(std::abs(nodes - target) - slack, 0);
    const std::int64_t cost = beyond + (at < rows.size() ? rows[at].shared : 0);
    if (cost < best_cost) {
      best = {at, nodes};
      best_cost = cost;
    } else if (nodes > target && beyond > best_cost) {
      break;
    }
  }
  return best;
}

}  // namespace

void check_tokens(const Shard& shard, std::int64_t index, std::int64_t vocab_size) {
  const std::uint32_t limit = static_cast<std::uint32_t>(vocab_size);
  std::uint32_t bad = 0;
  for (std::int64_t k = 0; k < shard.value_count; ++k) {
    bad |= static_cast<std::uint32_t>(static_cast<std::uint32_t>(shard.values[k]) - 1u >= limit);
  }
  if (!bad) return;
  for (std::int64_t k = 0; k < shard.value_count; ++k) {
    if (shard.values[k] < 1 || shard.values[k] > vocab_size) {
      throw InputError{Fault::token, index, k, shard.values[k]};
    }
  }
}

std::vector<Row> list_rows(const Shard* shards, std::int64_t shard_count, std::int64_t vocab_size) {
  std::vector<Row> rows;
  std::size_t total = 0;
  for (std::int64_t s = 0; s < shard_count; ++s) {
    check_offsets(shards[s], s);
    check_tokens(shards[s], s, vocab_size);
    total += static_cast<std::size_t>(shards[s].rows);
  }
  constexpr std::size_t kMost = std::numeric_limits<std::uint32_t>::max();
  if (total >= kMost || static_cast<std::size_t>(shard_count) >= kMost) {
    throw InputError{Fault::too_many_rows, 0, 0, static_cast<std::int64_t>(total)};
  }
  rows.reserve(total);
  for (std::int64_t s = 0; s < shard_count; ++s) {
    const Shard& shard = shards[s];
    for (std::int64_t r = 0; r < shard.rows; ++r) {
      const std::int64_t begin = shard.offsets[r], length = shard.offsets[r + 1] - begin;
      if (length == 0) continue;
      rows.push_back({shard.values + begin, static_cast<std::int32_t>(length), 0, static_cast<std::uint32_t>(s),
                      static_cast<std::uint32_t>(r), 0});
    }
  }
  return rows;
}

void sort_rows(std::vector<Row>& rows, bool backward, std::int64_t vocab_size) {
  std::vector<Keyed> keyed(rows.size());
  for (std::size_t r = 0; r < rows.size(); ++r) keyed[r].row = static_cast<std::uint32_t>(r);
  sort_keyed(rows, keyed, Keys(vocab_size, backward));

  std::vector<Row> sorted;
  sorted.reserve(rows.size());
  for (const Keyed& k : keyed) sorted.push_back(rows[k.row]);
  for (std::size_t r = 0; r < sorted.size(); ++r) {
    const bool alone = r == 0 || sorted[r - 1].state != sorted[r].state;
    sorted[r].shared = alone ? 0 : common_prefix(sorted[r - 1], sorted[r], 0, backward);
  }
  rows.swap(sorted);
}

std::vector<Duplicate> take_duplicates(std::vector<Row>& rows) {
  std::vector<Duplicate> duplicates;
  std::size_t kept = 0;
  for (const Row& row : rows) {
    if (row.shared == row.length) {
      duplicates.push_back({rows[kept - 1], row});
    } else {
      rows[kept++] = row;
    }
  }
  rows.resize(kept);
  return duplicates;
}

void share_nothing(std::vector<Row>& rows) {
  for (Row& row : rows) row.shared = 0;
}

std::vector<Span> cut_spans(const std::vector<Row>& rows, std::size_t pieces, std::size_t max_rows) {
  pieces = std::max(pieces, (rows.size() + max_rows - 1) / max_rows);
  std::int64_t left = 0;  // nodes not yet in a span
  for (const Row& row : rows) left += row.own_nodes();

  std::vector<Span> spans;
  for (std::size_t first = 0; first < rows.size();) {
    const std::int64_t spans_left = spans.size() < pieces ? static_cast<std::int64_t>(pieces - spans.size()) : 1;
    const Cut cut = best_cut(rows, first, max_rows, left / spans_left);
    spans.push_back({first, cut.at});
    left -= cut.nodes;
    first = cut.at;
  }
  return spans;
}

}  // namespace unrolled
