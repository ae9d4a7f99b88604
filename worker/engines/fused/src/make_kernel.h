// A kernel's table of functions for one precision of one instruction set.
#pragma once

#include "gru_tile.h"
#include "linear_tile.h"
#include "reset_tile.h"
#include "tile.h"

namespace unrolled {
namespace {

template <class P>
constexpr Kernel make_kernel(const char* isa, const char* precision) {
  return Kernel{isa,
                precision,
                P::Isa::lanes,
                P::Isa::rows,
                P::step_inputs,
                static_cast<int>(sizeof(typename P::Element)),
                P::weight_bits,
                {run_layer<P, Sigmoid>, run_layer<P, HardSigmoid>},
                project<P>,
                cell_update<P>,
                spin<P>,
                {run_gru<P, Sigmoid>, run_gru<P, HardSigmoid>},
                transform<P>,
                {run_gru_reset_before<P, Sigmoid>, run_gru_reset_before<P, HardSigmoid>}};
}

}  // namespace
}  // namespace unrolled
