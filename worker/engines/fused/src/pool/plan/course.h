// One direction of a stage over some rows: what its walks read and where their results go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/memory.h"
#include "model/model.h"
#include "pool/outputs.h"
#include "pool/walk.h"

namespace unrolled {

// What a stage hands to the next: a vector of elements for every token of the rows.
class Vectors {
 public:
  // Throws std::bad_alloc.
  void prepare(const Kernel& kernel, std::int64_t width, std::int64_t tokens);
  // Gives memory back where more than `bytes` are held.
  void shrink(std::size_t bytes);

  char* at(const Row& row, std::int64_t position) const {
    return bytes_.as<char>() + (row.vectors + position) * stride_;
  }
  std::int64_t stride() const { return stride_; }  // bytes

  static std::int64_t bytes_of(const Kernel& kernel, std::int64_t width);

 private:
  Buffer bytes_;
  std::int64_t stride_ = 0;
};

class Course {
 public:
  // A row's vector that is made of all of its tokens' ones.
  struct Pooled {
    std::size_t column, layer;
    Pooling pooling;
  };
  static constexpr std::size_t kNone = ~std::size_t{0};

  // `below` is null where tokens are read, `above` where no stage follows.
  Course(const Model& model, const Stage& stage, bool backward, const std::vector<Row>& rows, const Vectors* below,
         Vectors* above, const Outputs& outputs);

  const Model& model() const { return model_; }
  const Outputs& outputs() const { return outputs_; }
  const std::vector<Row>& rows() const { return rows_; }
  std::size_t first() const { return stage_.first; }
  std::size_t end() const { return stage_.end; }
  bool backward() const { return backward_; }
  const Vectors* below() const { return below_; }
  Vectors* above() const { return above_; }

  const Layer& layer(std::size_t l) const { return model_.layers()[l]; }
  const Pass& pass(std::size_t l) const { return layer(l).pass(backward_); }
  std::int64_t offset(std::size_t l) const { return layer(l).offset(backward_); }
  std::int64_t nodes() const;

  // The column that keeps every token's vector of a layer, or kNone.
  std::size_t per_token(std::size_t l) const { return per_token_[l - stage_.first]; }
  const std::vector<Pooled>& pooled() const { return pooled_; }
  // Whether a layer's states are wanted in float32.
  bool wants_floats(std::size_t l) const { return per_token(l) != kNone || reads_floats(l); }
  // Whether something more is made of them: a pooled vector, or a residual layer's result.
  bool reads_floats(std::size_t l) const;
  // Whether a pooling takes the vector of the first level; the other end of a row is the last one.
  bool takes_first_level(Pooling pooling) const { return pooling == (backward_ ? Pooling::last : Pooling::first); }

  // A row that begins at `level` gets what the row that it branches off has stored up to there.
  void copy_shared(const Walk::Branch& branch, std::int32_t level) const;

 private:
  const Model& model_;
  const Stage stage_;
  const bool backward_;
  const std::vector<Row>& rows_;
  const Vectors* below_;
  Vectors* above_;
  const Outputs& outputs_;
  std::vector<std::size_t> per_token_;
  std::vector<Pooled> pooled_;
};

}  // namespace unrolled
