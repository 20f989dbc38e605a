/* What the comparison programs share: printing results so that two runs over different stacks can be compared line by line.
 * The programs talk to themselves over 127.0.0.1; compare.py runs each over the kernel and over `ferryd --loopback`. */
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* "name: result" or "name: ERRNO" */
#define SAY(name, expression)                                               \
  do {                                                                      \
    errno = 0;                                                              \
    long say_result = (long)(expression);                                   \
    if (say_result < 0) printf("%s: %s\n", name, strerrorname_np(errno));    \
    else printf("%s: %ld\n", name, say_result);                             \
    fflush(stdout);                                                         \
  } while (0)
/* As SAY, for calls whose positive result is a number that differs from run to run. */
#define SAY_OK(name, expression)                                            \
  do {                                                                      \
    errno = 0;                                                              \
    long say_result = (long)(expression);                                   \
    printf("%s: %s\n", name, say_result < 0 ? strerrorname_np(errno) : "ok"); \
    fflush(stdout);                                                         \
  } while (0)
#define MUST(expression)                                                                             \
  ({                                                                                                 \
    long must_result = (long)(expression);                                                           \
    if (must_result < 0) {                                                                           \
      printf("line %d: %s: %s\n", __LINE__, #expression, strerrorname_np(errno));                     \
      fflush(stdout);                                                                                \
      exit(1);                                                                                       \
    }                                                                                                \
    must_result;                                                                                     \
  })

static inline struct sockaddr_in loopback(int port) {
  struct sockaddr_in a;
  memset(&a, 0, sizeof a);
  a.sin_family = AF_INET;
  a.sin_port = htons((uint16_t)port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

static inline int port_of(int fd) {
  struct sockaddr_in a;
  socklen_t length = sizeof a;
  MUST(getsockname(fd, (struct sockaddr*)&a, &length));
  return ntohs(a.sin_port);
}

static inline int bound(int type, int port) {
  int fd = (int)MUST(socket(AF_INET, type, 0)), one = 1;
  struct sockaddr_in a = loopback(port);
  MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
  MUST(bind(fd, (struct sockaddr*)&a, sizeof a));
  return fd;
}

static inline int listener(void) {
  int fd = bound(SOCK_STREAM, 0);
  MUST(listen(fd, 16));
  return fd;
}

/* A connected pair of TCP sockets. */
static inline void tcp_pair(int pair[2]) {
  int l = listener();
  struct sockaddr_in a = loopback(port_of(l));
  pair[0] = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  MUST(connect(pair[0], (struct sockaddr*)&a, sizeof a));
  pair[1] = (int)MUST(accept(l, NULL, NULL));
  close(l);
}

static inline void udp_pair(int pair[2]) {
  pair[0] = bound(SOCK_DGRAM, 0);
  pair[1] = bound(SOCK_DGRAM, 0);
  struct sockaddr_in a = loopback(port_of(pair[1])), b = loopback(port_of(pair[0]));
  MUST(connect(pair[0], (struct sockaddr*)&a, sizeof a));
  MUST(connect(pair[1], (struct sockaddr*)&b, sizeof b));
}

/* poll(2)'s bits as letters. */
static inline const char* bits_text(unsigned bits) {
  static char text[8][64];
  static int turn;
  char* out = text[turn++ % 8];
  snprintf(out, sizeof text[0], "%s%s%s%s%s%s", bits & POLLIN ? "IN " : "", bits & POLLOUT ? "OUT " : "", bits & POLLPRI ? "PRI " : "",
           bits & POLLRDHUP ? "RDHUP " : "", bits & POLLHUP ? "HUP " : "", bits & POLLERR ? "ERR " : "");
  return out;
}

/* What poll says now, or within `timeout` milliseconds when something is expected. */
static inline void say_poll(const char* name, int fd, short events, int timeout) {
  struct pollfd p = {fd, events, 0};
  int n = poll(&p, 1, timeout);
  printf("%s: %d %s\n", name, n, bits_text((unsigned)p.revents));
  fflush(stdout);
}

/* Data arrives asynchronously: waits until it is there, so that what follows is deterministic. */
static inline void arrived(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  if (poll(&p, 1, 5000) != 1) printf("line %d: nothing arrived\n", __LINE__);
}

static inline void only_interrupt(int number) { (void)number; }

/* SIGALRM in 50 ms, with a handler that has those flags of sigaction(2). */
static inline void alarm_with(int flags) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = only_interrupt;
  action.sa_flags = flags;
  sigaction(SIGALRM, &action, NULL);
  struct itimerval t = {{0, 0}, {0, 50000}};
  setitimer(ITIMER_REAL, &t, NULL);
}
