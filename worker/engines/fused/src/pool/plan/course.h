// One direction of a stage over some rows: what its walks read and where they write their results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/memory.h"
#include "model/model.h"
#include "pool/outputs.h"
#include "pool/plan/inputs.h"
#include "pool/walk.h"

namespace unrolled {

// The vectors that a stage hands to the next: one for every token of the rows.
class Vectors {
 public:
  // Throws std::bad_alloc.
  void prepare(const Kernel& kernel, std::int64_t width, std::int64_t tokens);
  // Frees the memory if it is more than `bytes`.
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
  // A column with one vector for each row, made of the vectors of all of its tokens.
  struct Pooled {
    std::size_t column, layer;
    Pooling pooling;
  };
  static constexpr std::size_t kNone = ~std::size_t{0};

  // `handed` has the vectors of each layer that a stage hands to a later one, of those that this stage reads or writes;
  // null for other layers.
  Course(const Model& model, const Stage& stage, bool backward, const std::vector<Row>& rows,
         const std::vector<Vectors*>& handed, const Inputs& inputs, const Outputs& outputs);

  const Model& model() const { return model_; }
  const Inputs& inputs() const { return inputs_; }
  const Outputs& outputs() const { return outputs_; }
  const std::vector<Row>& rows() const { return rows_; }
  std::size_t first() const { return stage_.first; }
  std::size_t end() const { return stage_.end; }
  bool backward() const { return backward_; }
  // The vectors of a layer of an earlier stage.
  const Vectors& vectors(std::size_t l) const { return *handed_[l]; }
  // The layers whose vectors this course hands to a later stage.
  const std::vector<std::size_t>& given() const { return given_; }
  Vectors& given_vectors(std::size_t l) const { return *handed_[l]; }

  const Layer& layer(std::size_t l) const { return model_.layers()[l]; }
  const Pass& pass(std::size_t l) const { return layer(l).pass(backward_); }
  std::int64_t offset(std::size_t l) const { return layer(l).offset(backward_); }
  std::int64_t nodes() const;

  // The column that keeps every token's vector of a layer, or kNone.
  std::size_t per_token(std::size_t l) const { return per_token_[l - stage_.first]; }
  const std::vector<Pooled>& pooled() const { return pooled_; }
  // Whether a layer's states are needed in float32.
  bool wants_floats(std::size_t l) const {
    const Cell cell = pass(l).cell;
    return per_token(l) != kNone || reads_floats(l) || cell == Cell::layer_norm || cell == Cell::scale;
  }
  // Whether they are read again: for a pooled vector, or for a residual layer's result.
  bool reads_floats(std::size_t l) const;
  // Whether a pooling takes the vector of a row's first level rather than that of its last level.
  bool takes_first_level(Pooling pooling) const { return pooling == (backward_ ? Pooling::last : Pooling::first); }

  // Copies to a row that begins at `level` what the row that it branches off has stored up to there.
  void copy_shared(const Walk::Branch& branch, std::int32_t level) const;

 private:
  const Model& model_;
  const Stage stage_;
  const bool backward_;
  const std::vector<Row>& rows_;
  const std::vector<Vectors*> handed_;
  std::vector<std::size_t> given_;
  const Inputs& inputs_;
  const Outputs& outputs_;
  std::vector<std::size_t> per_token_;
  std::vector<Pooled> pooled_;
};

}  // namespace unrolled
