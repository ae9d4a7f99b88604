// Cuts a pool into pieces, if the vectors that stages hand to each other would not fit otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "pool/plan/plan.h"

namespace unrolled {

// The most tokens of a piece, so that the vectors that stages hand to each other take `bytes` at any time; no limit if
// `token_bytes`, what they take for each token, is 0. A row is never cut, however long it is.
std::int64_t piece_tokens(std::int64_t token_bytes, std::int64_t bytes);

// Cuts sorted rows into pieces of at most `tokens` tokens, or of one row.
std::vector<Span> cut_pieces(const std::vector<Row>& rows, std::int64_t tokens);

// The rows of a piece, with the indices of their vectors.
std::vector<Row> take_piece(const std::vector<Row>& rows, Span piece);

}  // namespace unrolled
