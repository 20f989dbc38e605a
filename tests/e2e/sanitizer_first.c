// Behind libferry, before AddressSanitizer (sanitized.py): what that needs to run in programs that know nothing of it.
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>

void __asan_init(void);

// Before any other library's constructor (the linker's initfirst): those allocate, or call what libferry has taken the place of.
__attribute__((constructor)) static void start(void) { __asan_init(); }

// AddressSanitizer asks for the signal stack when it learns that frames were left (a thread is cancelled, siglongjmp), and would report
// what is left of those frames as the place for the answer.
int sigaltstack(const stack_t* fresh, stack_t* old) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_sigaltstack), "D"(fresh), "S"(old) : "rcx", "r11", "memory");
  if (result == 0) return 0;
  errno = (int)-result;
  return -1;
}
