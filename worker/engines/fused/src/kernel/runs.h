// Cuts the depth of a panel into runs.
#pragma once

#include <cstdint>

#include "kernel/kernel.h"

namespace unrolled {
namespace {  // each file has its own instructions

// A deeper panel is computed in several runs, and the sums wait in memory between them. So the weights of a run and of
// the next one stay in the second-level cache, and a block may have many nodes that use them.
constexpr std::int64_t kRunSteps = 512;

// A part of a panel's depth: steps [a, a_end) of the input, then [b, b_end) of the recurrent state.
struct Run {
  std::int64_t a, a_end, b, b_end;
  bool first, last;

  std::int64_t steps() const { return a_end - a + b_end - b; }
};

// The run that begins where `run` ends. Runs are cut between blocks of `block` steps.
inline Run next_run(const Run& run, std::int64_t steps_a, std::int64_t steps_b, std::int64_t block) {
  Run next{run.a_end, run.a_end, run.b_end, run.b_end, false, false};
  const std::int64_t left = steps_a + steps_b - next.a - next.b;
  const std::int64_t runs = (left + kRunSteps - 1) / kRunSteps;
  std::int64_t room = runs > 1 ? (left + runs - 1) / runs : left;  // about equal runs
  room = (room + block - 1) / block * block;
  const std::int64_t take_a = steps_a - next.a < room ? steps_a - next.a : room;
  next.a_end += take_a;
  room -= take_a;
  next.b_end += steps_b - next.b < room ? steps_b - next.b : room;
  next.last = next.a_end == steps_a && next.b_end == steps_b;
  return next;
}

inline Run first_run(std::int64_t steps_a, std::int64_t steps_b, std::int64_t block) {
  Run run = next_run({}, steps_a, steps_b, block);
  run.first = true;
  return run;
}

}  // namespace
}  // namespace unrolled
