// How fast a kernel computes on this machine at this moment.
#pragma once

#include "kernel/kernel.h"

namespace unrolled {

// Operations of the products per second, two for each multiply-add, of a small model of two LSTM layers on `threads`
// threads. It takes some hundredths of a second on vector units, and more on slower kernels.
double measure_rate(const Kernel& kernel, int threads);

}  // namespace unrolled
