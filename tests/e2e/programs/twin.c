/* A listener on every address, which waits at the kernel's loopback as well where Ferry has none (compare.py --twin): signals, cancelled
 * threads, and who connects. */
#include "say.h"
#include <pthread.h>

static int l, other[2];

static pid_t connect_later(int ms) {
  struct sockaddr_in a = loopback(port_of(l));
  pid_t child = fork();
  if (child != 0) return child;
  usleep((useconds_t)ms * 1000);
  int c = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  MUST(connect(c, (struct sockaddr*)&a, sizeof a));
  usleep(100000);
  _exit(0);
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* siginterrupt */
static void signals(void) {
  connect_later(300);
  alarm_with(SA_RESTART);
  int k = accept(l, NULL, NULL);
  printf("accept goes on after a handler: %s\n", k >= 0 ? "yes" : strerrorname_np(errno));
  close(k);
  wait(NULL);
  alarm_with(0);
  SAY("accept interrupted", accept(l, NULL, NULL));
  signal(SIGALRM, only_interrupt);
  SAY("siginterrupt", siginterrupt(SIGALRM, 1));
  struct itimerval soon = {{0, 0}, {0, 50000}};
  setitimer(ITIMER_REAL, &soon, NULL);
  SAY("accept interrupted in spite of signal", accept(l, NULL, NULL));
  signal(SIGALRM, only_interrupt); /* siginterrupt is remembered */
  setitimer(ITIMER_REAL, &soon, NULL);
  SAY("and again", accept(l, NULL, NULL));
  SAY("siginterrupt back", siginterrupt(SIGALRM, 0));
  struct sigaction now;
  MUST(sigaction(SIGALRM, NULL, &now));
  printf("restarts %d, handler kept %d\n", (now.sa_flags & SA_RESTART) != 0, now.sa_handler == only_interrupt);
  SAY("siginterrupt of no signal", siginterrupt(1000, 1));
  struct timeval t = {2, 0};
  MUST(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
  alarm_with(SA_RESTART);
  SAY("a timed accept does not go on", accept(l, NULL, NULL));
  t.tv_sec = 0;
  MUST(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
}

static void* accepter(void* argument) {
  (void)argument;
  accept(l, NULL, NULL);
  return "returned";
}
static void* poller(void* argument) {
  struct pollfd q[2] = {{l, POLLIN, 0}, {other[0], POLLIN, 0}};
  (void)argument;
  poll(q, 2, -1);
  return "returned";
}

static void cancellation(void) {
  void* (*const calls[])(void*) = {accepter, poller};
  for (int i = 0; i < 12; ++i) {
    pthread_t t;
    void* result = NULL;
    pthread_create(&t, NULL, calls[i / 6], NULL);
    usleep(20000);
    pthread_cancel(t);
    pthread_join(t, &result);
    printf("cancelled: %s\n", result == PTHREAD_CANCELED ? "yes" : (char*)result);
  }
}

/* What cancelled threads waited by is free again, and nothing is told to them. */
static void sets(void) {
  struct epoll_event ev = {.events = EPOLLIN, .data.fd = l};
  for (int i = 0; i < 3; ++i) {
    int e = (int)MUST(epoll_create1(0));
    SAY("ADD the listener", epoll_ctl(e, EPOLL_CTL_ADD, l, &ev));
    SAY("ADD the other", epoll_ctl(e, EPOLL_CTL_ADD, other[0], &ev));
    if (i == 2) {
      if (fork() == 0) { /* what a child closes is watched on */
        close(l);
        _exit(0);
      }
      wait(NULL);
      connect_later(50);
      SAY("told", epoll_wait(e, &ev, 1, 3000));
      close((int)MUST(accept(l, NULL, NULL)));
      wait(NULL);
    }
  }
  connect_later(50);
  pthread_t t;
  void* result = NULL;
  pthread_create(&t, NULL, accepter, NULL);
  pthread_join(t, &result);
  printf("a new thread accepts: %s\n", (char*)result);
  wait(NULL);
}

/* A child turns its parent's socket to another host; the parent's set knows nothing of it. */
static void turned_in_a_child(void) {
  struct sockaddr_in any = {.sin_family = AF_INET}, to;
  struct epoll_event ev = {.events = EPOLLIN};
  int e = (int)MUST(epoll_create1(0)), u = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0)), peer = bound(SOCK_DGRAM, 0), steps[2];
  char c;
  MUST(bind(u, (struct sockaddr*)&any, sizeof any));
  to = loopback(port_of(u));
  MUST(epoll_ctl(e, EPOLL_CTL_ADD, u, &ev));
  MUST(pipe(steps));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    struct sockaddr_in a = loopback(port_of(peer));
    MUST(connect(u, (struct sockaddr*)&a, sizeof a));
    MUST(write(steps[1], "x", 1));
    arrived(u);
    MUST(write(steps[1], "x", 1));
    pause();
  }
  MUST(read(steps[0], &c, 1));
  SAY("DEL", epoll_ctl(e, EPOLL_CTL_DEL, u, &ev));
  close(u);
  SAY("send to the child", sendto(peer, "x", 1, 0, (struct sockaddr*)&to, sizeof to));
  MUST(read(steps[0], &c, 1));
  SAY("told of what is not in the set", epoll_wait(e, &ev, 1, 0));
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  close(e);
  close(peer);
}

int main(void) {
  struct sockaddr_in any = {.sin_family = AF_INET};
  l = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  MUST(bind(l, (struct sockaddr*)&any, sizeof any));
  MUST(listen(l, 16));
  udp_pair(other);
  signals();
  cancellation();
  sets();
  turned_in_a_child();
  return 0;
}
