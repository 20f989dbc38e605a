/* Threads: cancellation, signals that interrupt, closing under a reader, many threads on one socket and on one epoll set. */
#include "say.h"
#include <pthread.h>
#include <setjmp.h>
#include <sys/mman.h>

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
  printf("handler kept %d, restart %d, siginfo %d\n", old.sa_handler == only_interrupt, (old.sa_flags & SA_RESTART) != 0,
         (old.sa_flags & SA_SIGINFO) != 0);
  printf("signal returns the handler %d\n", signal(SIGALRM, SIG_DFL) == only_interrupt);
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

/* Two sockets become readable at once: two threads that take one event each have both, although neither looks again before the other has. */
static int crowd, pairs[2][2];
static volatile int served, quit;
static pthread_barrier_t start, done;

static void* one_event(void* argument) {
  (void)argument;
  for (;;) {
    pthread_barrier_wait(&start);
    if (quit) return NULL;
    struct epoll_event ev;
    char b[1];
    if (epoll_wait(crowd, &ev, 1, 3000) == 1 && recv(ev.data.fd, b, 1, MSG_DONTWAIT) == 1) {
      __sync_fetch_and_add(&served, 1);
      for (int ms = 0; ms < 1000 && served < 2; ++ms) usleep(1000);
    }
    pthread_barrier_wait(&done);
  }
}

static void two_at_once(void) {
  pthread_t t[2];
  int left = 0;
  crowd = (int)MUST(epoll_create1(0));
  pthread_barrier_init(&start, NULL, 3);
  pthread_barrier_init(&done, NULL, 3);
  for (int i = 0; i < 2; ++i) {
    tcp_pair(pairs[i]);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = pairs[i][0]};
    MUST(epoll_ctl(crowd, EPOLL_CTL_ADD, pairs[i][0], &ev));
    pthread_create(&t[i], NULL, one_event, NULL);
  }
  for (int round = 0; round < 200 && left == 0; ++round) {
    served = 0;
    pthread_barrier_wait(&start);
    usleep(round % 2 ? 1000 : 0);
    for (int i = 0; i < 2; ++i) MUST(send(pairs[i][1], "x", 1, 0));
    for (int ms = 0; ms < 900 && served < 2; ++ms) usleep(1000);
    left += served < 2;
    pthread_barrier_wait(&done);
    for (int i = 0; i < 2; ++i) {
      struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = pairs[i][0]};
      MUST(epoll_ctl(crowd, EPOLL_CTL_MOD, pairs[i][0], &ev));
    }
  }
  printf("two events, two threads: left lying %d\n", left);
  quit = 1;
  pthread_barrier_wait(&start);
  for (int i = 0; i < 2; ++i) pthread_join(t[i], NULL);
}

/* A poll under way goes on when the socket's descriptor is written to behind the library's back (Ferry makes it the kernel's then). */
static long write_unseen(int fd, const void* data, long size) {
  long result = 1; /* SYS_write */
  __asm__ volatile("syscall" : "+a"(result) : "D"((long)fd), "S"(data), "d"(size) : "rcx", "r11", "memory");
  return result;
}

static int streamed[2], quiet[2];
static void* poll_two(void* argument) {
  struct pollfd q[2] = {{streamed[0], POLLIN, 0}, {quiet[0], POLLIN, 0}};
  (void)argument;
  int n = poll(q, 2, 6000);
  printf("poll beside an unseen write: %d %s\n", n, bits_text((unsigned)q[0].revents));
  return NULL;
}

static void written_unseen_while_polled(void) {
  pthread_t t;
  char b[1];
  tcp_pair(streamed);
  MUST(pipe(quiet));
  pthread_create(&t, NULL, poll_two, NULL);
  usleep(50000);
  MUST(write_unseen(streamed[0], "x", 1));
  MUST(recv(streamed[1], b, 1, 0));
  usleep(50000);
  MUST(send(streamed[1], "y", 1, 0));
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 3;
  if (pthread_timedjoin_np(t, NULL, &until) == 0) return;
  printf("it is not told before its time is over\n");
  pthread_join(t, NULL);
}

