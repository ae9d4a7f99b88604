// A panel's depth, cut into runs.
#pragma once

#include <cstdint>

#include "kernel/kernel.h"

namespace unrolled {

// A deeper panel is passed in several runs, with the sums kept in memory in between: so a run's weights and the
// next one's stay in the second-level cache, and a block may have many nodes to use them.
constexpr std::int64_t kRunSteps = 512;

// Part of a panel's depth: steps [a, a_end) of the input, then [b, b_end) of the recurrent state.
struct Run {
  std::int64_t a, a_end, b, b_end;
  bool first, last;

  std::int64_t steps() const { return a_end - a + b_end - b; }
};

// The run after `run`, whose ends are where it begins.
inline Run next_run(const Run& run, std::int64_t steps_a, std::int64_t steps_b) {
  Run next{run.a_end, run.a_end, run.b_end, run.b_end, false, false};
  const std::int64_t left = steps_a + steps_b - next.a - next.b;
  const std::int64_t runs = (left + kRunSteps - 1) / kRunSteps;
  std::int64_t room = runs > 1 ? (left + runs - 1) / runs : left;  // about equal runs
  const std::int64_t take_a = steps_a - next.a < room ? steps_a - next.a : room;
  next.a_end += take_a;
  room -= take_a;
  next.b_end += steps_b - next.b < room ? steps_b - next.b : room;
  next.last = next.a_end == steps_a && next.b_end == steps_b;
  return next;
}

inline Run first_run(std::int64_t steps_a, std::int64_t steps_b) {
  Run run = next_run({}, steps_a, steps_b);
  run.first = true;
  return run;
}

}  // namespace unrolled
