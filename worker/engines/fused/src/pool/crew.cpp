#include "pool/crew.h"

namespace unrolled {

void Crew::count_hungry() {
  hungry_.store(static_cast<int>(idle_) - static_cast<int>(tasks_.size()), std::memory_order_relaxed);
}

void Crew::give(Task task) {
  const std::lock_guard<std::mutex> lock(mutex_);
  tasks_.push_back(std::move(task));
  count_hungry();
  changed_.notify_one();
}

bool Crew::take(Task& task) {
  std::unique_lock<std::mutex> lock(mutex_);
  ++idle_;
  count_hungry();
  if (idle_ == threads_ && tasks_.empty()) changed_.notify_all();
  changed_.wait(lock, [&] { return failed() || !tasks_.empty() || idle_ == threads_; });
  if (failed() || tasks_.empty()) return false;
  --idle_;
  task = std::move(tasks_.front());
  tasks_.pop_front();
  count_hungry();
  return true;
}

void Crew::fail(std::exception_ptr failure) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!failed_) failure_ = failure;
  failed_.store(true);
  changed_.notify_all();
}

}  // namespace unrolled
