/* Epoll sets in epoll sets, in children, and in the hands of several threads. epoll(7). */
#include "say.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int outer, inner, pair[2], told;

static int wait_for(int set, int ms) {
  struct epoll_event ev;
  return epoll_wait(set, &ev, 1, ms);
}

static void add(int set, int fd, uint32_t events) {
  struct epoll_event ev = {.events = events, .data.fd = fd};
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev));
}

static void build(uint32_t events_of_inner) {
  tcp_pair(pair);
  outer = (int)MUST(epoll_create1(0));
  inner = (int)MUST(epoll_create1(0));
  add(inner, pair[0], EPOLLIN);
  add(outer, inner, events_of_inner);
}

static void tear_down(void) {
  close(outer);
  close(inner);
  close(pair[0]);
  close(pair[1]);
}

/* Waits in vain, and says whether it slept. */
static void sleeps(const char* what, int set) {
  struct rusage before, after;
  getrusage(RUSAGE_THREAD, &before);
  const int got = wait_for(set, 300);
  getrusage(RUSAGE_THREAD, &after);
  const long us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
                  after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
  printf("%s: %d, %s\n", what, got, us < 100000 ? "asleep" : "awake");
}

static void what_is_told(void) {
  build(EPOLLIN | EPOLLONESHOT);
  MUST(send(pair[1], "x", 1, 0));
  printf("one shot: %d\n", wait_for(outer, 2000));
  sleeps("one shot that has fired", outer);
  tear_down();
  build(EPOLLOUT);
  MUST(send(pair[1], "x", 1, 0));
  arrived(pair[0]);
  sleeps("a set is never writable", outer);
  tear_down();
  build(EPOLLIN | EPOLLET);
  MUST(send(pair[1], "x", 1, 0));
  printf("an edge: %d\n", wait_for(outer, 2000));
  sleeps("the same edge", outer);
  MUST(send(pair[1], "y", 1, 0));
  printf("another edge: %d\n", wait_for(outer, 2000));
  tear_down();
}

/* The program empties the inner set without ever sleeping on it. */
static void emptied(void) {
  char c;
  build(EPOLLIN);
  for (int i = 0; i < 200; ++i) {
    MUST(send(pair[1], "x", 1, 0));
    if (wait_for(outer, 2000) != 1 || wait_for(inner, 0) != 1 || recv(pair[0], &c, 1, 0) != 1) printf("missed at %d\n", i);
    wait_for(inner, 0);
  }
  sleeps("an emptied set", outer);
  tear_down();
}

/* The program never sleeps on the outer set, or has something else that is always ready in it. */
static void awake(void) {
  int got = 0, busy[2];
  char c;
  build(EPOLLIN);
  MUST(send(pair[1], "x", 1, 0));
  for (int ms = 0; ms < 2000 && got == 0; ++ms, usleep(1000)) got = wait_for(outer, 0);
  printf("never asleep above: %d\n", got);
  MUST(recv(pair[0], &c, 1, 0));
  wait_for(inner, 0);
  tcp_pair(busy);
  MUST(send(busy[1], "x", 1, 0));
  arrived(busy[0]);
  add(outer, busy[0], EPOLLIN);
  MUST(send(pair[1], "x", 1, 0));
  got = 0;
  for (int ms = 0; ms < 2000 && got < 2; ++ms, usleep(1000)) {
    struct epoll_event ev[4];
    got = epoll_wait(outer, ev, 4, -1);
  }
  printf("beside what is always ready: %d\n", got);
  close(busy[0]);
  close(busy[1]);
  tear_down();
}

/* A child closes what its parent's set watches. */
static void closed_in_a_child(void) {
  build(EPOLLIN);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    close(pair[0]);
    close(inner);
    close(outer);
    _exit(0);
  }
  MUST(waitpid(child, NULL, 0));
  MUST(send(pair[1], "x", 1, 0));
  printf("the parent is told: %d\n", wait_for(outer, 2000));
  tear_down();
}

/* The parent's set with a socket in a set of the child's own. */
static void adopted(void) {
  build(EPOLLIN);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const int own = (int)MUST(epoll_create1(0));
    add(own, inner, EPOLLIN);
    printf("the child's own set waits in vain: %d\n", wait_for(own, 20));
    MUST(send(pair[1], "x", 1, 0));
    printf("and is told: %d\n", wait_for(own, 2000));
    fflush(stdout);
    _exit(0);
  }
  MUST(waitpid(child, NULL, 0));
  tear_down();
}

