#include "pool/plan/pieces.h"

#include <algorithm>
#include <limits>

#include "pool/plan/course.h"

namespace unrolled {

std::int64_t piece_tokens(const Model& model, const std::vector<Stage>& stages, std::int64_t bytes) {
  std::int64_t below = 0, most = 0;  // bytes for each token
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const bool last = s + 1 == stages.size();
    const std::int64_t width = model.layers()[stages[s].end - 1].output_dim;
    const std::int64_t above = last ? 0 : Vectors::bytes_of(model.kernel(), width);
    most = std::max(most, below + above);
    below = above;
  }
  return most ? bytes / most : std::numeric_limits<std::int64_t>::max();
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
