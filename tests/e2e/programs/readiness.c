/* poll, select and epoll: masks in every state, level, edge, one-shot, nesting, mixing with pipes. */
#include "say.h"
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>

static void states(void) {
  short all = POLLIN | POLLOUT | POLLPRI | POLLRDHUP;
  int s = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  say_poll("fresh", s, all, 0);
  close(s);
  s = bound(SOCK_STREAM, 0);
  say_poll("bound", s, all, 0);
  close(s);
  s = listener();
  say_poll("listener", s, all, 0);
  int c = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in a = loopback(port_of(s));
  MUST(connect(c, (struct sockaddr*)&a, sizeof a));
  say_poll("listener with one", s, all, 2000);
  say_poll("connected", c, all, 0);
  int k = (int)MUST(accept(s, NULL, NULL));
  say_poll("listener again", s, all, 0);
  MUST(send(c, "x", 1, 0));
  say_poll("readable", k, POLLIN, 2000);
  say_poll("both", k, all, 0);
  say_poll("only out", k, POLLOUT, 0);
  say_poll("nothing asked", k, 0, 0);
  shutdown(c, SHUT_WR);
  say_poll("half closed by peer", k, POLLRDHUP, 2000);
  say_poll("all", k, all, 0);
  char b[4];
  MUST(recv(k, b, 4, 0));
  say_poll("at end", k, all, 0);
  shutdown(k, SHUT_WR);
  say_poll("closed both", k, all, 2000);
  struct pollfd p = {c, POLLHUP, 0};
  poll(&p, 1, 2000);
  say_poll("other side", c, all, 0);
  close(c);
  say_poll("a closed number", c, all, 0);
  close(k);
  close(s);
}

static void selects(void) {
  int p[2], q[2];
  tcp_pair(p);
  MUST(pipe(q));
  fd_set in, out;
  struct timeval t = {0, 50000};
  FD_ZERO(&in);
  FD_SET(p[0], &in);
  FD_SET(q[0], &in);
  int top = (p[0] > q[0] ? p[0] : q[0]) + 1;
  SAY("select nothing", select(top, &in, NULL, NULL, &t));
  printf("%d %d time left %d\n", FD_ISSET(p[0], &in) != 0, FD_ISSET(q[0], &in) != 0, t.tv_usec != 0);
  MUST(write(q[1], "x", 1));
  MUST(send(p[1], "y", 1, 0));
  usleep(50000);
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(p[0], &in);
  FD_SET(q[0], &in);
  FD_SET(p[0], &out);
  SAY("select three", select(top, &in, &out, NULL, NULL));
  printf("%d %d %d\n", FD_ISSET(p[0], &in) != 0, FD_ISSET(q[0], &in) != 0, FD_ISSET(p[0], &out) != 0);
  struct timespec ts = {0, 0};
  FD_ZERO(&in);
  FD_SET(p[1], &in);
  SAY("pselect", pselect(p[1] + 1, &in, NULL, NULL, &ts, NULL));
  struct pollfd both[3] = {{p[0], POLLIN, 0}, {q[0], POLLIN, 0}, {-1, POLLIN, 0}};
  SAY("poll both", poll(both, 3, 1000));
  printf("%s|%s|%s\n", bits_text((unsigned)both[0].revents), bits_text((unsigned)both[1].revents), bits_text((unsigned)both[2].revents));
  if (fork() == 0) {
    usleep(50000);
    (void)!write(q[1], "z", 1);
    _exit(0);
  }
  char b[4];
  MUST(read(q[0], b, 4));
  MUST(recv(p[0], b, 4, 0));
  SAY("woken by the pipe", poll(both, 2, 3000));
  printf("%s|%s\n", bits_text((unsigned)both[0].revents), bits_text((unsigned)both[1].revents));
  wait(NULL);
}

static void say_epoll(const char* name, int e, int timeout) {
  struct epoll_event events[8];
  int n = epoll_wait(e, events, 8, timeout);
  printf("%s: %d", name, n);
  unsigned sum = 0;
  for (int i = 0; i < n; ++i) sum += events[i].data.u32 * 1000 + events[i].events;
  printf(" sum %u\n", sum);
}

