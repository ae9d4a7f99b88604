// Cuts a pool into pieces, if the vectors that stages hand to each other would not fit otherwise.
#pragma once

#include <cstddef>
#include <vector>

#include "model/model.h"
#include "pool/plan/plan.h"

namespace unrolled {

// The most tokens of a piece, so that the vectors that a stage reads and those that it writes take `bytes` together; no
// limit if there is only one stage. A row is never cut, however long it is.
std::int64_t piece_tokens(const Model& model, const std::vector<Stage>& stages, std::int64_t bytes);

// Cuts sorted rows into pieces of at most `tokens` tokens, or of one row.
std::vector<Span> cut_pieces(const std::vector<Row>& rows, std::int64_t tokens);

// The rows of a piece, with the indices of their vectors.
std::vector<Row> take_piece(const std::vector<Row>& rows, Span piece);

}  // namespace unrolled
