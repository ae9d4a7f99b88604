#include "pool/plan/inputs.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>

#include "model/elements.h"

namespace unrolled {
namespace {

constexpr std::int64_t kMostInputs = 32;  // of a block

// `to_bfloat16` of a finite number, without a branch: compilers make vectors of it.
inline std::uint32_t round_finite(float x) {
  const std::uint32_t bits = bits_of(x), size = bits & 0x7fffffff;
  return size < bits_of(kLeastBfloat16) ? 0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// Writes numbers as `put_element` writes them, and zeros after them, up to whole blocks.
template <class Element>
void convert_blocks(const Kernel& kernel, const float* from, std::int64_t dim, const std::vector<std::int64_t>& places,
                    Element* out) {
  const std::int64_t block = kernel.block_inputs;
  float numbers[kMostInputs];
  std::uint32_t rounded[kMostInputs];
  for (std::int64_t begin = 0; begin < dim; begin += block, out += block * kernel.pieces) {
    for (std::int64_t k = 0; k < block; ++k) numbers[k] = begin + k < dim ? from[begin + k] : 0.0f;
    for (int piece = 0; piece < kernel.pieces; ++piece) {
      for (std::int64_t k = 0; k < block; ++k) rounded[k] = round_finite(numbers[k]);
      for (std::int64_t k = 0; k < block; ++k) {
        Element& element = out[piece * block + places[static_cast<std::size_t>(k)]];
        if constexpr (sizeof(Element) == 2) {
          element = static_cast<std::uint16_t>(rounded[k]);
        } else {
          element = float_of(rounded[k] << 16);
        }
      }
      for (std::int64_t k = 0; k < block; ++k) numbers[k] -= float_of(rounded[k] << 16);
    }
  }
}

}  // namespace

Inputs::Inputs(const Model& model) : model_(model) {
  const Kernel& kernel = model.kernel();
  if (kernel.block_inputs > kMostInputs) throw std::logic_error("blocks are longer than this file knows");
  for (std::int64_t k = 0; k < kernel.block_inputs; ++k) places_.push_back(element_at(kernel, k));
}

void Inputs::convert_numbers(const float* from, std::int64_t dim, void* out) const {
  const Kernel& kernel = model_.kernel();
  if (kernel.block_inputs == 1) {
    std::memcpy(out, from, static_cast<std::size_t>(dim) * sizeof(float));
  } else if (piece_bytes(kernel) == 2) {
    convert_blocks(kernel, from, dim, places_, static_cast<std::uint16_t*>(out));
  } else {
    convert_blocks(kernel, from, dim, places_, static_cast<float*>(out));
  }
}

void Inputs::take(const Shard* shards, std::int64_t count) {
  given_ = shards;
  if (!model_.vector_dim()) return;
  number(shards, count);
  const Kernel& kernel = model_.kernel();
  const std::int64_t padded = round_up(model_.vector_dim(), kernel.block_inputs);
  stride_ = padded * kernel.element_bytes;
  converts_ = kernel.block_inputs > 1;  // in float32, a kernel reads numbers where the caller has them
  if (!converts_) return;
  const char* const vectors = vectors_.reserve<char>(static_cast<std::size_t>(vector_count_ * stride_));
  for (Table& table : tables_) table.vectors = vectors + (table.first - 1) * stride_;
}

// Numbers the vectors of all shards together, from 1.
void Inputs::number(const Shard* shards, std::int64_t count) {
  std::int64_t values = 0;
  vector_count_ = 0;
  tables_.clear();
  for (std::int64_t s = 0; s < count; ++s) {
    check_tokens(shards[s], s, shards[s].vector_count);
    tables_.push_back({reinterpret_cast<const char*>(shards[s].vectors), vector_count_ + 1});
    values += shards[s].value_count;
    vector_count_ += shards[s].vector_count;
  }
  if (vector_count_ >= std::numeric_limits<std::int32_t>::max()) throw std::bad_alloc();  // smaller pools will do
  std::int32_t* ids = ids_.reserve<std::int32_t>(static_cast<std::size_t>(values));
  numbered_.assign(shards, shards + count);
  for (std::int64_t s = 0; s < count; ++s) {
    const std::int32_t before = static_cast<std::int32_t>(tables_[static_cast<std::size_t>(s)].first - 1);
    for (std::int64_t k = 0; k < shards[s].value_count; ++k) ids[k] = before + shards[s].values[k];
    numbered_[static_cast<std::size_t>(s)].values = ids;
    ids += shards[s].value_count;
  }
}

void Inputs::convert(std::int64_t first, std::int64_t end) {
  const std::int64_t dim = model_.vector_dim();
  for (std::size_t s = 0; s < tables_.size(); ++s) {
    const std::int64_t before = tables_[s].first - 1;
    const std::int64_t from = std::max(first, before), to = std::min(end, before + numbered_[s].vector_count);
    for (std::int64_t r = from; r < to; ++r) {
      convert_numbers(numbered_[s].vectors + (r - before) * dim, dim, vectors_.as<char>() + r * stride_);
    }
  }
}

void Inputs::shrink(std::size_t bytes) {
  if (vectors_.capacity() > bytes) vectors_ = Buffer();
}

}  // namespace unrolled
