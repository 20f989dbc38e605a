/* Threads: cancellation, signals that interrupt, closing under a reader, many threads on one socket and on one epoll set. */
#include "say.h"
#include <pthread.h>
#include <setjmp.h>

static int p[2];

static void* reader(void* argument) {
  char b[8];
  (void)argument;
  recv(p[0], b, 8, 0);
  return "returned";
}
static void* accepter(void* argument) {
  accept(*(int*)argument, NULL, NULL);
  return "returned";
}
static void* poller(void* argument) {
  struct pollfd q = {p[0], POLLIN, 0};
  (void)argument;
  poll(&q, 1, -1);
  return "returned";
}

static void cancel(const char* name, void* (*what)(void*), void* argument) {
  pthread_t t;
  void* result = NULL;
  pthread_create(&t, NULL, what, argument);
  usleep(50000);
  pthread_cancel(t);
  pthread_join(t, &result);
  printf("cancelled in %s: %s\n", name, result == PTHREAD_CANCELED ? "yes" : (char*)result);
}

static void handler(int number) { (void)number; }

static void alarm_with(int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(SIGALRM, &action, NULL);
  struct itimerval t = {{0, 0}, {0, 50000}};
  setitimer(ITIMER_REAL, &t, NULL);
}

static void signals(void) {
  char b[8];
  alarm_with(0);
  SAY("recv interrupted", recv(p[0], b, 8, 0));
  struct pollfd q = {p[0], POLLIN, 0};
  alarm_with(SA_RESTART);
  SAY("poll is never restarted", poll(&q, 1, 3000));
  struct timeval t = {2, 0};
  setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  alarm_with(SA_RESTART);
  SAY("nor a timed recv", recv(p[0], b, 8, 0));
  t.tv_sec = 0;
  setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  if (fork() == 0) {
    usleep(200000);
    (void)!send(p[1], "x", 1, 0);
    _exit(0);
  }
  alarm_with(SA_RESTART);
  SAY("recv restarted", recv(p[0], b, 8, 0));
  wait(NULL);
  struct sigaction old;
  sigaction(SIGALRM, NULL, &old);
  printf("handler kept %d, restart %d, siginfo %d\n", old.sa_handler == handler, (old.sa_flags & SA_RESTART) != 0,
         (old.sa_flags & SA_SIGINFO) != 0);
  printf("signal returns the handler %d\n", signal(SIGALRM, SIG_DFL) == handler);
  sigaction(SIGALRM, NULL, &old);
  printf("default again %d\n", old.sa_handler == SIG_DFL);
}

enum { kThreads = 4, kRounds = 2000 };
static long received_sum;

static void* many_writers(void* argument) {
  uint32_t word = (uint32_t)(uintptr_t)argument;
  for (int i = 0; i < kRounds; ++i)
    if (send(p[1], &word, 4, 0) != 4) {
      printf("writer %u after %d: %s\n", word, i, strerrorname_np(errno));
      return "failed";
    }
  return NULL;
}

static void* edge_worker(void* argument) {
  int e = *(int*)argument;
  for (;;) {
    struct epoll_event ev;
    if (epoll_wait(e, &ev, 1, 2000) != 1) return NULL;
    char b[256];
    long n = recv(ev.data.fd, b, sizeof b, MSG_DONTWAIT);
    if (n == 0) return NULL;
    if (n > 0) __sync_fetch_and_add(&received_sum, n);
    ev.events = EPOLLIN | EPOLLONESHOT;
    epoll_ctl(e, EPOLL_CTL_MOD, ev.data.fd, &ev);
  }
}

static void crowds(void) {
  pthread_t t[kThreads];
  for (int i = 0; i < kThreads; ++i) pthread_create(&t[i], NULL, many_writers, (void*)(uintptr_t)(i + 1));
  long bytes = 0, sum = 0;
  uint32_t word;
  while (bytes < 4l * kThreads * kRounds && recv(p[0], &word, 4, MSG_WAITALL) == 4) bytes += 4, sum += word;
  for (int i = 0; i < kThreads; ++i) pthread_join(t[i], NULL);
  printf("writers: %ld bytes, sum %ld\n", bytes, sum);
  int e = epoll_create1(0);
  struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = p[0]};
  MUST(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
  for (int i = 0; i < kThreads; ++i) pthread_create(&t[i], NULL, edge_worker, &e);
  for (int i = 0; i < 500; ++i) MUST(send(p[1], "0123456789", 10, 0));
  for (int i = 0; i < 200 && __sync_fetch_and_add(&received_sum, 0) < 5000; ++i) usleep(10000);
  printf("workers of one set: %ld\n", received_sum);
  shutdown(p[1], SHUT_WR);
  for (int i = 0; i < kThreads; ++i) pthread_join(t[i], NULL);
}

int main(void) {
  tcp_pair(p);
  cancel("recv", reader, NULL);
  cancel("poll", poller, NULL);
  int l = listener();
  cancel("accept", accepter, &l);
  signals();
  crowds();
  return 0;
}
