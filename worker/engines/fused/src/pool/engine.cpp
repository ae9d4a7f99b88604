// One file, because it is the path of one pool: threads, stages, pieces and duplicates, from rows to arrays.
#include "pool/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>

#include "pool/crew.h"
#include "pool/plan/initial_states.h"
#include "pool/plan/pieces.h"

namespace unrolled {
namespace {

// The most memory for the states of a walk's rows, in each thread: a walk that needs more is cut. It can't be small,
// because fewer rows make narrower levels, and each level fetches all the weights.
constexpr std::size_t kStateBytes = std::size_t{28} << 20;
// Fewer nodes than this are not worth a thread, nor giving away.
constexpr std::int64_t kLeastNodes = 64;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The work of one thread: it computes walks, and gives half of one away when another thread has none.
void work(Crew& crew, States& states) {
  try {
    Task task{nullptr, Walk({}), {}, 0};
    while (crew.take(task)) {
      const Course& course = *task.course;
      states.prepare(course, task.most_rows);
      if (task.states.nodes > 0) states.restore(course, task.states);
      task.states = StateCopy();
      // After an attempt to share that failed, the next one waits until a sixteenth of what is left is done.
      std::int64_t share_below = task.walk.remaining() + 1;
      while (!crew.failed() && task.walk.advance()) {
        states.compute(course, task.walk);
        if (!crew.hungry() || task.walk.remaining() >= share_below) continue;
        Task other{&course, Walk(course.rows()), {}, task.most_rows};
        std::size_t from = 0;
        if (task.walk.split(kLeastNodes, other.walk, from)) {
          other.states = states.copy(course, from, other.walk.size());
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

// Runs action(k) for each k below `threads`, each on its own thread; `fail` gets the exception of a thread that can't
// be started.
template <class Action, class Fail>
void on_threads(std::size_t threads, Action action, Fail fail) {
  std::vector<std::thread> helpers;
  try {
    for (std::size_t k = 1; k < threads; ++k) helpers.emplace_back(action, k);
  } catch (...) {
    fail(std::current_exception());
  }
  action(std::size_t{0});
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace

Engine::Engine(Model model, int threads, std::int64_t vector_bytes)
    : model_(std::move(model)),
      threads_(static_cast<std::size_t>(threads)),
      vector_bytes_(vector_bytes),
      inputs_(model_),
      states_(static_cast<std::size_t>(threads)) {}

void Engine::run(const std::vector<Course>& courses) {
  std::int64_t nodes = 0;
  for (const Course& course : courses) nodes += course.nodes();
  const std::size_t useful = static_cast<std::size_t>(std::max<std::int64_t>(nodes / kLeastNodes, 1));
  const std::size_t threads = std::min(threads_, useful);

  Crew crew(threads);
  for (const Course& course : courses) {
    const std::size_t bytes = std::max<std::size_t>(States::node_bytes(course), 1);  // a stage of maps has no states
    const std::size_t max_rows = std::max<std::size_t>(kStateBytes / bytes, 192);
    for (const Span& span : cut_spans(course.rows(), threads, max_rows)) {
      crew.give({&course, Walk(course.rows(), span), {}, span.last - span.first});
    }
  }
  on_threads(
      threads, [&](std::size_t k) { work(crew, states_[k]); },
      [&](std::exception_ptr failure) { crew.fail(failure); });
  if (crew.failed()) std::rethrow_exception(crew.failure());
}

std::int64_t Engine::recurrent_layers(const Stage& stage) const {
  std::int64_t count = 0;
  for (std::size_t l = stage.first; l < stage.end; ++l) count += !model_.is_map(l);
  return count;
}

void Engine::run_piece(std::vector<Row>& rows, const std::vector<Stage>& stages, const std::vector<Handed>& handed,
                       const Outputs& outputs, Counts& counts) {
  std::int64_t tokens = 0;
  for (const Row& row : rows) tokens += row.length;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    const Stage& stage = stages[s];
    std::vector<Row> reversed;
    if (s == 0 && stage.both()) {
      reversed = rows;
      sort_rows(reversed, true, inputs_.vocab_size());
    }
    if (s == 1) share_nothing(rows);  // from here on, shared tokens may read different vectors
    std::vector<Vectors*> vectors(model_.layers().size(), nullptr);
    for (const Handed& each : handed) {
      if (each.from > s || each.until < s) continue;
      vectors[each.layer] = &vectors_[each.slot];
      if (each.from < s) continue;
      vectors_[each.slot].prepare(model_.kernel(), model_.layers()[each.layer].output_dim, tokens);
    }
    std::vector<Course> courses;
    if (stage.direction != Direction::backward) {
      courses.emplace_back(model_, stage, false, rows, vectors, inputs_, outputs);
    }
    if (stage.direction != Direction::forward) {
      courses.emplace_back(model_, stage, true, reversed.empty() ? rows : reversed, vectors, inputs_, outputs);
    }
    for (const Course& course : courses) counts.done += course.nodes() * recurrent_layers(stage);
    run(courses);
  }
}

void Engine::convert_inputs() {
  constexpr std::int64_t kAtOnce = 256;
  const std::int64_t count = inputs_.unconverted();
  std::atomic<std::int64_t> begun{0};
  const auto convert = [&](std::size_t) {
    for (std::int64_t from; (from = begun.fetch_add(kAtOnce)) < count;) {
      inputs_.convert(from, std::min(from + kAtOnce, count));
    }
  };
  // A thread that could not be started leaves its share to the others.
  on_threads(std::min(threads_, static_cast<std::size_t>(count / kAtOnce + 1)), convert, [](std::exception_ptr) {});
}

void Engine::copy_duplicates(const std::vector<Duplicate>& duplicates, const Outputs& outputs) const {
  constexpr std::size_t kAtOnce = 64;
  std::atomic<std::size_t> begun{0};
  const auto copy = [&](std::size_t) {
    for (std::size_t from; (from = begun.fetch_add(kAtOnce)) < duplicates.size();) {
      const std::size_t to = std::min(from + kAtOnce, duplicates.size());
      for (std::size_t d = from; d < to; ++d) outputs.copy(duplicates[d]);
    }
  };
  // A thread that could not be started leaves its share to the others.
  on_threads(std::min(threads_, duplicates.size() / kAtOnce + 1), copy, [](std::exception_ptr) {});
}

PoolStats Engine::compute(const Shard* shards, std::int64_t shard_count, const Column* columns,
                          std::int64_t column_count) {
  const std::lock_guard<std::mutex> lock(busy_);
  const auto start = std::chrono::steady_clock::now();
  PoolStats stats{};
  inputs_.take(shards, shard_count);
  const Outputs outputs(model_, inputs_.shards(), columns, column_count);
  const std::vector<Stage> stages = model_.stages(outputs.layers());
  std::vector<Row> rows = list_rows(inputs_.shards(), shard_count, inputs_.vocab_size());
  for (const Row& row : rows) stats.tokens += row.length;
  if (model_.given_dim()) number_states(rows, inputs_.shards(), model_.given_dim());
  sort_rows(rows, stages[0].direction == Direction::backward, inputs_.vocab_size());
  const std::vector<Duplicate> duplicates = take_duplicates(rows);
  stats.plan_seconds = seconds_since(start);

  const auto planned = std::chrono::steady_clock::now();
  convert_inputs();
  Counts counts;
  for (const Stage& stage : stages) counts.passes += recurrent_layers(stage) * (stage.both() ? 2 : 1);
  const std::vector<Handed> handed = list_handed(model_, stages);
  for (const Handed& each : handed) vectors_.resize(std::max(vectors_.size(), each.slot + 1));
  const std::int64_t token_bytes = handed_bytes(model_, stages, handed);
  for (const Span& piece : cut_pieces(rows, piece_tokens(token_bytes, vector_bytes_))) {
    std::vector<Row> taken = take_piece(rows, piece);
    run_piece(taken, stages, handed, outputs, counts);
  }
  copy_duplicates(duplicates, outputs);
  outputs.clear_empty_rows(shard_count);
  for (Vectors& vectors : vectors_) vectors.shrink(static_cast<std::size_t>(vector_bytes_));
  inputs_.shrink(static_cast<std::size_t>(vector_bytes_));
  stats.nodes = counts.passes ? counts.done / counts.passes : stats.tokens;  // a map alone has no passes
  stats.compute_seconds = seconds_since(planned);
  return stats;
}

}  // namespace unrolled
