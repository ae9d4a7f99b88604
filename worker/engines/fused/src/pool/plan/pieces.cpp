#include "pool/plan/pieces.h"

#include <limits>

namespace unrolled {

std::int64_t piece_tokens(std::int64_t token_bytes, std::int64_t bytes) {
  return token_bytes ? bytes / token_bytes : std::numeric_limits<std::int64_t>::max();
}

std::vector<Span> cut_pieces(const std::vector<Row>& rows, std::int64_t tokens) {
  std::vector<Span> pieces;
  std::int64_t held = 0;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (pieces.empty() || held + rows[r].length > tokens) {
      pieces.push_back({r, r});
      held = 0;
    }
    held += rows[r].length;
    pieces.back().last = r + 1;
  }
  return pieces;
}

std::vector<Row> take_piece(const std::vector<Row>& rows, Span piece) {
  std::vector<Row> taken(rows.begin() + static_cast<std::ptrdiff_t>(piece.first),
                         rows.begin() + static_cast<std::ptrdiff_t>(piece.last));
  taken.front().shared = 0;
  std::int64_t vectors = 0;
  for (Row& row : taken) {
    row.vectors = vectors;
    vectors += row.length;
  }
  return taken;
}

}  // namespace unrolled
