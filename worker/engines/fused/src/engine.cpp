#include "engine.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <thread>

#include "crew.h"

namespace unrolled {
namespace {

// States of a thread: a walk of more rows than fit is cut.
constexpr std::size_t kStateBytes = std::size_t{96} << 20;
// Fewer nodes than this are not worth a thread, or a handing over.
constexpr std::int64_t kLeastNodes = 64;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void work(const Model& model, const std::vector<Row>& rows, Crew& crew, States& states) {
  try {
    Task task{Walk(rows, model.units()), {}, 0};
    while (crew.take(task)) {
      states.prepare(model, task.most_nodes);
      if (task.states.nodes > 0) states.restore(model, task.states);
      // After a failed attempt to share, wait for a good part of the work to pass before the next.
      std::int64_t share_below = task.walk.remaining() + 1;
      while (!crew.failed() && task.walk.advance()) {
        states.compute(model, task.walk);
        if (!crew.hungry() || task.walk.remaining() >= share_below) continue;
        Task other{Walk(rows, model.units()), {}, task.most_nodes};
        std::size_t from = 0;
        if (task.walk.split(kLeastNodes, other.walk, from)) {
          other.states = states.copy(model, from, other.walk.size());
          crew.give(std::move(other));
        } else {
          share_below = task.walk.remaining() - task.walk.remaining() / 16;
        }
      }
    }
  } catch (...) {
    crew.fail(std::current_exception());
  }
}

}  // namespace

Engine::Engine(Model model, int threads)
    : model_(std::move(model)),
      threads_(static_cast<std::size_t>(threads)),
      states_(static_cast<std::size_t>(threads)) {}

void Engine::run(std::vector<Row>& rows) {
  std::int64_t nodes = 0;
  for (const Row& row : rows) nodes += row.own_nodes();
  const std::size_t useful = static_cast<std::size_t>(std::max<std::int64_t>(nodes / kLeastNodes, 1));
  const std::size_t threads = std::min(threads_, useful);
  const std::size_t max_rows = std::max<std::size_t>(kStateBytes / States::node_bytes(model_), 192);

  std::vector<Task> tasks;
  for (const Span& span : cut_spans(rows, threads, max_rows)) {
    tasks.push_back({Walk(rows, span, model_.units()), {}, span.last - span.first});
  }
  Crew crew(threads);
  for (Task& task : tasks) crew.give(std::move(task));

  std::vector<std::thread> helpers;
  const auto help = [&](std::size_t k) { work(model_, rows, crew, states_[k]); };
  try {
    for (std::size_t k = 1; k < threads; ++k) helpers.emplace_back(help, k);
  } catch (...) {
    crew.fail(std::current_exception());
  }
  help(0);
  for (std::thread& helper : helpers) helper.join();
  if (crew.failed()) std::rethrow_exception(crew.failure());
}

PoolStats Engine::compute(const Shard* shards, std::int64_t shard_count) {
  const std::lock_guard<std::mutex> lock(busy_);
  const auto start = std::chrono::steady_clock::now();
  PoolStats stats{};
  std::vector<Row> rows = plan_rows(shards, shard_count, model_.vocab_size(), model_.units());
  for (const Row& row : rows) {
    stats.tokens += row.length;
    stats.nodes += row.own_nodes();
  }
  stats.plan_seconds = seconds_since(start);
  const auto planned = std::chrono::steady_clock::now();
  if (!rows.empty()) run(rows);
  stats.compute_seconds = seconds_since(planned);
  return stats;
}

}  // namespace unrolled
