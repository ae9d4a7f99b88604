#include "kernel/kernel.h"

#if defined(__x86_64__) && defined(__AVX512BF16__)

#include <cstring>

#include "kernel/isa/check_pairs.h"
#include "kernel/make_kernel.h"
#include "kernel/vector/vector_avx512.h"

namespace unrolled {
namespace {

// Pairs of bfloat16 products added to float32 sums: twice the multiplications of float32 in one instruction.
//
// The instruction adds the product of a pair's upper halves first, then that of the lower ones. So a pair has two
// neighbours of one half of a block, the earlier one above: of 16 inputs, elements 2 0, 6 4, 10 8, 14 12 and then 3 1,
// 7 5, 11 9, 15 13. States are stored in this order, which element_at of elements.h has too.
struct Bfloat16Pairs {
  using Isa = Avx512;
  using Element = std::uint16_t;
  using Weight = __m512i;
  static constexpr Arithmetic arithmetic = Arithmetic::bfloat16;
  static constexpr int step_inputs = 2;
  static constexpr int block_steps = 16;
  static constexpr int group_inputs = 16;
  static constexpr int pieces = 1;
  static constexpr bool fine = false;
  static constexpr bool fetches_writes = true;

  static constexpr int input(int step, int half) { return 16 * (step / 4) + 8 * half + 2 * (step % 4); }
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
    const __m512i order = _mm512_setr_epi32(2, 0, 6, 4, 10, 8, 14, 12, 3, 1, 7, 5, 11, 9, 15, 13);
    Avx512::store_bfloat16(p, _mm512_permutexvar_ps(order, h));
  }
};

const Kernel* table_kernel() { return avx512_kernel(Arithmetic::float32); }

}  // namespace

const Kernel* avx512_bf16_kernel(Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::float32) return nullptr;
  static constexpr Kernel kernels[] = {make_kernel<Bfloat16Pairs>("avx512_bf16", table_kernel),
                                       make_kernel<InPieces<Bfloat16Pairs>>("avx512_bf16", table_kernel)};
  return &kernels[arithmetic == Arithmetic::bfloat16x3];
}

bool pairs_agree() {
  return pairs_agree_with_fma([](const float* sums, const std::uint16_t* a, const std::uint16_t* b, float* out) {
    const __m512 found =
        Bfloat16Pairs::dot(_mm512_loadu_ps(sums), Bfloat16Pairs::weight(a), Bfloat16Pairs::weight(b));
    _mm512_storeu_ps(out, found);
  });
}

}  // namespace unrolled

#else

namespace unrolled {
const Kernel* avx512_bf16_kernel(Arithmetic) { return nullptr; }
bool pairs_agree() { return false; }
}  // namespace unrolled

#endif
