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
  cancel_waiting("sendfile", sendfile_waits, read_all);
  return 0;
}
