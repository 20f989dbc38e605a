/* Signals that arrive while a call on a socket holds something: they wait for its end, and change nothing about what it says. */
#include "say.h"
#include <pthread.h>
#include <pty.h>
#include <sys/mman.h>

static char good[60000];

static void every(int us) {
  struct itimerval t = {{0, us}, {0, us}};
  MUST(setitimer(ITIMER_REAL, &t, NULL));
}

/* A bad pointer behind a piece that is long enough for a signal to arrive meanwhile. */
static void bad_pointers(void) {
  char* bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct iovec both[2] = {{good, sizeof good}, {bad, 10}};
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int u[2], other = 0;
    udp_pair(u);
    every(100);
    for (int i = 0; i < 20000; ++i) other += writev(u[0], both, 2) != -1 || errno != EFAULT;
    printf("other than EFAULT: %d\n", other);
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  printf("ended by signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

/* SIGSEGV that somebody sends is a signal as any other: none is lost, and a fault is still one. */
static volatile int sent_segv, alarms;
static void on_signal(int number) {
  if (number == SIGSEGV) ++sent_segv;
  else ++alarms;
}
static void sent_faults(void) {
  int u[2];
  udp_pair(u);
  signal(SIGSEGV, on_signal);
  signal(SIGALRM, on_signal);
  every(100);
  fflush(stdout);
  pid_t parent = getpid(), child = fork();
  if (child == 0) {
    for (int i = 0; i < 1000; ++i) {
      kill(parent, SIGSEGV);
      usleep(100);
    }
    _exit(0);
  }
  while (waitpid(child, NULL, WNOHANG) == 0) {
    (void)!send(u[0], good, sizeof good, 0);
    (void)!recv(u[1], good, sizeof good, MSG_DONTWAIT);
  }
  every(0);
  printf("came: %d %d\n", sent_segv > 10, alarms > 10);
  signal(SIGSEGV, SIG_DFL);
}

/* What is pending in a process is not pending in its child. */
static pid_t forking;
static volatile sig_atomic_t in_child;
static void on_alarm(int number) {
  (void)number;
  if (getpid() != forking) in_child = 1;
}
static void forks(void) {
  int u[2], of_parent = 0;
  udp_pair(u); /* in touch with ferryd */
  forking = getpid();
  signal(SIGALRM, on_alarm);
  fflush(stdout);
  every(100);
  for (int i = 0; i < 2000; ++i) {
    pid_t child = fork();
    if (child == 0) _exit(in_child);
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
    }
    of_parent += WEXITSTATUS(status);
  }
  every(0);
  printf("children that got their parent's signal: %d\n", of_parent);
}

/* Whichever function sets a handler: one that sends on the socket that it interrupts a send on waits for that one's end. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static int sending[2];
static volatile sig_atomic_t sent_by_handler;
static void send_too(int number) {
  (void)number;
  (void)!send(sending[0], "y", 1, MSG_DONTWAIT);
  ++sent_by_handler;
}
static void setters(void) {
  static const struct {
    const char* name;
    sighandler_t (*set)(int, sighandler_t);
  } all[] = {{"signal", signal}, {"ssignal", ssignal}, {"sigset", sigset}};
  udp_pair(sending);
  for (int i = 0; i < 3; ++i) {
    all[i].set(SIGALRM, send_too);
    sent_by_handler = 0;
    every(100);
    while (sent_by_handler < 100) {
      (void)!send(sending[0], good, sizeof good, 0);
      (void)!recv(sending[1], good, sizeof good, MSG_DONTWAIT);
    }
    every(0);
    printf("handler of %s: sent\n", all[i].name);
  }
}

/* sigset and its relatives of System V: what they return, and that they leave bad pointers what they are. */
static const char* disposition(sighandler_t handler) {
  return handler == SIG_DFL ? "default" : handler == SIG_IGN ? "ignored" : handler == SIG_HOLD ? "held" : handler == SIG_ERR ? "error" : "handled";
}
static void say_disposition(const char* name, sighandler_t before) {
  struct sigaction action;
  sigset_t blocked;
  MUST(sigaction(SIGSEGV, NULL, &action));
  MUST(sigprocmask(SIG_BLOCK, NULL, &blocked));
  printf("%s: %s before, %s now, flags %x, blocked %d\n", name, disposition(before), disposition(action.sa_handler), action.sa_flags & ~0x04000000,
         sigismember(&blocked, SIGSEGV));
}
static void system_v(void) {
  int u[2];
  udp_pair(u);
  void* bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  say_disposition("handler", sigset(SIGSEGV, on_signal));
  SAY("bad pointer", send(u[0], bad, 10, 0));
  say_disposition("hold", sigset(SIGSEGV, SIG_HOLD));
  say_disposition("hold again", sigset(SIGSEGV, SIG_HOLD));
  raise(SIGSEGV);
  say_disposition("handler again", sigset(SIGSEGV, on_signal));
  SAY("sigignore", sigignore(SIGSEGV));
  say_disposition("default", sigset(SIGSEGV, SIG_DFL));
  SAY("sigignore", sigignore(SIGSEGV));
  SAY("bad pointer", send(u[0], bad, 10, 0));
  SAY("sighold", sighold(SIGSEGV));
  SAY("sigrelse", sigrelse(SIGSEGV));
  say_disposition("default again", sigset(SIGSEGV, SIG_DFL));
  printf("of SIGKILL: %s\n", disposition(sigset(SIGKILL, on_signal)));
  printf("of nothing: %s\n", disposition(sigset(0, SIG_HOLD)));
  SAY("SIGKILL ignored", sigignore(SIGKILL));
}

/* A handler that uses sockets, while libc forks by a call of its own. */
static void use_a_socket(int number) {
  int saved_errno = errno;
  (void)number;
  close(socket(AF_INET, SOCK_STREAM, 0));
  errno = saved_errno;
}
static void forks_inside_libc(void) {
  int u[2], set = (int)MUST(epoll_create1(0)), done = 0;
  struct epoll_event ev = {.events = EPOLLIN};
  udp_pair(u);
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, u[0], &ev));
  signal(SIGALRM, use_a_socket);
  fflush(stdout);
  every(300);
  while (done < 200) {
    int terminal;
    pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    if (child == 0) _exit(0);
    if (child < 0) continue;
    while (waitpid(child, NULL, 0) < 0) {
    }
    close(terminal);
    ++done;
  }
  every(0);
  printf("terminals: %d\n", done);
  close(set);
}

