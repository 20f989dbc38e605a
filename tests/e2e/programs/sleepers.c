/* Threads and children that sleep on the same set, or in poll, when what they sleep on changes. */
#include "say.h"
#include <pthread.h>
#include <sys/wait.h>

static int set, pairs[2][2], never[2], ready[2];
static volatile int told, release;

/* Takes one event, and does not come back until it is let go. */
static void* one_event(void* argument) {
  struct epoll_event ev;
  if (epoll_wait(set, &ev, 1, 4000) == 1) {
    __sync_fetch_and_add(&told, 1);
    while (!release) usleep(1000);
  }
  return argument;
}

static int wait_for_told(int count) {
  for (int ms = 0; ms < 1500 && told < count; ++ms) usleep(1000);
  return told;
}

/* Several threads sleep on a set that has none of our sockets; then it gets two, of which each is for one of them. */
static void first_sockets_of_a_crowd(void) {
  enum { kThreads = 4 };
  pthread_t t[kThreads];
  for (int round = 0; round < 5; ++round) {
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
    told = release = 0;
    set = (int)MUST(epoll_create1(0));
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, never[0], &ev));
    for (int i = 0; i < kThreads; ++i) pthread_create(&t[i], NULL, one_event, NULL);
    usleep(50000);
    for (int i = 0; i < 2; ++i) {
      tcp_pair(pairs[i]);
      MUST(epoll_ctl(set, EPOLL_CTL_ADD, pairs[i][0], &ev));
    }
    usleep(20000);
    MUST(send(pairs[0][1], "x", 1, 0));
    const int first = wait_for_told(1);
    MUST(send(pairs[1][1], "x", 1, 0));
    const int second = wait_for_told(2);
    printf("two events for threads that slept before: %d %d\n", first, second);
    release = 1;
    ev.events = EPOLLIN;
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, ready[0], &ev)); /* for the others */
    for (int i = 0; i < kThreads; ++i) pthread_join(t[i], NULL);
    close(set);
    for (int i = 0; i < 2; ++i) {
      close(pairs[i][0]);
      close(pairs[i][1]);
    }
  }
}

/* The set that a thread sleeps on gets another set, in which a socket is ready. */
static void nested_while_asleep(void) {
  pthread_t t;
  struct epoll_event ev = {.events = EPOLLIN};
  told = 0;
  release = 1;
  tcp_pair(pairs[0]);
  MUST(send(pairs[0][1], "x", 1, 0));
  arrived(pairs[0][0]);
  int inner = (int)MUST(epoll_create1(0));
  MUST(epoll_ctl(inner, EPOLL_CTL_ADD, pairs[0][0], &ev));
  set = (int)MUST(epoll_create1(0));
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, never[0], &ev));
  pthread_create(&t, NULL, one_event, NULL);
  usleep(50000);
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, inner, &ev));
  printf("a ready set comes to a set that is slept on: %d\n", wait_for_told(1));
  pthread_join(t, NULL);
  close(inner);
  close(set);
}

/* The same crowd, but the sockets come to a set that comes to the set, at some depth, while they sleep. */
static void crowd_above(int depth) {
  enum { kThreads = 3, kDeepest = 3 };
  pthread_t t[kThreads];
  struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
  int sets[kDeepest];
  told = release = 0;
  for (int i = 0; i <= depth; ++i) sets[i] = (int)MUST(epoll_create1(0));
  set = sets[0];
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, never[0], &ev));
  for (int i = 0; i < kThreads; ++i) pthread_create(&t[i], NULL, one_event, NULL);
  usleep(50000);
  for (int i = 0; i < depth; ++i) MUST(epoll_ctl(sets[i], EPOLL_CTL_ADD, sets[i + 1], &ev));
  usleep(20000);
  for (int i = 0; i < 2; ++i) {
    tcp_pair(pairs[i]);
    MUST(epoll_ctl(sets[depth], EPOLL_CTL_ADD, pairs[i][0], &ev));
  }
  usleep(50000);
  const int before = told;
  MUST(send(pairs[0][1], "x", 1, 0));
  const int first = wait_for_told(1);
  usleep(20000);
  MUST(send(pairs[1][1], "x", 1, 0));
  printf("two events %d sets below threads that slept before: %d %d %d\n", depth, before, first, wait_for_told(2));
  release = 1;
  ev.events = EPOLLIN;
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, ready[0], &ev));
  for (int i = 0; i < kThreads; ++i) pthread_join(t[i], NULL);
  for (int i = depth; i >= 0; --i) close(sets[i]);
  for (int i = 0; i < 2; ++i) {
    close(pairs[i][0]);
    close(pairs[i][1]);
  }
}

/* A set in another gets its first socket, which is not ready, while a thread sleeps above: nothing is to be told, again and again neither. */
static void idle_socket_below(void) {
  struct epoll_event ev = {.events = EPOLLIN}, got;
  int inner = (int)MUST(epoll_create1(0)), socket = listener();
  pthread_t t;
  told = 0;
  release = 1;
  set = (int)MUST(epoll_create1(0));
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, inner, &ev));
  pthread_create(&t, NULL, one_event, NULL);
  usleep(50000);
  MUST(epoll_ctl(inner, EPOLL_CTL_ADD, socket, &ev));
  usleep(50000);
  const int early = told;
  printf("an idle socket comes to a set below: %d %d\n", early, epoll_wait(set, &got, 1, 100));
  MUST(epoll_ctl(inner, EPOLL_CTL_ADD, ready[0], &ev));
  pthread_join(t, NULL);
  printf("a set that is in itself: %d\n", epoll_ctl(inner, EPOLL_CTL_ADD, set, &ev) == -1 ? errno : 0);
  close(inner);
  close(set);
  close(socket);
}

static int short_poll(int a, int b) {
  struct pollfd p[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
  return poll(p, 2, 20);
}

/* A child polls without sleeping, when its parent had slept in poll; then it has sockets of its own in a set. */
static void child_of_a_poller(void) {
  int l = listener();
  printf("poll sleeps: %d\n", short_poll(l, never[0]));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    struct epoll_event ev = {.events = EPOLLIN};
    int e = (int)MUST(epoll_create1(0));
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, never[0], &ev));
    struct pollfd p[2] = {{e, POLLIN, 0}, {never[0], POLLIN, 0}};
    printf("the child's first poll: %d\n", poll(p, 2, 0));
    int own = listener(), c = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, own, &ev));
    printf("the child's first wait: %d\n", epoll_wait(e, &ev, 1, 20));
    printf("the child polls again: %d\n", poll(p, 2, 0));
    struct sockaddr_in a = loopback(port_of(own));
    MUST(connect(c, (struct sockaddr*)&a, sizeof a));
    printf("the child is told: %d\n", epoll_wait(e, &ev, 1, 3000));
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  MUST(waitpid(child, &status, 0));
  printf("the child ends with %d\n", status);
  close(l);
}

int main(void) {
  MUST(pipe(never));
  MUST(pipe(ready));
  MUST(write(ready[1], "x", 1));
  child_of_a_poller(); /* first: no child has a channel of its own yet */
  first_sockets_of_a_crowd();
  nested_while_asleep();
  crowd_above(1);
  crowd_above(2);
  idle_socket_below();
  return 0;
}
