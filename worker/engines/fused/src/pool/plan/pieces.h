// A pool in pieces, where what stages hand to each other would not fit otherwise.
#pragma once

#include <cstddef>
#include <vector>

#include "model/model.h"
#include "pool/plan/plan.h"

namespace unrolled {

// Tokens of a piece, so that what its stages hand on takes `bytes` of memory, both sides together; no limit where
// there is but one stage. A row is taken whole, however long it is.
std::int64_t piece_tokens(const Model& model, const std::vector<Stage>& stages, std::int64_t bytes);

// Cuts sorted rows into runs of at most `tokens` tokens.
std::vector<Span> cut_pieces(const std::vector<Row>& rows, std::int64_t tokens);

// The rows of a piece, with the places of their vectors.
std::vector<Row> take_piece(const std::vector<Row>& rows, Span piece);

}  // namespace unrolled
