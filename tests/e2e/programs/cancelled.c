/* Cancellation of threads that never sleep: every call that pthreads(7) calls a cancellation point is one, also when it would not wait; sendfile
 * and syscall are none, although they do. */
#include "say.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

static int p[2], l, e, u, file, state = PTHREAD_CANCEL_ENABLE;
static volatile int stop;
static char b[65536];
static struct iovec v = {b, sizeof b};
static struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
static struct mmsghdr many = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};

#define LOOP(name, call)                        \
  static void* name##_again(void* argument) {   \
    (void)argument;                             \
    pthread_setcancelstate(state, NULL);        \
    while (!stop) (void)!(call);                \
    return "returned";                          \
  }

LOOP(read, read(p[0], b, 8))
LOOP(recv, recv(p[0], b, 8, MSG_DONTWAIT))
LOOP(recvfrom, recvfrom(u, b, 8, MSG_DONTWAIT, NULL, NULL))
LOOP(readv, readv(p[0], &v, 1))
LOOP(recvmsg, recvmsg(p[0], &m, 0))
LOOP(recvmmsg, recvmmsg(u, &many, 1, MSG_DONTWAIT, NULL))
LOOP(write, write(p[0], b, sizeof b))
LOOP(send, send(p[0], b, sizeof b, 0))
LOOP(sendto, sendto(u, b, 8, MSG_DONTWAIT, NULL, 0))
LOOP(writev, writev(p[0], &v, 1))
LOOP(sendmsg, sendmsg(p[0], &m, 0))
LOOP(sendmmsg, sendmmsg(u, &many, 1, MSG_DONTWAIT))
LOOP(accept, accept(l, NULL, NULL))
LOOP(accept4, accept4(l, NULL, NULL, SOCK_CLOEXEC))
static struct sockaddr_in to;
LOOP(connect, connect(p[0], (struct sockaddr*)&to, sizeof to))
static struct pollfd q;
LOOP(poll, poll(&q, 1, 0))
static const struct timespec no_time;
LOOP(ppoll, ppoll(&q, 1, &no_time, NULL))
static fd_set* only(int fd) {
  static fd_set set;
  FD_ZERO(&set);
  FD_SET(fd, &set);
  return &set;
}
static struct timeval no_time_either;
LOOP(select, select(p[0] + 1, only(p[0]), NULL, NULL, &no_time_either))
LOOP(pselect, pselect(p[0] + 1, only(p[0]), NULL, NULL, &no_time, NULL))
static struct epoll_event ev;
LOOP(epoll_wait, epoll_wait(e, &ev, 1, 0))
LOOP(epoll_pwait, epoll_pwait(e, &ev, 1, 0, NULL))

static void* sendfile_waits(void* argument) {
  (void)argument;
  off_t at = 0;
  while (sendfile(p[0], file, &at, 1 << 20) > 0) at = 0;
  return "returned";
}
static void* syscall_waits(void* argument) {
  (void)argument;
  syscall(SYS_recvfrom, p[0], b, 8, 0, NULL, NULL);
  return "returned";
}

/* Waits so long for the end of the thread; NULL: it goes on. */
static const char* joined(pthread_t t, int ms) {
  struct timespec until;
  void* result;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += ms / 1000;
  until.tv_nsec += ms % 1000 * 1000000l;
  if (until.tv_nsec >= 1000000000) until.tv_nsec -= 1000000000, ++until.tv_sec;
  if (pthread_timedjoin_np(t, &result, &until) != 0) return NULL;
  return result == PTHREAD_CANCELED ? "cancelled" : result;
}

static void cancel(const char* name, void* (*what)(void*)) {
  pthread_t t;
  stop = 0;
  pthread_create(&t, NULL, what, NULL);
  usleep(20000);
  pthread_cancel(t);
  const char* end = joined(t, state == PTHREAD_CANCEL_ENABLE ? 5000 : 100);
  stop = 1;
  printf("%s: %s\n", name, end != NULL ? end : "goes on");
  if (end == NULL) printf("then: %s\n", joined(t, 5000));
  fflush(stdout);
}

/* Cancels a thread that waits; `release` ends its wait. */
static void cancel_waiting(const char* name, void* (*what)(void*), void (*release)(void)) {
  pthread_t t;
  pthread_create(&t, NULL, what, NULL);
  usleep(200000);
  pthread_cancel(t);
  const char* end = joined(t, 200);
  printf("%s: %s\n", name, end != NULL ? end : "goes on");
  fflush(stdout);
  release();
  if (end == NULL) printf("then: %s\n", joined(t, 5000));
  fflush(stdout);
}

