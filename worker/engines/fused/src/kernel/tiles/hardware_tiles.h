// The processor's eight tiles, configured for as long as an object of this class lives, in the thread that made it.
//
// The instructions are spelled out, because the compiler's intrinsics take no template parameters. Use it only where
// why_no_tiles() is null: without the system's permission the first access is a SIGILL.
#pragma once

#include <cstdint>

namespace unrolled {
namespace {

class HardwareTiles {
 public:
  HardwareTiles() {
    Configuration configuration;
    asm volatile("ldtilecfg %0" : : "m"(configuration));
  }
  // On every way out: with tiles in use, switches between threads save 8 KiB more, and signals are slower.
  ~HardwareTiles() { asm volatile("tilerelease" : : : "memory"); }
  HardwareTiles(const HardwareTiles&) = delete;
  HardwareTiles& operator=(const HardwareTiles&) = delete;

  template <int Tile>
  void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(Tile));
  }
  template <int Tile>
  void load(const void* from) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(kRowBytes), "i"(Tile) : "memory");
  }
  template <int Tile>
  void store(void* to) const {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(kRowBytes), "i"(Tile) : "memory");
  }
  template <int C, int A, int B>
  void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
  }

 private:
  static constexpr std::int64_t kRowBytes = 64;

  struct alignas(64) Configuration {  // eight tiles of 16 rows of 64 bytes
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };
  static_assert(sizeof(Configuration) == 64);
};

}  // namespace
}  // namespace unrolled
