#include "pool/plan/inputs.h"

#include <limits>
#include <new>

#include "model/elements.h"

namespace unrolled {

void Inputs::take(const Shard* shards, std::int64_t count) {
  given_ = shards;
  if (!model_.vector_dim()) return;
  number(shards, count);
  convert(shards, count);
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

// Brings the vectors into the form in which the kernel reads them, if it isn't the caller's.
void Inputs::convert(const Shard* shards, std::int64_t count) {
  const Kernel& kernel = model_.kernel();
  const std::int64_t dim = model_.vector_dim(), padded = round_up(dim, kernel.block_inputs);
  stride_ = padded * kernel.element_bytes;
  if (kernel.arithmetic == Arithmetic::float32 && padded == dim) return;
  char* out = vectors_.reserve<char>(static_cast<std::size_t>(vector_count_ * stride_));
  for (std::int64_t s = 0; s < count; ++s) {
    tables_[static_cast<std::size_t>(s)].vectors = out;
    for (std::int64_t r = 0; r < shards[s].vector_count; ++r, out += stride_) {
      for (std::int64_t k = 0; k < padded; ++k) {
        put_element(kernel, out, k, k < dim ? shards[s].vectors[r * dim + k] : 0.0f);
      }
    }
  }
}

void Inputs::shrink(std::size_t bytes) {
  if (vectors_.capacity() > bytes) vectors_ = Buffer();
}

}  // namespace unrolled
