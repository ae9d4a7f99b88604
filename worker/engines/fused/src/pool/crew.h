// Hands walks to threads. A thread without work raises a flag, and a busy one then gives away half of its own walk at
// the next level. So the work is balanced whatever else the machine does, and no thread waits for another before the
// end.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>

#include "pool/plan/course.h"
#include "pool/states.h"
#include "pool/walk.h"

namespace unrolled {

// A walk at some level, with the states of that level if another thread began it.
struct Task {
  const Course* course;
  Walk walk;
  StateCopy states;
  std::size_t most_rows;
};

class Crew {
 public:
  explicit Crew(std::size_t threads) : threads_(threads) {}

  void give(Task task);
  // The next task; false when all work is done or a thread has failed.
  bool take(Task& task);
  bool hungry() const { return hungry_.load(std::memory_order_relaxed) > 0; }

  // The first failure ends the work of all threads.
  void fail(std::exception_ptr failure);
  bool failed() const { return failed_.load(std::memory_order_relaxed); }
  std::exception_ptr failure() const { return failure_; }

 private:
  void count_hungry();

  const std::size_t threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  std::size_t idle_ = 0;
  std::atomic<int> hungry_{0};
  std::atomic<bool> failed_{false};
  std::exception_ptr failure_;
};

}  // namespace unrolled
