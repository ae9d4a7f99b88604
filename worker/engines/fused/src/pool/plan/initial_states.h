// The initial states that rows bring, if the model reads them.
#pragma once

#include <cstdint>
#include <vector>

#include "pool/plan/plan.h"

namespace unrolled {

// Numbers the initial states of rows, each `dim` numbers wide: two have one number if they are equal in every bit, so 0
// and -0 are two. Throws std::bad_alloc.
void number_states(std::vector<Row>& rows, const Shard* shards, std::int64_t dim);

}  // namespace unrolled
