/* Waiting under a seccomp filter that lets through, of all calls that wait for descriptors, only the one that the program makes: a filter that it sets
 * itself, or that was there when it started. */
#include "say.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/syscall.h>

static const int calls[] = {SYS_poll, SYS_ppoll, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_select, SYS_pselect6};
static const char* const names[] = {"poll", "ppoll", "epoll_wait", "epoll_pwait", "epoll_pwait2", "select"};
enum { kCalls = sizeof calls / sizeof *calls, kFunctions = kCalls - 1 }; /* select(3) is one of two system calls */

static void allow_only(int call) {
  struct sock_filter rules[kCalls * 2 + 2] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
  unsigned short count = 1;
  for (int i = 0; i < kCalls; ++i) {
    if (i == call || (call == kFunctions - 1 && i == call + 1)) continue;
    rules[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
    rules[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
  }
  rules[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {count, rules};
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

/* Two descriptors to wait for by `call`, together. */
struct Both {
  int call, fds[2], set;
};
static struct Both both(int call, int one, int other) {
  struct Both b = {call, {one, other}, (int)MUST(epoll_create1(0))};
  for (int i = 0; i < 2; ++i) {
    struct epoll_event ev = {.events = EPOLLIN};
    if (b.fds[i] >= 0) MUST(epoll_ctl(b.set, EPOLL_CTL_ADD, b.fds[i], &ev));
  }
  return b;
}

static int wait_for(const struct Both* b, int ms) {
  struct pollfd fds[2] = {{b->fds[0], POLLIN, 0}, {b->fds[1], POLLIN, 0}};
  struct epoll_event told[2];
  struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
  struct timeval few = {ms / 1000, ms % 1000 * 1000};
  fd_set in;
  switch (calls[b->call]) {
    case SYS_poll: return poll(fds, 2, ms);
    case SYS_ppoll: return ppoll(fds, 2, &t, NULL);
    case SYS_epoll_wait: return epoll_wait(b->set, told, 2, ms);
    case SYS_epoll_pwait: return epoll_pwait(b->set, told, 2, ms, NULL);
    case SYS_epoll_pwait2: return epoll_pwait2(b->set, told, 2, &t, NULL);
    default:
      FD_ZERO(&in);
      for (int i = 0; i < 2; ++i)
        if (b->fds[i] >= 0) FD_SET(b->fds[i], &in);
      return select(64, &in, NULL, NULL, &few);
  }
}

static void* write_later(void* fd) {
  usleep(20000);
  MUST(write(*(int*)fd, "x", 1));
  return fd;
}

/* `from` is one of the two that are waited for, and what is written to `to` comes there. */
static void waits(const char* name, const struct Both* b, int from, int to) {
  char text[64], byte;
  pthread_t t;
  snprintf(text, sizeof text, "%s, %s", names[b->call], name);
  printf("%s\n", text);
  SAY("nothing", wait_for(b, 0));
  SAY("nothing for a while", wait_for(b, 20));
  pthread_create(&t, NULL, write_later, &to);
  SAY("while it waits", wait_for(b, 5000));
  pthread_join(t, NULL);
  SAY("there already", wait_for(b, 5000));
  SAY("there already, without waiting", wait_for(b, 0));
  MUST(read(from, &byte, 1));
  SAY("nothing any more", wait_for(b, 0));
}

static void all_waits(int call, int confine) {
  int q[2], s[2], u[2];
  MUST(pipe(q));
  tcp_pair(s);
  udp_pair(u);
  struct Both pipe_only = both(call, q[0], -1), stream = both(call, s[0], -1), datagrams = both(call, u[0], -1), beside = both(call, u[0], q[0]);
  if (confine) allow_only(call);
  waits("pipe", &pipe_only, q[0], q[1]);
  if (calls[call] == SYS_select && !confine) return; /* as under such a filter, a socket that is Ferry's is waited for by ppoll */
  waits("stream", &stream, s[0], s[1]);
  if (calls[call] == SYS_select) return;
  waits("datagrams", &datagrams, u[0], u[1]);
  waits("datagrams beside a pipe", &beside, u[0], u[1]);
  waits("a pipe beside datagrams", &beside, q[0], q[1]);
}

int main(int argc, char** argv) {
  if (argc > 1) return all_waits(atoi(argv[1]), 0), 0;
  for (int i = 0; i < kFunctions * 2; ++i) {
    const int call = i / 2, later = i % 2;
    printf("filter %s\n", later ? "set by the program" : "from the start");
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      if (later) return all_waits(call, 1), 0;
      allow_only(call);
      char number[4];
      snprintf(number, sizeof number, "%d", call);
      execl("/proc/self/exe", argv[0], number, NULL);
      _exit(1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    printf("status %x\n", status);
  }
  return 0;
}
