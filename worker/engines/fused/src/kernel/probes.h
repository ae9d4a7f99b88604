// Parts of a kernel for tests and benchmarks: only the gates, and only the products.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernel/accumulate.h"
#include "kernel/gates/hard_gates.h"

namespace unrolled {
namespace {

template <class P>
void cell_update(std::int64_t count, const float* i, const float* f, const float* g, const float* o,
                 const float* cell_in, float* cell_out, float* hidden_out) {
  using Isa = typename P::Isa;
  const auto scaled = [](const float* p, std::int64_t at, std::int64_t n, int gate) {
    float lanes[Isa::lanes] = {};
    for (std::int64_t lane = 0; lane < n; ++lane) {
      lanes[lane] = static_cast<float>(p[at + lane] * kGateScale[gate]);
    }
    return Isa::load(lanes);
  };
  for (std::int64_t at = 0; at < count; at += Isa::lanes) {
    const std::int64_t n = count - at < Isa::lanes ? count - at : Isa::lanes;
    float lanes[Isa::lanes] = {};
    for (std::int64_t lane = 0; lane < n; ++lane) lanes[lane] = cell_in[at + lane];
    Sums<P, 1> sums = {{scaled(i, at, n, 0), scaled(f, at, n, 1), scaled(g, at, n, 2), scaled(o, at, n, 3)}};
    typename Isa::Vec cells[1] = {Isa::load(lanes)}, hidden[1];
    update_cells<Isa, P::fine, 1>(Sigmoid{}, Unclipped<Isa>{}, sums, cells, hidden);
    Isa::store_first(cell_out + at, cells[0], static_cast<int>(n));
    Isa::store_first(hidden_out + at, hidden[0], static_cast<int>(n));
  }
}

// Numbers of either sign between 1/2 and 1. On zeros, a processor's clock is up to a fifth faster.
template <class Element>
void fill_at_random(Element* numbers, std::int64_t count) {
  std::uint32_t state = 1;
  for (std::int64_t k = 0; k < count; ++k) {
    state = state * 1664525u + 1013904223u;
    const std::uint32_t bits = 0x3f000000u | (state & 0x807f0000u);  // a bfloat16 number, the upper half of a float32
    if constexpr (sizeof(Element) == 2) {
      numbers[k] = static_cast<Element>(bits >> 16);
    } else {
      std::memcpy(numbers + k, &bits, sizeof bits);
    }
  }
}

template <class P>
__attribute__((noinline)) double spin(std::int64_t rounds) {
  using Isa = typename P::Isa;
  using Element = typename P::Element;
  constexpr int kStep = Isa::lanes * P::step_inputs;
  Element weights[kGates * kStep];
  Element inputs[2 * Isa::rows];
  float starts[Isa::rows * kGates * Isa::lanes] = {};
  fill_at_random(weights, kGates * kStep);
  fill_at_random(inputs, 2 * Isa::rows);
  // The compiler must not see that the starts are equal, or it would compute one sum instead of all.
  asm volatile("" : : "r"(weights), "r"(inputs), "r"(starts) : "memory");
  Sums<P, Isa::rows> sums;
  const typename P::Weight w[2] = {P::weight(weights), P::weight(weights + kStep)};
  const typename P::Weight x = P::spread(inputs);
#pragma GCC unroll 8
  for (int r = 0; r < Isa::rows; ++r) {
#pragma GCC unroll 4
    for (int gate = 0; gate < kGates; ++gate) {
      sums[r][gate] = Isa::load(starts + (r * kGates + gate) * Isa::lanes);
    }
  }
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int r = 0; r < Isa::rows; ++r) {
#pragma GCC unroll 4
      for (int gate = 0; gate < kGates; ++gate) sums[r][gate] = P::dot(sums[r][gate], w[gate % 2], x);
    }
  }
  float sink[Isa::lanes];
#pragma GCC unroll 8
  for (int r = 0; r < Isa::rows; ++r) {
#pragma GCC unroll 4
    for (int gate = 0; gate < kGates; ++gate) {
      Isa::store(sink, sums[r][gate]);
      asm volatile("" : : "r"(sink) : "memory");
    }
  }
  return 2.0 * static_cast<double>(rounds) * Isa::rows * kGates * kStep / kProducts<P>;
}

}  // namespace
}  // namespace unrolled