/* The program's own handlers of fork run with signals as they are everywhere, and may change the mask. */
static volatile sig_atomic_t raised;
static int in_prepare, in_parent, in_forked;
static void count_raised(int number) { raised += number != 0; }
static int raise_one(void) {
  int before = raised;
  raise(SIGUSR1);
  return raised - before;
}
static void prepare(void) { in_prepare = raise_one(); }
static void back_in_parent(void) {
  sigset_t block;
  sigemptyset(&block);
  sigaddset(&block, SIGUSR2);
  in_parent = raise_one();
  sigprocmask(SIG_BLOCK, &block, NULL);
}
static void begun_in_child(void) { in_forked = raise_one(); }
static void handlers_of_fork(void) {
  sigset_t mask;
  signal(SIGUSR1, count_raised);
  MUST(pthread_atfork(prepare, back_in_parent, begun_in_child) == 0 ? 0 : -1);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) _exit(in_forked);
  int status = 0;
  waitpid(child, &status, 0);
  sigprocmask(SIG_BLOCK, NULL, &mask);
  printf("raised in handlers of fork: %d %d %d, blocked there: %d\n", in_prepare, in_parent, WEXITSTATUS(status), sigismember(&mask, SIGUSR2));
}

int main(void) {
  signal(SIGALRM, only_interrupt);
  bad_pointers();
  sent_faults();
  forks();
  system_v();
  setters();
  forks_inside_libc();
  handlers_of_fork();
  return 0;
}