static void epolls(void) {
  int p[2], q[2], e = (int)MUST(epoll_create1(EPOLL_CLOEXEC));
  char b[64];
  tcp_pair(p);
  MUST(pipe(q));
  struct epoll_event ev = {.events = EPOLLIN, .data.u32 = 1};
  SAY("MOD unknown", epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev));
  SAY("DEL unknown", epoll_ctl(e, EPOLL_CTL_DEL, p[0], &ev));
  SAY("ADD", epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
  SAY("ADD twice", epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
  SAY("ADD null", epoll_ctl(e, EPOLL_CTL_ADD, p[1], NULL));
  SAY("bad op", epoll_ctl(e, 77, p[0], &ev));
  SAY("itself", epoll_ctl(e, EPOLL_CTL_ADD, e, &ev));
  SAY("not an epoll", epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &ev));
  SAY("no room", epoll_wait(e, NULL, 0, 0));
  ev.data.u32 = 2;
  SAY("ADD pipe", epoll_ctl(e, EPOLL_CTL_ADD, q[0], &ev));
  say_epoll("nothing", e, 0);
  say_epoll("nothing for a while", e, 30);
  MUST(send(p[1], "ab", 2, 0));
  say_epoll("socket", e, 2000);
  say_epoll("level: again", e, 0);
  MUST(write(q[1], "x", 1));
  for (int i = 0; i < 4; ++i) epoll_wait(e, (struct epoll_event[4]){}, 4, 0); /* Ferry asks the kernel now and then only */
  MUST(recv(p[0], b, 1, 0));
  say_epoll("some left", e, 0);
  MUST(recv(p[0], b, 1, 0));
  MUST(read(q[0], b, 1));
  say_epoll("none left", e, 0);

  ev = (struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.u32 = 3};
  SAY("MOD to edge", epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev));
  say_epoll("edge: writable", e, 0);
  say_epoll("edge: no more", e, 0);
  MUST(send(p[1], "cd", 2, 0));
  say_epoll("edge: data", e, 2000);
  say_epoll("edge: not again", e, 20);
  MUST(send(p[1], "ef", 2, 0));
  say_epoll("edge: new data", e, 2000);
  MUST(recv(p[0], b, 64, 0));
  ev = (struct epoll_event){.events = EPOLLIN | EPOLLONESHOT, .data.u32 = 4};
  SAY("MOD to one-shot", epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev));
  MUST(send(p[1], "gh", 2, 0));
  say_epoll("one-shot", e, 2000);
  say_epoll("one-shot: no more", e, 20);
  SAY("rearm", epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev));
  say_epoll("one-shot again", e, 2000);
  SAY("EXCLUSIVE in MOD", ({ ev.events = EPOLLIN | EPOLLEXCLUSIVE; epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev); }));
  MUST(epoll_ctl(e, EPOLL_CTL_DEL, p[0], NULL));
  SAY("EXCLUSIVE one-shot", ({ ev.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT; epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev); }));
  SAY("EXCLUSIVE", ({ ev.events = EPOLLIN | EPOLLEXCLUSIVE; ev.data.u32 = 5; epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev); }));
  say_epoll("exclusive", e, 2000);

  int outer = (int)MUST(epoll_create1(0));
  ev = (struct epoll_event){.events = EPOLLIN, .data.u32 = 6};
  SAY("nest", epoll_ctl(outer, EPOLL_CTL_ADD, e, &ev));
  say_epoll("outer", outer, 2000);
  say_poll("poll inner", e, POLLIN, 0);
  MUST(recv(p[0], b, 64, 0));
  say_epoll("outer quiet", outer, 0);
  say_poll("poll inner quiet", e, POLLIN, 0);
  if (fork() == 0) {
    usleep(50000);
    (void)!send(p[1], "x", 1, 0);
    _exit(0);
  }
  say_epoll("outer woken", outer, 3000);
  wait(NULL);
  int copy = dup(p[0]);
  ev.data.u32 = 7;
  SAY("ADD the dup", epoll_ctl(e, EPOLL_CTL_ADD, copy, &ev));
  say_epoll("both numbers", e, 0);
  close(p[0]);
  close(copy);
  say_epoll("closed: gone", e, 0);
}