static void in_a_child(void) {
  build(EPOLLIN);
  printf("before fork: %d\n", wait_for(outer, 10));
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    printf("the child waits in vain: %d\n", wait_for(outer, 10));
    MUST(send(pair[1], "x", 1, 0));
    printf("the child is told above: %d\n", wait_for(outer, 2000));
    printf("and below: %d\n", wait_for(inner, 2000));
    fflush(stdout);
    _exit(0);
  }
  MUST(waitpid(child, NULL, 0));
  tear_down();
}

/* What was closed has left the set; its number is something else now. */
static void closed_before_fork(void) {
  int old[2], fresh[2];
  const int set = (int)MUST(epoll_create1(0));
  MUST(pipe(old));
  add(set, old[0], EPOLLIN);
  close(old[0]);
  close(old[1]);
  MUST(pipe(fresh));
  MUST(write(fresh[1], "x", 1));
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    tcp_pair(pair);
    add(set, pair[0], EPOLLIN);
    printf("the same number: %d, told: %d\n", fresh[0] == old[0], wait_for(set, 100));
    fflush(stdout);
    _exit(0);
  }
  MUST(waitpid(child, NULL, 0));
  close(set);
  close(fresh[0]);
  close(fresh[1]);
}

static void loops(void) {
  struct epoll_event ev = {.events = EPOLLIN};
  int a = (int)MUST(epoll_create1(0)), b = (int)MUST(epoll_create1(0)), c = (int)MUST(epoll_create1(0));
  add(a, c, EPOLLIN);
  add(b, a, EPOLLIN);
  const int result = epoll_ctl(a, EPOLL_CTL_ADD, b, &ev);
  printf("a loop of sets: %s\n", result == 0 ? "made" : strerrorname_np(errno));
  tcp_pair(pair);
  add(c, pair[0], EPOLLIN);
  MUST(send(pair[1], "x", 1, 0));
  printf("three levels: %d\n", wait_for(b, 2000));
  close(a);
  close(b);
  close(c);
  close(pair[0]);
  close(pair[1]);
}

/* Takes one connection, and does not come back. */
static void* take_one(void* listener) {
  if (wait_for(outer, 3000) == 1 && accept(*(int*)listener, NULL, NULL) >= 0) {
    __sync_fetch_and_add(&told, 1);
    for (int ms = 0; ms < 2000 && told < 3; ++ms) usleep(1000);
  }
  return NULL;
}

/* Connections come at once, and each thread takes one: there are as many as threads. */
static void one_each(void) {
  enum { kThreads = 3 };
  pthread_t t[kThreads];
  int l = listener(), clients[kThreads];
  outer = (int)MUST(epoll_create1(0));
  add(outer, l, EPOLLIN);
  told = 0;
  for (int i = 0; i < kThreads; ++i) pthread_create(&t[i], NULL, take_one, &l);
  usleep(50000);
  struct sockaddr_in a = loopback(port_of(l));
  for (int i = 0; i < kThreads; ++i) {
    clients[i] = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(clients[i], (struct sockaddr*)&a, sizeof a));
  }
  for (int i = 0; i < kThreads; ++i) pthread_join(t[i], NULL);
  printf("one for each thread: %d\n", told);
  for (int i = 0; i < kThreads; ++i) close(clients[i]);
  close(l);
  close(outer);
}

static int stop[2];
static pthread_t poller;

static void* poll_until_stopped(void* argument) {
  struct epoll_event ev;
  while (epoll_wait(outer, &ev, 1, -1) == 1 && ev.data.fd != stop[0]) {}
  return argument;
}

/* As programs with threads of their own do that are to survive fork: they end before it. */
static void end_poller(void) {
  if (poller == 0) return;
  MUST(write(stop[1], "x", 1));
  pthread_join(poller, NULL);
  poller = 0;
}

static void ended_before_fork(void) {
  build(EPOLLIN);
  MUST(pipe(stop));
  add(outer, stop[0], EPOLLIN);
  add(outer, pair[1], EPOLLIN);
  pthread_create(&poller, NULL, poll_until_stopped, NULL);
  usleep(20000);
  pthread_atfork(end_poller, NULL, NULL);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) _exit(0);
  int status = 1;
  MUST(waitpid(child, &status, 0));
  printf("a thread ended by a handler of pthread_atfork: %d\n", status);
  tear_down();
}

int main(void) {
  what_is_told();
  emptied();
  awake();
  in_a_child();
  closed_in_a_child();
  adopted();
  closed_before_fork();
  loops();
  one_each();
  ended_before_fork();
  return 0;
}
