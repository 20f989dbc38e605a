#include "client/guarded_copy.h"

#include <emmintrin.h>
#include <ucontext.h>

#include <cstring>

namespace ferry::client {
namespace {

constexpr uintptr_t kPage = 4096;
constexpr uintptr_t kDeepestCopy = 2048;  // bytes of stack that a copy may use

}  // namespace

// Stack pointer of the copy under way in this thread, 0: none. On the stack at that place: the value it had before.
extern "C" {
thread_local constinit uintptr_t ferry_guard [[gnu::tls_model("initial-exec"), gnu::visibility("hidden")]] = 0;
// Calls f(a, b, n) and returns true; false: it met a fault. f must be a leaf that holds nothing.
bool ferry_guarded_call(void* a, const void* b, size_t n, const void* f) __attribute__((visibility("hidden")));
void ferry_guarded_fault() __attribute__((visibility("hidden")));
}

asm(R"(
.pushsection .text
.hidden ferry_guarded_call
.globl ferry_guarded_call
.type ferry_guarded_call, @function
ferry_guarded_call:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov ferry_guard@gottpoff(%rip), %rbx
  push %fs:(%rbx)
  mov %rsp, %fs:(%rbx)
  call *%rcx
  mov $1, %eax
1:
  pop %fs:(%rbx)
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
.hidden ferry_guarded_fault
.globl ferry_guarded_fault
ferry_guarded_fault:
  mov ferry_guard@gottpoff(%rip), %rbx
  xor %eax, %eax
  jmp 1b
.size ferry_guarded_call, . - ferry_guarded_call
.popsection
)");

// Calls touch for a byte of every page of [p, p + n).
static bool touch_pages(const void* p, size_t n, void (*touch)(void*, const void*, size_t)) {
  if (n == 0) return true;
  const auto first = reinterpret_cast<uintptr_t>(p), last = first + n - 1;
  if (last < first) return false;
  for (uintptr_t at = first; at <= last; at = (at | (kPage - 1)) + 1)
    if (!ferry_guarded_call(reinterpret_cast<void*>(at), nullptr, 0, reinterpret_cast<const void*>(touch))) return false;
  return true;
}

bool guarded_copy(void* to, const void* from, size_t n) {
  return ferry_guarded_call(to, from, n, reinterpret_cast<const void*>(&memcpy));
}

// Sanitizers would see the bad address before the processor does.
[[gnu::no_sanitize("address", "undefined")]] static void stream(void* to, const void* from, size_t n) {
  auto* out = static_cast<char*>(to);
  const auto* in = static_cast<const char*>(from);
  for (; n > 0 && reinterpret_cast<uintptr_t>(out) % sizeof(__m128i) != 0; --n) *out++ = *in++;
  for (; n >= sizeof(__m128i); out += sizeof(__m128i), in += sizeof(__m128i), n -= sizeof(__m128i))
    _mm_stream_si128(reinterpret_cast<__m128i*>(out), _mm_loadu_si128(reinterpret_cast<const __m128i*>(in)));
  for (; n > 0; --n) *out++ = *in++;
  _mm_sfence();
}

bool guarded_stream(void* to, const void* from, size_t n) {
  return ferry_guarded_call(to, from, n, reinterpret_cast<const void*>(&stream));
}

// Sanitizers would see the bad address before the processor does.
[[gnu::no_sanitize("address", "undefined")]] static void touch_to_read(void* at, const void*, size_t) {
  *static_cast<const volatile char*>(at);
}
// Writing back what was read could undo what another thread writes meanwhile; an atomic "or" of nothing cannot.
[[gnu::no_sanitize("address", "undefined")]] static void touch_to_write(void* at, const void*, size_t) {
  __atomic_fetch_or(static_cast<char*>(at), 0, __ATOMIC_RELAXED);
}

bool is_readable(const void* p, size_t n) { return touch_pages(p, n, &touch_to_read); }
bool is_writable(void* p, size_t n) { return touch_pages(p, n, &touch_to_write); }

bool fix_guarded_fault(void* context) {
  const uintptr_t guard = ferry_guard;
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto stack = static_cast<uintptr_t>(registers[REG_RSP]);
  // Only what the copy itself has called: not code that a handler left behind by siglongjmp.
  if (guard == 0 || stack > guard || guard - stack > kDeepestCopy) return false;
  constexpr greg_t kDirectionFlag = 0x400;
  registers[REG_RSP] = static_cast<greg_t>(guard);
  registers[REG_RIP] = reinterpret_cast<greg_t>(&ferry_guarded_fault);
  registers[REG_EFL] &= ~kDirectionFlag;
  return true;
}

}  // namespace ferry::client
