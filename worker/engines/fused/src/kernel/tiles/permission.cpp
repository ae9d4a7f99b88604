#include "kernel/tiles/permission.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#endif

namespace unrolled {
namespace {

#if defined(__x86_64__) && defined(__linux__)

bool has_leaf(unsigned leaf) { return __get_cpuid_max(0, nullptr) >= leaf; }

bool processor_has_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!has_leaf(0x1d)) return false;
  __cpuid_count(7, 0, a, b, c, d);
  return (d >> 24 & 1) && (d >> 22 & 1);  // AMX-TILE, AMX-BF16
}

// Whether the first palette has eight tiles of 16 rows of 64 bytes.
bool tiles_are_whole() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  __cpuid_count(0x1d, 1, a, b, c, d);
  return (a >> 16) >= 1024 && (b & 0xffff) >= 64 && (b >> 16) >= 8 && (c & 0xffff) >= 16;
}

// Whether the system saves tiles when it switches threads: bits 17 and 18 of XCR0.
bool system_saves_tiles() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  __cpuid(1, a, b, c, d);
  if (!(c >> 27 & 1)) return false;  // OSXSAVE: whether XGETBV may be used
  std::uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low >> 17 & 3) == 3;
}

const char* find_reason() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  if (!processor_has_tiles()) return "the processor has no AMX with bfloat16";
  if (!tiles_are_whole()) return "the processor's tiles are smaller than 16 rows of 64 bytes";
  if (!system_saves_tiles()) return "the operating system does not save AMX's registers";
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0) return nullptr;
  switch (errno) {
    case ENOSPC: return "a signal stack of this process is too small for AMX's registers";
    case EPERM: return "the system refuses permission for AMX (a seccomp filter?)";
    default: return "the system refuses permission for AMX (Linux 5.16 or newer gives it)";
  }
}

#else
const char* find_reason() { return "AMX is used on Linux and x86-64 only"; }
#endif

}  // namespace

const char* why_no_tiles() {
  static const char* const reason = find_reason();
  return reason;
}

}  // namespace unrolled
