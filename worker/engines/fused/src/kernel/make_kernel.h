// Makes the table of functions of a kernel, for one instruction set and one arithmetic.
#pragma once

#include "kernel/kinds.h"
#include "kernel/probes.h"
#include "kernel/project.h"

namespace unrolled {
namespace {

template <class P>
constexpr auto project_of() -> decltype(Kernel::project) {
  if constexpr (P::arithmetic == Arithmetic::float32) return project<P>;
  return nullptr;
}

template <class P>
constexpr Kernel make_kernel(const char* isa, const Kernel* (*table_kernel)()) {
  return Kernel{isa,
                P::arithmetic,
                P::Isa::lanes,
                P::Isa::rows,
                P::step_inputs,
                P::block_steps * P::step_inputs,
                P::group_inputs,
                false,
                384,
                300 << 10,
                P::pieces,
                static_cast<int>(P::pieces * sizeof(typename P::Element)),
                {run_layer<P, Lstm<P, Sigmoid>>, run_layer<P, Lstm<P, HardSigmoid>>},
                {run_layer<P, Lstm<P, Sigmoid, true>>, run_layer<P, Lstm<P, HardSigmoid, true>>},
                {run_layer<P, Gru<P, Sigmoid>>, run_layer<P, Gru<P, HardSigmoid>>},
                {run_layer<P, ResetGates<P, Sigmoid>>, run_layer<P, ResetGates<P, HardSigmoid>>},
                {run_layer<P, ResetCandidate<P, Sigmoid>>, run_layer<P, ResetCandidate<P, HardSigmoid>>},
                run_layer<P, Projection<P>>,
                run_layer<P, Factors<P>>,
                run_layer<P, Dense<P>>,
                run_layer<P, Products<P>>,
                activate<P>,
                cells<P>,
                hidden_states<P>,
                project_of<P>(),
                cell_update<P>,
                spin<P>,
                table_kernel};
}

}  // namespace
}  // namespace unrolled
