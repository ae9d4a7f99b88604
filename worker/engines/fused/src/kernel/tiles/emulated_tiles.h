// Eight tiles in memory, which give the bits of the processor's: the tile kernel can be tested on every machine.
//
// A tile has 16 rows of 64 bytes. `dot` is TDPBF16PS: for each row of A and each column of B, even and odd products of
// 16 pairs are summed apart by fused multiply-adds from zero, added, and added to C. Products of operands that bfloat16.h
// has rounded are exact, so a multiplication and an addition give the result of a fused multiply-add.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernel/bfloat16.h"

namespace unrolled {
namespace {

class EmulatedTiles {
 public:
  template <int Tile>
  void zero() {
    std::memset(tiles_[Tile], 0, kBytes);
  }
  template <int Tile>
  void load(const void* from) {
    std::memcpy(tiles_[Tile], from, kBytes);
  }
  template <int Tile>
  void store(void* to) const {
    std::memcpy(to, tiles_[Tile], kBytes);
  }
  template <int C, int A, int B>
  void dot() {
    const std::uint16_t* const a = reinterpret_cast<const std::uint16_t*>(tiles_[A]);
    const std::uint16_t* const b = reinterpret_cast<const std::uint16_t*>(tiles_[B]);
    float pairs[2][16][16];
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 16; ++column) {
        for (int half = 0; half < 2; ++half) pairs[half][k][column] = from_bfloat16(b[k * 32 + column * 2 + half]);
      }
    }
    float* const c = reinterpret_cast<float*>(tiles_[C]);
    for (int row = 0; row < 16; ++row) {
      float sums[2][16] = {};
      for (int k = 0; k < 16; ++k) {
        for (int half = 0; half < 2; ++half) {
          const float x = from_bfloat16(a[row * 32 + k * 2 + half]);
          for (int column = 0; column < 16; ++column) sums[half][column] += x * pairs[half][k][column];
        }
      }
      for (int column = 0; column < 16; ++column) c[row * 16 + column] += sums[0][column] + sums[1][column];
    }
  }

 private:
  static constexpr std::size_t kBytes = 1024;
  alignas(64) char tiles_[8][kBytes];
};

}  // namespace
}  // namespace unrolled
