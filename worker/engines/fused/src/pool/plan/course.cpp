#include "pool/plan/course.h"

#include <algorithm>
#include <cstring>

#include "model/elements.h"

namespace unrolled {
namespace {

// Copies `count` vectors that are `stride` bytes apart at both places; if they are parts of wider vectors, the bytes
// between them stay as they are.
void copy_vectors(char* to, const char* from, std::int64_t count, std::int64_t stride, std::int64_t bytes) {
  if (stride == bytes) {
    std::memcpy(to, from, static_cast<std::size_t>(count * stride));
    return;
  }
  for (std::int64_t k = 0; k < count; ++k) {
    std::memcpy(to + k * stride, from + k * stride, static_cast<std::size_t>(bytes));
  }
}

}  // namespace

std::int64_t Vectors::bytes_of(const Kernel& kernel, std::int64_t width) {
  return round_up(width, kernel.block_inputs) * kernel.element_bytes;
}

void Vectors::prepare(const Kernel& kernel, std::int64_t width, std::int64_t tokens) {
  stride_ = bytes_of(kernel, width);
  char* const vectors = bytes_.reserve<char>(static_cast<std::size_t>(tokens * stride_));
  const std::int64_t written = width / kernel.group_inputs * kernel.group_inputs * kernel.element_bytes;
  if (written == stride_) return;
  // The rest of the last block has weights of 0, but must not be NaN.
  for (std::int64_t k = 0; k < tokens; ++k) {
    std::memset(vectors + k * stride_ + written, 0, static_cast<std::size_t>(stride_ - written));
  }
}

void Vectors::shrink(std::size_t bytes) {
  if (bytes_.capacity() > bytes) bytes_ = Buffer();
}

Course::Course(const Model& model, const Stage& stage, bool backward, const std::vector<Row>& rows,
               const std::vector<Vectors*>& handed, const Inputs& inputs, const Outputs& outputs)
    : model_(model), stage_(stage), backward_(backward), rows_(rows), handed_(handed),
      inputs_(inputs), outputs_(outputs), per_token_(stage.end - stage.first, kNone) {
  // If both directions compute a map, one of them keeps its results.
  const auto keeps = [&](std::size_t l) { return !(stage.both() && backward && model.is_map(l)); };
  for (std::size_t l = stage.first; l < stage.end; ++l) {
    if (handed[l] && keeps(l)) given_.push_back(l);
  }
  for (std::size_t c = 0; c < outputs.size(); ++c) {
    const std::size_t l = static_cast<std::size_t>(outputs.column(c).layer);
    if (l < stage.first || l >= stage.end || !keeps(l)) continue;
    if (outputs.column(c).pooling == Pooling::none) {
      per_token_[l - stage.first] = c;
    } else {
      pooled_.push_back({c, l, outputs.column(c).pooling});
    }
  }
}

std::int64_t Course::nodes() const {
  std::int64_t nodes = 0;
  for (const Row& row : rows_) nodes += row.own_nodes();
  return nodes;
}

bool Course::reads_floats(std::size_t l) const {
  return layer(l).residual ||
         std::any_of(pooled_.begin(), pooled_.end(), [&](const Pooled& pooled) { return pooled.layer == l; });
}

void Course::copy_shared(const Walk::Branch& branch, std::int32_t level) const {
  const Row &owner = *branch.owner, &row = *branch.row;
  // If rows are read backward, the shared tokens are their last ones.
  const std::int64_t from = backward_ ? owner.length - level : 0, to = backward_ ? row.length - level : 0;
  constexpr std::int64_t kFloat = sizeof(float);
  for (std::size_t l = stage_.first; l < stage_.end; ++l) {
    const std::size_t c = per_token(l);
    if (c == kNone) continue;
    copy_vectors(reinterpret_cast<char*>(outputs_.of_token(c, row, to) + offset(l)),
                 reinterpret_cast<const char*>(outputs_.of_token(c, owner, from) + offset(l)), level,
                 outputs_.width(c) * kFloat, pass(l).state_dim * kFloat);
  }
  for (const Pooled& pooled : pooled_) {
    if (!takes_first_level(pooled.pooling)) continue;
    const std::int64_t part = offset(pooled.layer);
    std::memcpy(outputs_.of_row(pooled.column, row) + part, outputs_.of_row(pooled.column, owner) + part,
                static_cast<std::size_t>(pass(pooled.layer).state_dim * kFloat));
  }
  for (const std::size_t l : given_) {
    const Vectors& vectors = given_vectors(l);
    for (std::int64_t k = 0; k < level; ++k) {
      copy_elements(model_.kernel(), vectors.at(row, to + k), offset(l), vectors.at(owner, from + k), offset(l),
                    pass(l).state_dim);
    }
  }
}

}  // namespace unrolled
