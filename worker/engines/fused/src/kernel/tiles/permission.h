// Whether this process may use the processor's matrix units (Intel's AMX).
#pragma once

namespace unrolled {

// Null if it may; otherwise the reason why not, in words. Asks the system for permission the first time.
const char* why_no_tiles();

}  // namespace unrolled
