// Owns the trampoline of signal handlers and the interposed sigaction, signal and relatives (signals.h). sigaction(2), signal(7), sigset(3).
#include "preload/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ucontext.h>
#include <ucontext.h>

#include "client/channel.h"
#include "client/critical.h"
#include "client/guarded_copy.h"
#include "client/process.h"
#include "ipc/signal_set.h"
#include "ipc/syscall.h"
#include "preload/real.h"

namespace ferry::preload {
namespace {

constexpr int kSignals = 65;
// A signal that programs hardly use, counted from SIGRTMAX.
constexpr int kLifelineFromEnd = 5;

union Handler {
  void (*plain)(int);
  void (*full)(int, siginfo_t*, void*);
};

// What the program asked for; the kernel has the trampoline. Words are atomic.
struct Disposition {
  Handler handler{SIG_DFL};
  uint32_t flags = 0;
  bool ours = false;  // the trampoline is installed
};
Disposition g_dispositions[kSignals];
bool g_interrupts[kSignals];  // signal(3) is to leave SA_RESTART out: siginterrupt(3)

// The signal put aside in this thread, for this process, and the mask to return to.
struct Deferred {
  int number = 0;
  uint32_t process = 0;  // client::process_token()
  siginfo_t info;
  uint64_t mask = 0;
};
thread_local constinit Deferred t_deferred [[gnu::tls_model("initial-exec")]] = {};

thread_local constinit HandlersRun t_handlers_run [[gnu::tls_model("initial-exec")]] = {};

void count_handler(uint32_t flags) { ++((flags & SA_RESTART) != 0 ? t_handlers_run.restarting : t_handlers_run.interrupting); }

using ipc::bit_of;
using ipc::kFaultSignals;
constexpr uint64_t kDeferrable = ~kFaultSignals & ~bit_of(SIGKILL) & ~bit_of(SIGSTOP);  // the kernel leaves these two out of every mask

// Faults of the instruction itself cannot wait.
bool is_fault(int number, const siginfo_t* info) { return (bit_of(number) & kFaultSignals) != 0 && info->si_code > 0; }

// The signals of bad pointers have the trampoline whatever the program asks for.
bool is_guarded(int number) { return number == SIGSEGV || number == SIGBUS; }

void send_to_thread(int number, const siginfo_t* info) {
  ipc::raw_syscall(SYS_rt_tgsigqueueinfo, ipc::raw_syscall(SYS_getpid), ipc::raw_syscall(SYS_gettid), number, ipc::arg(info));
}

// What the kernel would have done with a guarded signal that the program leaves to it or ignores.
void act_by_default(int number, const siginfo_t* info, bool ignored) {
  if (ignored && info->si_code <= 0) return;  // sent by somebody; a fault cannot be ignored
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  real().sigaction(number, &standard, nullptr);
  // A fault comes again at once, as the instruction is tried again; what was sent is sent again.
  if (info->si_code <= 0) send_to_thread(number, info);
}

// Until the trampoline returns.
void block_all() {
  const uint64_t all = ~uint64_t{0};
  ipc::raw_syscall(SYS_rt_sigprocmask, SIG_BLOCK, ipc::arg(&all), 0, kKernelSetSize);
}

// To where the trampoline returns with a signal put aside, perhaps by one that interrupted it: nothing else comes there until the section ends,
// but for faults: one that is blocked ends the program, and a bad pointer further on in the section is to give EFAULT. All is blocked now.
void keep_out(ucontext_t* context, uint64_t also) {
  uint64_t mask;
  memcpy(&mask, &context->uc_sigmask, sizeof(mask));
  if ((~mask & kDeferrable) != 0) t_deferred.mask = mask;  // that of the section, not of a trampoline
  mask |= kDeferrable | also;
  memcpy(&context->uc_sigmask, &mask, sizeof(mask));
}

// What comes behind a signal put aside (one of a fault's that somebody sends, or the one whose trampoline another interrupted) is left pending.
// A fault of its kind in the rest of the section is deadly.
void put_aside(int number, const siginfo_t* info, ucontext_t* context) {
  block_all();
  if (client::t_critical.deferred) {
    send_to_thread(number, info);
  } else {
    t_deferred.number = number;
    t_deferred.process = client::process_token();
    t_deferred.info = *info;
    memcpy(&t_deferred.mask, &context->uc_sigmask, sizeof(t_deferred.mask));
    client::t_critical.deferred = true;
  }
  keep_out(context, bit_of(number));
}

// Behind a fault in a section: one that was put aside meanwhile has our mask, not the section's.
void go_on_in_section(ucontext_t* context) {
  block_all();
  if (client::t_critical.deferred) keep_out(context, 0);
}

// A bad pointer that a call met: it goes on with EFAULT.
bool fix_fault(ucontext_t* context) {
  if (!client::fix_guarded_fault(context)) return false;
  if (client::in_critical_section()) go_on_in_section(context);
  return true;
}

void trampoline(int number, siginfo_t* info, void* context) {
  if (is_guarded(number) && info->si_code > 0 && fix_fault(static_cast<ucontext_t*>(context))) return;
  Disposition& d = g_dispositions[number];
  if (client::in_critical_section() && !is_fault(number, info)) {
    put_aside(number, info, static_cast<ucontext_t*>(context));
    return;
  }
  Handler handler;
  __atomic_load(&d.handler.plain, &handler.plain, __ATOMIC_ACQUIRE);
  const uint32_t flags = __atomic_load_n(&d.flags, __ATOMIC_RELAXED);
  if (handler.plain == SIG_DFL || handler.plain == SIG_IGN) {  // guarded, or changed while the signal was under way
    if (is_guarded(number)) act_by_default(number, info, handler.plain == SIG_IGN);
    return;
  }
  if ((flags & SA_RESETHAND) != 0) {
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    if (!is_guarded(number)) real().sigaction(number, &standard, nullptr);
    void (*none)(int) = SIG_DFL;
    __atomic_store(&d.handler.plain, &none, __ATOMIC_RELEASE);
    __atomic_store_n(&d.ours, false, __ATOMIC_RELAXED);
  }
  count_handler(flags);
  if ((flags & SA_SIGINFO) != 0) handler.full(number, info, context);
  else handler.plain(number);
  if (client::in_critical_section()) go_on_in_section(static_cast<ucontext_t*>(context));  // it was a fault's
}

// The critical section has ended: sends the signal to this thread again, as it came, and lets signals in. In a child that was forked in the section
// it is the parent's, as what is pending there is.
void on_critical_leave() {
  Deferred aside = t_deferred;
  t_deferred.number = 0;
  client::t_critical.deferred = false;
  if (aside.number == 0) return;
  if (aside.process == client::process_token()) send_to_thread(aside.number, &aside.info);
  ipc::raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, ipc::arg(&aside.mask), 0, kKernelSetSize);
}

int change(int number, const struct sigaction* action, struct sigaction* old) {
  if (number <= 0 || number >= kSignals) return real().sigaction(number, action, old);
  Disposition& d = g_dispositions[number];
  const Disposition before = d;
  struct sigaction ours;
  const struct sigaction* given = action;
  if (action != nullptr) {
    const bool handled = (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN) || is_guarded(number);
    if (handled) {
      ours = *action;
      ours.sa_sigaction = trampoline;
      ours.sa_flags = (action->sa_flags | SA_SIGINFO) & ~static_cast<int>(SA_RESETHAND);
      given = &ours;
    }
    void (*handler)(int) = action->sa_handler;
    __atomic_store_n(&d.flags, static_cast<uint32_t>(action->sa_flags), __ATOMIC_RELAXED);
    if (handled) __atomic_store(&d.handler.plain, &handler, __ATOMIC_RELEASE);
  }
  struct sigaction previous;
  if (real().sigaction(number, given, &previous) != 0) {
    d = before;
    return -1;
  }
  if (action != nullptr) __atomic_store_n(&d.ours, given == &ours, __ATOMIC_RELAXED);
  if (old == nullptr) return 0;
  *old = previous;
  if (previous.sa_sigaction == trampoline) {
    old->sa_handler = before.handler.plain;
    old->sa_flags = static_cast<int>(before.flags) | (previous.sa_flags & 0x04000000 /* SA_RESTORER */);
  }
  return 0;
}

sighandler_t set_simple(int number, sighandler_t handler, int flags) {
  struct sigaction action = {}, old = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  if (handler == SIG_ERR) return errno = EINVAL, SIG_ERR;
  return change(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

// Bad pointers in calls on Ferry sockets give EFAULT: the trampoline stands ready from the start.
void guard_signal(int number) {
  struct sigaction present = {};
  if (real().sigaction(number, nullptr, &present) == 0 && present.sa_sigaction != trampoline) change(number, &present, nullptr);
}

}  // namespace

HandlersRun handlers_run() { return t_handlers_run; }

bool restarts(const HandlersRun& before) {
  return t_handlers_run.restarting != before.restarting && t_handlers_run.interrupting == before.interrupting;
}

int start_signals() {
  client::g_on_critical_leave = on_critical_leave;
  guard_signal(SIGSEGV);
  guard_signal(SIGBUS);
  const int number = SIGRTMAX - kLifelineFromEnd;
  struct sigaction present = {};
  if (real().sigaction(number, nullptr, &present) != 0 || present.sa_handler != SIG_DFL) return 0;  // somebody has it already
  struct sigaction ours = {};
  ours.sa_handler = [](int) {
    count_handler(SA_RESTART);
    int saved_errno = errno;
    client::Channel::on_lifeline_signal();
    errno = saved_errno;
  };
  ours.sa_flags = SA_RESTART;
  return real().sigaction(number, &ours, nullptr) == 0 ? number : 0;
}

FERRY_EXPORT int sigaction(int number, const struct sigaction* action, struct sigaction* old) noexcept {
  return change(number, action, old);
}
FERRY_EXPORT sighandler_t signal(int number, sighandler_t handler) noexcept {
  const bool interrupts = number > 0 && number < kSignals && __atomic_load_n(&g_interrupts[number], __ATOMIC_RELAXED);
  return set_simple(number, handler, interrupts ? 0 : SA_RESTART);
}
FERRY_EXPORT sighandler_t bsd_signal(int number, sighandler_t handler) noexcept { return signal(number, handler); }
FERRY_EXPORT sighandler_t ssignal(int number, sighandler_t handler) noexcept { return signal(number, handler); }
// sighold(3) and sigrelse(3) change the mask only.
FERRY_EXPORT sighandler_t sigset(int number, sighandler_t handler) noexcept {
  const bool hold = handler == SIG_HOLD;
  struct sigaction present;
  const sighandler_t before = !hold ? set_simple(number, handler, 0) : change(number, nullptr, &present) == 0 ? present.sa_handler : SIG_ERR;
  if (before == SIG_ERR) return SIG_ERR;
  const uint64_t bit = bit_of(number);
  uint64_t blocked = 0;
  ipc::raw_syscall(SYS_rt_sigprocmask, hold ? SIG_BLOCK : SIG_UNBLOCK, ipc::arg(&bit), ipc::arg(&blocked), kKernelSetSize);
  return (blocked & bit) != 0 ? SIG_HOLD : before;
}
FERRY_EXPORT int sigignore(int number) noexcept { return set_simple(number, SIG_IGN, 0) == SIG_ERR ? -1 : 0; }
FERRY_EXPORT int siginterrupt(int number, int flag) noexcept {
  struct sigaction action;
  if (change(number, nullptr, &action) != 0) return -1;
  action.sa_flags = flag != 0 ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
  if (change(number, &action, nullptr) != 0) return -1;
  __atomic_store_n(&g_interrupts[number], flag != 0, __ATOMIC_RELAXED);
  return 0;
}
FERRY_EXPORT sighandler_t sysv_signal(int number, sighandler_t handler) noexcept {
  return set_simple(number, handler, static_cast<int>(SA_RESETHAND | SA_NODEFER));
}
FERRY_EXPORT sighandler_t __sysv_signal(int number, sighandler_t handler) noexcept {
  return set_simple(number, handler, static_cast<int>(SA_RESETHAND | SA_NODEFER));
}

}  // namespace ferry::preload
