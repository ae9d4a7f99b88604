#include "kernel/kernel.h"

#if defined(__x86_64__) && defined(__AVX512BF16__)

#include <cstring>

#include "kernel/make_kernel.h"
#include "kernel/vector/vector_avx512.h"

namespace unrolled {
namespace {

// Pairs of bfloat16 products added to float32 sums: twice the multiplications of float32 in one instruction.
struct Bfloat16Pairs {
  using Isa = Avx512;
  using Element = std::uint16_t;
  using Weight = __m512i;
  static constexpr int step_inputs = 2;
  static constexpr int weight_bits = 8;
  static constexpr bool fine = false;

  static UNROLLED_INLINE Weight weight(const Element* p) { return _mm512_loadu_si512(p); }
  static UNROLLED_INLINE Weight spread(const Element* p) {
    int pair;
    std::memcpy(&pair, p, sizeof pair);
    return _mm512_set1_epi32(pair);
  }
  static UNROLLED_INLINE __m512 dot(__m512 sum, Weight w, Weight x) {
    return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)x);
  }
  static UNROLLED_INLINE void store_hidden(Element* p, __m512 h) {
    const __m256bh rounded = _mm512_cvtneps_pbh(h);
    std::memcpy(p, &rounded, sizeof rounded);
  }
};

}  // namespace

const Kernel* avx512_bfloat16() {
  static constexpr Kernel kernel = make_kernel<Bfloat16Pairs>("avx512", "bfloat16");
  return &kernel;
}

}  // namespace unrolled

#else

namespace unrolled {
const Kernel* avx512_bfloat16() { return nullptr; }
}  // namespace unrolled

#endif
