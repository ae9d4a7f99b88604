// Makes the table of functions of a kernel, for one instruction set and one arithmetic.
#pragma once

#include "kernel/kinds.h"
#include "kernel/probes.h"
#include "kernel/project.h"

namespace unrolled {
namespace {

template <class P>
constexpr Kernel make_kernel(const char* isa, const char* arithmetic) {
  return Kernel{isa,
                arithmetic,
                P::Isa::lanes,
                P::Isa::rows,
                P::step_inputs,
                static_cast<int>(sizeof(typename P::Element)),
                P::weight_bits,
                {run_layer<P, Lstm<P, Sigmoid>>, run_layer<P, Lstm<P, HardSigmoid>>},
                {run_layer<P, Gru<P, Sigmoid>>, run_layer<P, Gru<P, HardSigmoid>>},
                {run_layer<P, ResetGates<P, Sigmoid>>, run_layer<P, ResetGates<P, HardSigmoid>>},
                {run_layer<P, ResetCandidate<P, Sigmoid>>, run_layer<P, ResetCandidate<P, HardSigmoid>>},
                run_layer<P, Projection<P>>,
                project<P>,
                cell_update<P>,
                spin<P>};
}

}  // namespace
}  // namespace unrolled