/* A pipe that is readable all the time is told by every poll, however soon after its beginning the socket's data come. */
static void pipe_beside_data(void) {
  int p[2], q[2], unseen = 0, one = 1;
  char b[1];
  tcp_pair(p);
  MUST(setsockopt(p[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
  MUST(pipe(q));
  MUST(write(q[1], "x", 1));
  for (int i = 0; i < 10000; ++i) {
    struct pollfd both[2] = {{p[0], POLLIN, 0}, {q[0], POLLIN, 0}};
    MUST(send(p[1], "a", 1, 0));
    for (volatile int wait = i % 61 * 200; wait > 0; --wait) {
    }
    MUST(poll(both, 2, 2000));
    unseen += (both[1].revents & POLLIN) == 0;
    MUST(recv(p[0], b, 1, 0));
  }
  SAY("polls that did not see the pipe", unseen);
  close(p[0]);
  close(p[1]);
}

/* Events of several sockets are told in the order in which they came, whatever the sockets' numbers. */
static void order(void) {
  enum { kSockets = 12 };
  struct epoll_event ev, told[kSockets];
  int e = (int)MUST(epoll_create1(0)), from[kSockets], to[kSockets], l = listener();
  for (int i = 0; i < kSockets; ++i) {
    int pair[2];
    udp_pair(pair);
    from[i] = pair[0];
    to[i] = pair[1];
    ev = (struct epoll_event){.events = EPOLLIN, .data.u32 = (uint32_t)i};
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, to[i], &ev));
  }
  SAY("datagrams: none yet", epoll_wait(e, told, kSockets, 0));
  for (int i = 0; i < kSockets; ++i) {
    int next = (i * 7 + 3) % kSockets;
    MUST(send(from[next], "x", 1, 0));
    arrived(to[next]);
  }
  usleep(20000);  /* poll may see what is about to be told */
  int n = (int)MUST(epoll_wait(e, told, kSockets, 0));
  printf("datagrams came in order:");
  for (int i = 0; i < n; ++i) printf(" %u", told[i].data.u32);
  for (int i = 0; i < kSockets; ++i) close(from[i]), close(to[i]);

  struct sockaddr_in a = loopback(port_of(l));
  for (int i = 0; i < kSockets; ++i) {
    from[i] = bound(SOCK_STREAM, 0);
    MUST(fcntl(from[i], F_SETFL, O_NONBLOCK));
  }
  for (int i = 0; i < kSockets; ++i) {
    int next = (i * 7 + 3) % kSockets;
    if (connect(from[next], (struct sockaddr*)&a, sizeof a) < 0 && errno != EINPROGRESS) MUST(-1);
    ev = (struct epoll_event){.events = EPOLLOUT, .data.u32 = (uint32_t)next};
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, from[next], &ev));
    struct pollfd p = {from[next], POLLOUT, 0};
    MUST(poll(&p, 1, 5000));
  }
  usleep(20000);
  n = (int)MUST(epoll_wait(e, told, kSockets, 0));
  printf("\nconnected in order:");
  for (int i = 0; i < n; ++i) printf(" %u", told[i].data.u32);
  printf("\n");
  for (int i = 0; i < kSockets; ++i) close(from[i]);
  close(l);
  close(e);
}

/* An eventfd is told although sockets that are writable all the time would fill every answer. */
static void eventfd_beside_writable(void) {
  struct epoll_event ev, told[2];
  int e = (int)MUST(epoll_create1(0)), p[2], q[2], counter = (int)MUST(eventfd(0, EFD_NONBLOCK));
  tcp_pair(p);
  tcp_pair(q);
  ev = (struct epoll_event){.events = EPOLLIN, .data.fd = counter};
  MUST(epoll_ctl(e, EPOLL_CTL_ADD, counter, &ev));
  for (int i = 0; i < 2; ++i) {
    int fd = i == 0 ? p[0] : q[0];
    ev = (struct epoll_event){.events = EPOLLOUT, .data.fd = fd};
    MUST(epoll_ctl(e, EPOLL_CTL_ADD, fd, &ev));
    SAY("nothing counted", epoll_wait(e, told, i + 1, 0));
    MUST(write(counter, &(uint64_t){1}, 8));
    int seen = 0, sockets = 0;
    for (int round = 0; round < 20; ++round) {
      int n = (int)MUST(epoll_wait(e, told, i + 1, 0));
      for (int k = 0; k < n; ++k) *(told[k].data.fd == counter ? &seen : &sockets) += 1;
    }
    printf("of %d at once: eventfd %s, sockets %s\n", i + 1, seen > 2 ? "told" : "not told", sockets > 2 ? "told" : "not told");
    MUST(read(counter, &(uint64_t){0}, 8));
  }
  close(e);
  close(counter);
  for (int i = 0; i < 2; ++i) close(p[i]), close(q[i]);
}

/* A signal that only ppoll's mask lets through comes although there is no time to wait. */
static volatile int signals_seen;
static void count_signal(int number) { signals_seen += number != 0; }
static void mask_without_waiting(void) {
  int p[2];
  sigset_t block, none;
  struct timespec no_time = {0, 0};
  tcp_pair(p);
  sigemptyset(&none);
  sigemptyset(&block);
  sigaddset(&block, SIGUSR1);
  signal(SIGUSR1, count_signal);
  sigprocmask(SIG_BLOCK, &block, NULL);
  raise(SIGUSR1);
  struct pollfd one = {p[0], POLLIN, 0};
  SAY("ppoll lets a signal in", ppoll(&one, 1, &no_time, &none));
  printf("signals seen: %d\n", signals_seen);
  sigprocmask(SIG_UNBLOCK, &block, NULL);
  close(p[0]);
  close(p[1]);
}

