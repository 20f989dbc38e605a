/* Epoll sets that a child inherits: what it does with a socket there changes nothing for its parent, and its own set goes on. epoll(7). */
#include "say.h"

static int set, pair[2], from_child[2], to_child[2];

static void step(int pipe[2]) { MUST(write(pipe[1], "x", 1)); }
static void wait_step(int pipe[2]) {
  char c;
  if (MUST(read(pipe[0], &c, 1)) == 0) exit(1);
}

static void build(uint32_t events) {
  struct epoll_event ev = {.events = events, .data.u32 = 1};
  tcp_pair(pair);
  MUST(pipe(from_child));
  MUST(pipe(to_child));
  set = (int)MUST(epoll_create1(0));
  MUST(epoll_ctl(set, EPOLL_CTL_ADD, pair[1], &ev));
  fflush(stdout);
}

static void tear_down(pid_t child) {
  int status = 0;
  close(to_child[1]);
  MUST(waitpid(child, &status, 0));
  if (status != 0) printf("the child ended with %x\n", status);
  close(pair[0]);
  close(set);
  close(to_child[0]);
  for (int i = 0; i < 2; ++i) close(from_child[i]);
}

/* The number of the event, 0: none. */
static unsigned told(int ms) {
  struct epoll_event ev;
  return epoll_wait(set, &ev, 1, ms) == 1 ? ev.data.u32 : 0;
}
static void say_told_once(const char* name) {
  unsigned first = told(2000);
  printf("%s: %u, and again: %u\n", name, first, told(0));
}

/* A child whose standard input the socket becomes, as a server's that executes programs; it reports when something is there. */
static pid_t child_with_input(void) {
  pid_t child = fork();
  if (child != 0) return close(to_child[0]), child;
  char c;
  close(to_child[1]);
  wait_step(to_child);
  dup2(pair[1], 0);
  step(from_child);
  arrived(0);
  step(from_child);
  (void)!read(to_child[0], &c, 1);
  _exit(0);
}

static void removed_by_the_parent(int before) {
  struct epoll_event ev;
  build(EPOLLIN);
  pid_t child = child_with_input();
  for (int i = 0; i < 2; ++i) {
    if (i == before) {
      step(to_child);
      wait_step(from_child);
    } else {
      SAY("DEL", epoll_ctl(set, EPOLL_CTL_DEL, pair[1], &ev));
      close(pair[1]);
    }
  }
  MUST(send(pair[0], "x", 1, 0));
  wait_step(from_child);
  printf("told of what is not in the set: %u\n", told(0));
  tear_down(child);
}

static void one_shot(void) {
  struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT};
  char c;
  build(EPOLLIN | EPOLLONESHOT);
  pid_t child = child_with_input();
  step(to_child);
  wait_step(from_child);
  MUST(send(pair[0], "x", 1, 0));
  wait_step(from_child);
  say_told_once("one shot");
  for (ev.data.u32 = 2; ev.data.u32 < 5; ++ev.data.u32) {
    MUST(epoll_ctl(set, EPOLL_CTL_MOD, pair[1], &ev));
    say_told_once("armed again");
  }
  SAY("recv", recv(pair[1], &c, 1, 0));
  MUST(epoll_ctl(set, EPOLL_CTL_MOD, pair[1], &ev));
  printf("nothing there: %u\n", told(0));
  close(pair[1]);
  tear_down(child);
}

/* The child waits on the set itself, after the socket has become its standard input; a one-shot that fired before fork has fired. */
static void waited_on_by_the_child(uint32_t events) {
  char c;
  build(events);
  MUST(send(pair[0], "x", 1, 0));
  if ((events & EPOLLONESHOT) != 0) printf("fired before fork: %u\n", told(2000));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    struct epoll_event ev = {.events = events, .data.u32 = 2};
    dup2(pair[1], 0);
    arrived(0);
    printf("the child is told: %u\n", told(100));
    MUST(epoll_ctl(set, EPOLL_CTL_MOD, pair[1], &ev));
    printf("after MOD: %u\n", told(2000));
    SAY("recv", recv(pair[1], &c, 1, 0));
    MUST(epoll_ctl(set, EPOLL_CTL_MOD, pair[1], &ev));
    printf("then: %u\n", told(0));
    SAY("DEL", epoll_ctl(set, EPOLL_CTL_DEL, pair[1], &ev));
    fflush(stdout);
    _exit(0);
  }
  close(pair[1]);
  tear_down(child);
}

int main(void) {
  removed_by_the_parent(1);
  removed_by_the_parent(0);
  one_shot();
  waited_on_by_the_child(EPOLLIN);
  waited_on_by_the_child(EPOLLIN | EPOLLONESHOT);
  return 0;
}
