// Compiled with the kernel's flags and never linked: everything that the core must not do.
#include <cstddef>

extern "C" void* malloc(size_t);

namespace {
struct Registered {
  Registered() : memory(malloc(1)) {}
  ~Registered() { memory = nullptr; }
  void* volatile memory;
} g_registered;
}  // namespace

int too_much_stack(int at) {
  volatile int numbers[1000] = {};
  return numbers[at];
}
