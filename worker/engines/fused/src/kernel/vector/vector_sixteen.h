// Sixteen floats, made of the vectors of a narrower instruction set: the tile kernel's panels are 16 units wide.
#pragma once

#include <cstdint>

#include "kernel/bfloat16.h"

namespace unrolled {
namespace {

template <class Part>
struct Sixteen {
  static constexpr int lanes = 16, rows = 1, kParts = lanes / Part::lanes;
  static constexpr bool away_reads = Part::away_reads;
  struct Vec {
    typename Part::Vec part[kParts];
  };

  static Vec load(const float* p) {
    return each([&](int k) { return Part::load(p + k * Part::lanes); });
  }
  static void store(float* p, Vec v) {
    for (int k = 0; k < kParts; ++k) Part::store(p + k * Part::lanes, v.part[k]);
  }
  static void store_away(float* p, Vec v) { store(p, v); }
  static void settle() { Part::settle(); }
  static void store_first(float* p, Vec v, int count) {
    float all[lanes];
    store(all, v);
    for (int lane = 0; lane < count; ++lane) p[lane] = all[lane];
  }
  static Vec set1(float x) {
    return each([&](int) { return Part::set1(x); });
  }
  static Vec add(Vec a, Vec b) {
    return each([&](int k) { return Part::add(a.part[k], b.part[k]); });
  }
  static Vec sub(Vec a, Vec b) {
    return each([&](int k) { return Part::sub(a.part[k], b.part[k]); });
  }
  static Vec mul(Vec a, Vec b) {
    return each([&](int k) { return Part::mul(a.part[k], b.part[k]); });
  }
  static Vec div(Vec a, Vec b) {
    return each([&](int k) { return Part::div(a.part[k], b.part[k]); });
  }
  static Vec fma(Vec a, Vec b, Vec c) {
    return each([&](int k) { return Part::fma(a.part[k], b.part[k], c.part[k]); });
  }
  static Vec fma_narrow(Vec a, Vec b, Vec c) {
    return each([&](int k) { return Part::fma_narrow(a.part[k], b.part[k], c.part[k]); });
  }
  static Vec cap(Vec x) {
    return each([&](int k) { return Part::cap(x.part[k]); });
  }
  static Vec clamp(Vec x) {
    return each([&](int k) { return Part::clamp(x.part[k]); });
  }
  static Vec rectify(Vec x) {
    return each([&](int k) { return Part::rectify(x.part[k]); });
  }
  static Vec limit(Vec x, Vec bound) {
    return each([&](int k) { return Part::limit(x.part[k], bound.part[k]); });
  }
  static Vec whole(Vec x) {
    return each([&](int k) { return Part::whole(x.part[k]); });
  }
  static Vec scale(Vec x, Vec n) {
    return each([&](int k) { return Part::scale(x.part[k], n.part[k]); });
  }
  static Vec round_to_bfloat16(Vec v) {
    return each([&](int k) { return Part::round_to_bfloat16(v.part[k]); });
  }
  // The bits of a vector rounded to bfloat16.
  static void store_bfloat16(std::uint16_t* p, Vec v) {
    float all[lanes];
    store(all, v);
    for (int lane = 0; lane < lanes; ++lane) p[lane] = to_bfloat16(all[lane]);
  }

 private:
  template <class Operation>
  static Vec each(Operation operation) {
    Vec v;
    for (int k = 0; k < kParts; ++k) v.part[k] = operation(k);
    return v;
  }
};

}  // namespace
}  // namespace unrolled
