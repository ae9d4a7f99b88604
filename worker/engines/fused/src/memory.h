// Memory that a kernel likes: aligned to cache lines, on huge pages where it is large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace unrolled {

// An uninitialised run of bytes that only ever grows, so that a workspace kept between calls is touched
// for the first time once. Growing loses the contents.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() { std::free(data_); }

  // At least `bytes`, on a 64-byte boundary. Throws std::bad_alloc.
  void* reserve(std::size_t bytes) {
    if (bytes <= capacity_) return data_;
    // A huge page saves the walk through 512 small ones: weights and states are read in long runs.
    const bool huge = bytes >= kHugePage;
    const std::size_t alignment = huge ? kHugePage : 64;
    if (bytes > SIZE_MAX - alignment) throw std::bad_alloc();
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void* fresh = nullptr;
    if (posix_memalign(&fresh, alignment, rounded) != 0) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (huge) madvise(fresh, rounded, MADV_HUGEPAGE);
#endif
    std::free(data_);
    data_ = fresh;
    capacity_ = rounded;
    return data_;
  }

  template <class T>
  T* reserve(std::size_t count) {
    if (count > SIZE_MAX / sizeof(T)) throw std::bad_alloc();
    return static_cast<T*>(reserve(count * sizeof(T)));
  }

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

  std::size_t capacity() const { return capacity_; }

  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  static constexpr std::size_t kHugePage = std::size_t{2} << 20;
  void* data_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace unrolled