/* The calls that wait, by number: their sets of signals have sizes, and some write back what is left of the time. */
static void by_number(void) {
  int p[2], e = (int)MUST(epoll_create1(0));
  sigset_t none, all, usr1;
  sigemptyset(&none);
  sigfillset(&all);
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  tcp_pair(p);
  struct epoll_event ev = {.events = EPOLLIN, .data.u32 = 7}, told;
  MUST(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev));
  for (int ready = 0; ready < 2; ++ready) {
    const struct timespec asked = {ready * 5, 20000000};
    struct timespec t = asked;
    struct timeval few = {asked.tv_sec, asked.tv_nsec / 1000};
    struct pollfd one = {p[0], POLLIN, 0};
    fd_set in;
    struct {
      const sigset_t* set;
      size_t size;
    } mask = {&all, 8}, large = {&all, sizeof all};
    if (ready) {
      MUST(send(p[1], "x", 1, 0));
      arrived(p[0]);
    }
    SAY("epoll_pwait", syscall(SYS_epoll_pwait, e, &told, 1, ready ? 5000 : 20, &all, 8L));
    SAY("epoll_pwait2", syscall(SYS_epoll_pwait2, e, &told, 1, &t, &all, 8L));
    if (ready) printf("told of %u\n", told.data.u32);
    SAY("ppoll", syscall(SYS_ppoll, &one, 1, &t, &all, 8L));
    printf("%s, left: %d %d\n", bits_text((unsigned)one.revents), t.tv_sec == 0 && t.tv_nsec == 0, t.tv_sec < asked.tv_sec || t.tv_nsec < asked.tv_nsec);
    t = asked;
    FD_ZERO(&in);
    FD_SET(p[0], &in);
    SAY("pselect6", syscall(SYS_pselect6, p[0] + 1, &in, NULL, NULL, &t, &mask));
    printf("%d, left: %d %d\n", FD_ISSET(p[0], &in), t.tv_sec == 0 && t.tv_nsec == 0, t.tv_sec < asked.tv_sec || t.tv_nsec < asked.tv_nsec);
    FD_SET(p[0], &in);
    SAY("select", syscall(SYS_select, p[0] + 1, &in, NULL, NULL, &few));
    printf("%d, left: %d %d\n", FD_ISSET(p[0], &in), few.tv_sec == 0 && few.tv_usec == 0, few.tv_sec < asked.tv_sec || few.tv_usec < asked.tv_nsec / 1000);
    FD_SET(p[0], &in);
    SAY("pselect6, no mask", syscall(SYS_pselect6, p[0] + 1, &in, NULL, NULL, &(struct timespec){0, 0}, NULL));

    SAY("epoll_pwait, size", syscall(SYS_epoll_pwait, e, &told, 1, 0, &all, sizeof all));
    SAY("epoll_pwait2, size", syscall(SYS_epoll_pwait2, e, &told, 1, NULL, &all, sizeof all));
    SAY("ppoll, size", syscall(SYS_ppoll, &one, 1, &t, &all, sizeof all));
    SAY("pselect6, size", syscall(SYS_pselect6, p[0] + 1, &in, NULL, NULL, &t, &large));
    SAY("ppoll, nowhere", syscall(SYS_ppoll, &one, 1, (void*)8, NULL, 8L));
    SAY("pselect6, nowhere", syscall(SYS_pselect6, p[0] + 1, &in, NULL, NULL, (void*)8, NULL));
    SAY("pselect6, mask nowhere", syscall(SYS_pselect6, p[0] + 1, &in, NULL, NULL, NULL, (void*)8));
    SAY("select, nowhere", syscall(SYS_select, p[0] + 1, &in, NULL, NULL, (void*)8));
    SAY("ppoll, no time", syscall(SYS_ppoll, &one, 1, &(struct timespec){-1, 0}, NULL, 8L));
  }
  /* A signal that only the mask lets through. */
  struct timespec t = {5, 0};
  signals_seen = 0;
  MUST(recv(p[0], &(char){0}, 1, 0));
  sigprocmask(SIG_BLOCK, &usr1, NULL);
  raise(SIGUSR1);
  SAY("interrupted", syscall(SYS_ppoll, &(struct pollfd){p[0], POLLIN, 0}, 1, &t, &none, 8L));
  printf("left: %d, signals seen: %d\n", t.tv_sec < 5, signals_seen);
  sigprocmask(SIG_UNBLOCK, &usr1, NULL);
  close(e);
  close(p[0]);
  close(p[1]);
}

int main(void) {
  eventfd_beside_writable();
  mask_without_waiting();
  order();
  states();
  selects();
  epolls();
  pipe_beside_data();
  by_number();
  return 0;
}
