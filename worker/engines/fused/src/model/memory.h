// Buffers that are aligned to cache lines and, if they are large, in huge pages.
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

// Uninitialised bytes. A buffer never shrinks, so that a workspace that is kept between calls causes page faults only
// once. Growing loses the contents.
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
  ~Buffer() { release(data_, capacity_); }

  // At least `bytes`, on a 64-byte boundary. Throws std::bad_alloc.
  void* reserve(std::size_t bytes) {
    if (bytes <= capacity_) return data_;
    if (bytes > SIZE_MAX - 2 * kHugePage) throw std::bad_alloc();
    // Decided by the rounded size, which `release` knows too.
    const std::size_t alignment = bytes > kHugePage - kLine ? kHugePage : kLine;
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void* const fresh = take(rounded, alignment);
    release(data_, capacity_);
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
  static constexpr std::size_t kLine = 64, kHugePage = std::size_t{2} << 20;

#ifdef __linux__
  // Large buffers are mapped from the system and unmapped: the allocator would keep them, in pieces, after it has seen
  // a buffer of their size freed. A huge page replaces 512 small ones, and weights and states are read in long
  // stretches.
  static void* take(std::size_t bytes, std::size_t alignment) {
    if (alignment < kHugePage) return aligned(bytes, alignment);
    void* const mapped =
        mmap(nullptr, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    char* const begin = static_cast<char*>(mapped);
    const std::size_t before = (alignment - reinterpret_cast<std::uintptr_t>(mapped) % alignment) % alignment;
    if (before > 0) munmap(begin, before);
    munmap(begin + before + bytes, alignment - before);
#ifdef MADV_HUGEPAGE
    madvise(begin + before, bytes, MADV_HUGEPAGE);
#endif
    return begin + before;
  }
  static void release(void* data, std::size_t bytes) {
    if (bytes < kHugePage) {
      std::free(data);
    } else {
      munmap(data, bytes);
    }
  }
#else
  static void* take(std::size_t bytes, std::size_t alignment) { return aligned(bytes, alignment); }
  static void release(void* data, std::size_t) { std::free(data); }
#endif
  static void* aligned(std::size_t bytes, std::size_t alignment) {
    void* fresh = nullptr;
    if (posix_memalign(&fresh, alignment, bytes) != 0) throw std::bad_alloc();
    return fresh;
  }

  void* data_ = nullptr;
  std::size_t capacity_ = 0;
};

}  // namespace unrolled
