#include "pool/plan/handing.h"

#include <algorithm>

#include "pool/plan/course.h"

namespace unrolled {
namespace {

// The last stage that reads a layer's output, or `stage`, its own.
std::size_t last_reader(const Model& model, const std::vector<Stage>& stages, std::size_t stage, std::size_t l) {
  std::size_t until = stage;
  if (l + 1 == stages[stage].end && stage + 1 < stages.size()) until = stage + 1;
  for (std::size_t s = stage + 1; s < stages.size(); ++s) {
    for (std::size_t above = stages[s].first; above < stages[s].end; ++above) {
      const Layer& layer = model.layers()[above];
      if (layer.residual && layer.source == static_cast<std::int64_t>(l)) until = std::max(until, s);
    }
  }
  return until;
}

}  // namespace

std::vector<Handed> list_handed(const Model& model, const std::vector<Stage>& stages) {
  std::vector<Handed> handed;
  std::vector<std::size_t> busy;  // the last stage that needs what is in each slot
  for (std::size_t s = 0; s < stages.size(); ++s) {
    for (std::size_t l = stages[s].first; l < stages[s].end; ++l) {
      const std::size_t until = last_reader(model, stages, s, l);
      if (until == s) continue;
      std::size_t slot = 0;
      while (slot < busy.size() && busy[slot] >= s) ++slot;
      busy.resize(std::max(busy.size(), slot + 1));
      busy[slot] = until;
      handed.push_back({l, s, until, slot});
    }
  }
  return handed;
}

std::int64_t handed_bytes(const Model& model, const std::vector<Stage>& stages, const std::vector<Handed>& handed) {
  std::int64_t most = 0;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    std::int64_t bytes = 0;
    for (const Handed& each : handed) {
      if (each.from > s || each.until < s) continue;
      bytes += Vectors::bytes_of(model.kernel(), model.layers()[each.layer].output_dim);
    }
    most = std::max(most, bytes);
  }
  return most;
}

}  // namespace unrolled
