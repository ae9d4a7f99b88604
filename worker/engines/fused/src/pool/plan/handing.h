// What stages hand to later ones: the outputs of some layers, with one vector for every token of the rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/model.h"

namespace unrolled {

struct Handed {
  std::size_t layer;
  std::size_t from, until;  // the stage that writes the vectors, and the last one that reads them
  std::size_t slot;         // of their memory: vectors that no stage needs together share one
};

// The layers whose outputs a later stage reads: as its input, or to add them to a residual layer's output.
std::vector<Handed> list_handed(const Model& model, const std::vector<Stage>& stages);

// The most bytes of handed vectors that a stage reads and writes together, for each token; 0 if none are handed.
std::int64_t handed_bytes(const Model& model, const std::vector<Stage>& stages, const std::vector<Handed>& handed);

}  // namespace unrolled