/* A thread that is cancelled while it moves bytes from the socket to a pipe: they are in the one or the other, and in none twice. */
static int pipe_ends[2];
static volatile int going;
static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000 + t.tv_nsec;
}
static void* splice_away(void* argument) {
  (void)argument;
  going = 1;
  while (splice(p[0], NULL, pipe_ends[1], NULL, 60000, 0) > 0) {}
  return "returned";
}
static void cancel_splices(void) {
  static unsigned char all[200000];
  int wrong = 0;
  MUST(pipe(pipe_ends));
  MUST(fcntl(pipe_ends[0], F_SETPIPE_SZ, 1 << 18));
  MUST(fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK));
  for (int round = 0; round < 400; ++round) {
    for (int i = 0; i < 50000; ++i) b[i] = (char)(i % 251);
    for (long n = 0; n < 50000;) n += MUST(send(p[1], b + n, 50000 - (size_t)n, 0));
    MUST(write(pipe_ends[1], "x", 1)); /* not empty: it takes a page at a time */
    int there = 0;
    while (there < 50000) MUST(ioctl(p[0], FIONREAD, &there));
    pthread_t t;
    going = 0;
    pthread_create(&t, NULL, splice_away, NULL);
    while (!going) {}
    for (int64_t until = now_ns() + round % 100 * 2000; now_ns() < until;) {}
    pthread_cancel(t);
    pthread_join(t, NULL);
    long n = 0, r;
    while ((r = read(pipe_ends[0], all + n, sizeof all - (size_t)n)) > 0) n += r;
    while ((r = recv(p[0], all + n, sizeof all - (size_t)n, MSG_DONTWAIT)) > 0) n += r;
    int bad = n != 50001;
    for (int i = 0; i < 50000 && !bad; ++i) bad = all[i + 1] != i % 251;
    wrong += bad;
  }
  printf("splices that lost or doubled something: %d\n", wrong);
  fflush(stdout);
}

static void write_a_word(void) { MUST(send(p[1], "x", 1, 0)); }
static void read_all(void) {
  struct timeval t = {0, 200000};
  setsockopt(p[1], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
  shutdown(p[0], SHUT_WR);
  while (recv(p[1], b, sizeof b, 0) > 0) {}
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  tcp_pair(p);
  l = listener();
  socklen_t length = sizeof to;
  MUST(getsockname(l, (struct sockaddr*)&to, &length));
  u = MUST(socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in here = loopback(0);
  MUST(bind(u, (struct sockaddr*)&here, sizeof here));
  e = MUST(epoll_create1(0));
  struct epoll_event in = {.events = EPOLLIN};
  MUST(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &in));
  q = (struct pollfd){p[0], POLLIN, 0};
  file = MUST(memfd_create("file", 0));
  MUST(ftruncate(file, 1 << 20));

  cancel_waiting("syscall", syscall_waits, write_a_word);
  MUST(fcntl(p[0], F_SETFL, O_NONBLOCK));
  MUST(fcntl(l, F_SETFL, O_NONBLOCK));
  state = PTHREAD_CANCEL_DISABLE;
  cancel("not while it is disabled", recv_again);
  state = PTHREAD_CANCEL_ENABLE;
#define CANCEL(name) cancel(#name, name##_again)
  CANCEL(read), CANCEL(recv), CANCEL(recvfrom), CANCEL(readv), CANCEL(recvmsg), CANCEL(recvmmsg);
  CANCEL(accept), CANCEL(accept4), CANCEL(connect);
  CANCEL(poll), CANCEL(ppoll), CANCEL(select), CANCEL(pselect), CANCEL(epoll_wait), CANCEL(epoll_pwait);
  CANCEL(write), CANCEL(send), CANCEL(sendto), CANCEL(writev), CANCEL(sendmsg), CANCEL(sendmmsg);
  MUST(fcntl(p[0], F_SETFL, 0));
  int others[2] = {p[0], p[1]};
  tcp_pair(p);
  cancel_splices();
  p[0] = others[0], p[1] = others[1];
  cancel_waiting("sendfile", sendfile_waits, read_all);
  return 0;
}