/* A socket goes on being used when a thread that polled it is gone, and its stack with it: it left poll by siglongjmp, or is in the parent. */
static sigjmp_buf out_of_poll;
static volatile int polling;
static void leave_poll(int number) {
  (void)number;
  siglongjmp(out_of_poll, 1);
}
static void* poll_until_left(void* argument) {
  struct pollfd q[2] = {{streamed[0], POLLIN, 0}, {quiet[0], POLLIN, 0}};
  (void)argument;
  if (sigsetjmp(out_of_poll, 1) != 0) return NULL;
  polling = 1;
  poll(q, 2, -1);
  return NULL;
}

static void polled_by_who_is_gone(int left) {
  enum { kStack = 1 << 18 };
  void* stack = mmap(NULL, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pthread_attr_t with_stack;
  pthread_t t;
  int status;
  char b[1];
  tcp_pair(streamed);
  signal(SIGUSR1, leave_poll);
  pthread_attr_init(&with_stack);
  pthread_attr_setstack(&with_stack, stack, kStack);
  polling = 0;
  pthread_create(&t, &with_stack, poll_until_left, NULL);
  while (!polling) usleep(1000);
  usleep(50000);
  if (left) {
    pthread_kill(t, SIGUSR1);
    pthread_join(t, NULL);
    munmap(stack, kStack);
  }
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    if (!left) munmap(stack, kStack);
    MUST(send(streamed[1], "xy", 2, 0));
    SAY("the child receives", recv(streamed[0], b, 1, 0));
    _exit(0);
  }
  waitpid(child, &status, 0);
  printf("ended by signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  SAY("the parent receives", recv(streamed[0], b, 1, 0));
  if (left) return;
  MUST(write(quiet[1], "x", 1));
  pthread_join(t, NULL);
  munmap(stack, kStack);
  MUST(read(quiet[0], b, 1));
}

/* A set gets its first socket while one thread waits on it and another forks. */
static volatile int forking;
static void* forker(void* argument) {
  (void)argument;
  while (forking) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
  }
  return NULL;
}
static void* one_wait(void* argument) {
  struct epoll_event ev;
  return epoll_wait(*(int*)argument, &ev, 1, 3000) == 1 ? "told" : NULL;
}

static void first_socket(void) {
  int pair[2], never[2], told = 0;
  pthread_t t, waiter;
  tcp_pair(pair);
  MUST(pipe(never));
  MUST(send(pair[1], "x", 1, 0));
  arrived(pair[0]);
  forking = 1;
  pthread_create(&t, NULL, forker, NULL);
  for (int i = 0; i < 100 && told == i; ++i) {
    int outer = (int)MUST(epoll_create1(0)), e = (int)MUST(epoll_create1(0));
    struct epoll_event ev = {.events = EPOLLIN};
    void* result = NULL;
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, never[0], &ev));
    MUST(epoll_ctl(outer, EPOLL_CTL_ADD, e, &ev));
    pthread_create(&waiter, NULL, one_wait, &e);
    usleep((useconds_t)(i % 10 * 30));
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, pair[0], &ev));
    pthread_join(waiter, &result);
    told += result != NULL && epoll_wait(outer, &ev, 1, 3000) == 1;
    close(outer);
    close(e);
  }
  forking = 0;
  pthread_join(t, NULL);
  printf("first sockets told: %d\n", told);
}

/* Two threads fork at once, each in its own way. */
static void* fork_many(void* by) {
  for (int i = 0; i < 300; ++i) {
    pid_t child = by != NULL ? _Fork() : fork();
    if (child == 0) _exit(0);
    waitpid(child, NULL, 0);
  }
  return NULL;
}
static void forks_at_once(void) {
  pthread_t t[2];
  for (int i = 0; i < 2; ++i) pthread_create(&t[i], NULL, fork_many, i == 0 ? NULL : t);
  for (int i = 0; i < 2; ++i) pthread_join(t[i], NULL);
  printf("both have forked\n");
}

int main(void) {
  tcp_pair(p);
  two_at_once();
  written_unseen_while_polled();
  polled_by_who_is_gone(1);
  polled_by_who_is_gone(0);
  first_socket();
  forks_at_once();
  cancel("recv", reader, NULL);
  cancel("poll", poller, NULL);
  int l = listener();
  cancel("accept", accepter, &l);
  signals();
  crowds();
  return 0;
}
