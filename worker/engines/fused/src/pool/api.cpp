// The C interface that library.py calls. No C++ exception leaves it. One file, because it is one interface with one
// version.
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "kernel/tiles/permission.h"
#include "pool/engine.h"
#include "rate/rate.h"

#define UNROLLED_API extern "C" __attribute__((visibility("default")))

namespace {

// The results of unrolled_engine_new and unrolled_engine_compute, mirrored in library.py.
enum Status : std::int32_t {
  kOk = 0,
  kOutOfMemory = 1,
  kNoKernel = 2,      // this machine can't run the instruction set asked for
  kBadOffsets = 3,
  kBadToken = 4,
  kTooManyRows = 5,
  kRowTooLong = 6,
  kBadModel = 7,      // layers that don't fit together
  kBadColumns = 8,
  kFailed = 9,        // no thread could be started, or worse
};

using unrolled::Arithmetic;

struct Problem {
  std::int64_t shard, position, value;
};

Status status_of(unrolled::Fault fault) {
  switch (fault) {
    case unrolled::Fault::offsets: return kBadOffsets;
    case unrolled::Fault::token: return kBadToken;
    case unrolled::Fault::too_many_rows: return kTooManyRows;
    case unrolled::Fault::row_too_long: return kRowTooLong;
    case unrolled::Fault::none: break;
  }
  return kFailed;
}

// Runs `action` and turns what it throws into a status; `unfit` is the status for std::invalid_argument.
template <class Action>
std::int32_t guarded(Problem* problem, Status unfit, Action action) {
  try {
    return action();
  } catch (const unrolled::InputError& error) {
    if (problem) *problem = {error.shard, error.position, error.value};
    return status_of(error.fault);
  } catch (const std::invalid_argument&) {
    return unfit;
  } catch (const std::bad_alloc&) {
    return kOutOfMemory;
  } catch (...) {
    return kFailed;
  }
}

}  // namespace

// Raised whenever a signature or structure here changes.
UNROLLED_API std::int32_t unrolled_abi_version() { return 12; }

// The instruction set whose kernel is taken if `isa` is asked for; null if this machine can't run it.
UNROLLED_API const char* unrolled_kernel_isa(const char* isa, Arithmetic arithmetic) {
  const unrolled::Kernel* kernel = unrolled::choose_kernel(isa, arithmetic);
  return kernel ? kernel->isa : nullptr;
}

// Why the processor's matrix units are not used; null if they are.
UNROLLED_API const char* unrolled_why_no_tiles() {
  if (!unrolled::amx_kernel(Arithmetic::bfloat16)) {
    return "the kernel was built for another processor, or by a compiler without AMX";
  }
  return unrolled::why_no_tiles();
}

UNROLLED_API std::int32_t unrolled_engine_new(const char* isa, Arithmetic arithmetic, std::int32_t threads,
                                              std::int64_t table_bytes, std::int64_t vector_bytes,
                                              std::int64_t vocab_size, std::int64_t embedding_dim,
                                              const float* embedding,
                                              std::int64_t layer_count, const unrolled::LayerWeights* layers,
                                              void** engine, std::int32_t* has_table) {
  return guarded(nullptr, kBadModel, [&]() -> std::int32_t {
    const unrolled::Kernel* kernel = unrolled::choose_kernel(isa, arithmetic);
    if (!kernel) return kNoKernel;
    const std::vector<unrolled::LayerWeights> weights(layers, layers + layer_count);
    unrolled::Model model(*kernel, vocab_size, embedding_dim, embedding, weights, table_bytes);
    *has_table = model.has_table();
    *engine = new unrolled::Engine(std::move(model), threads, vector_bytes);
    return kOk;
  });
}

UNROLLED_API void unrolled_engine_free(void* engine) { delete static_cast<unrolled::Engine*>(engine); }

UNROLLED_API std::int32_t unrolled_engine_compute(void* engine, const unrolled::Shard* shards,
                                                  std::int64_t shard_count, const unrolled::Column* columns,
                                                  std::int64_t column_count, unrolled::PoolStats* stats,
                                                  Problem* problem) {
  return guarded(problem, kBadColumns, [&]() -> std::int32_t {
    *stats = static_cast<unrolled::Engine*>(engine)->compute(shards, shard_count, columns, column_count);
    return kOk;
  });
}

// Only the plan, for its tests: for each sorted row where it begins in the shard's values, and what it shares.
UNROLLED_API std::int32_t unrolled_plan(const unrolled::Shard* shard, std::int64_t vocab_size,
                                        std::int32_t backward, std::int64_t* order, std::int32_t* shared,
                                        std::int64_t* count, Problem* problem) {
  return guarded(problem, kFailed, [&]() -> std::int32_t {
    std::vector<unrolled::Row> rows = unrolled::list_rows(shard, 1, vocab_size);
    unrolled::sort_rows(rows, backward != 0, vocab_size);
    *count = 0;
    for (const unrolled::Row& row : rows) {
      order[*count] = row.tokens - shard->values;
      shared[*count] = row.shared;
      ++*count;
    }
    return kOk;
  });
}

// One cell update over plain arrays of `count` unscaled sums, for the tests of the approximations.
UNROLLED_API std::int32_t unrolled_cell_update(const char* isa, Arithmetic arithmetic, std::int64_t count,
                                               const float* i, const float* f, const float* g, const float* o,
                                               const float* cell_in, float* cell_out, float* hidden_out) {
  const unrolled::Kernel* kernel = unrolled::choose_kernel(isa, arithmetic);
  if (!kernel) return kNoKernel;
  kernel->cell_update(count, i, f, g, o, cell_in, cell_out, hidden_out);
  return kOk;
}

// How fast a small model is computed: operations per second; 0 if this machine can't run the kernel.
UNROLLED_API double unrolled_rate(const char* isa, Arithmetic arithmetic, std::int32_t threads) {
  try {
    const unrolled::Kernel* kernel = unrolled::choose_kernel(isa, arithmetic);
    return kernel ? unrolled::measure_rate(*kernel, threads) : 0.0;
  } catch (...) {
    return 0.0;
  }
}

// Multiply-adds in registers only, for benchmarks: no kernel can be faster. Returns the number of operations.
UNROLLED_API double unrolled_spin(const char* isa, Arithmetic arithmetic, std::int64_t rounds) {
  const unrolled::Kernel* kernel = unrolled::choose_kernel(isa, arithmetic);
  return kernel ? kernel->spin(rounds) : 0.0;
}
