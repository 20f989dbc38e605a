/* Listeners that are shut down: who waits for a connection, and what the socket can do afterwards. */
#include "say.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>

static void* accept_one(void* listener) {
  int c = accept(*(int*)listener, NULL, NULL);
  return (void*)(long)(c >= 0 ? 0 : errno);
}

static void* poll_one(void* listener) {
  struct pollfd p = {*(int*)listener, POLLIN, 0};
  int n = poll(&p, 1, 5000);
  return (void*)(long)(n << 16 | p.revents);
}

static void* epoll_one(void* set) {
  struct epoll_event e = {0};
  int n = epoll_wait(*(int*)set, &e, 1, 5000);
  return (void*)(long)(n << 16 | (int)e.events);
}

static int connected_to(int port) {
  struct sockaddr_in a = loopback(port);
  int s = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  if (connect(s, (struct sockaddr*)&a, sizeof a) == 0) return s;
  close(s);
  return -1;
}

static int accepting(int l) {
  int on = -1;
  MUST(getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &on, &(socklen_t){sizeof on}));
  return on;
}

/* Connections from many ports, so that each engine of ferryd gets some, are all accepted. */
static void accepts(const char* name, int l, int port) {
  enum { kSome = 12 };
  int from[kSome], accepted = 0;
  for (int i = 0; i < kSome; ++i) from[i] = (int)MUST(connected_to(port));
  for (int i = 0; i < kSome; ++i) {
    int c = (int)MUST(accept(l, NULL, NULL));
    accepted += close(c) == 0;
  }
  for (int i = 0; i < kSome; ++i) close(from[i]);
  printf("%s: %d accepted\n", name, accepted);
}

/* On a port that the program has chosen: it keeps that one whatever becomes of the listener. */
static int lasting_listener(void) {
  int any = bound(SOCK_STREAM, 0), port = port_of(any);
  close(any);
  int l = bound(SOCK_STREAM, port);
  MUST(listen(l, 16));
  return l;
}

/* A listener whose backlog has connections, with a thread in each of accept, poll and epoll when it has none. */
static void shut(const char* name, int how, int waiting) {
  printf("%s, %d waiting\n", name, waiting);
  short all = POLLIN | POLLOUT | POLLPRI | POLLRDHUP;
  int l = lasting_listener(), port = port_of(l), e = (int)MUST(epoll_create1(0)), from[8];
  struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = 1};
  MUST(epoll_ctl(e, EPOLL_CTL_ADD, l, &ev));
  accepts("before", l, port);
  for (int i = 0; i < waiting; ++i) from[i] = (int)MUST(connected_to(port));
  if (waiting > 0) arrived(l);
  const int stops = how != SHUT_WR;
  pthread_t t[3];
  if (waiting == 0 && stops) {
    pthread_create(&t[0], NULL, accept_one, &l);
    pthread_create(&t[1], NULL, poll_one, &l);
    pthread_create(&t[2], NULL, epoll_one, &e);
    usleep(100000);
  }
  SAY("shutdown", shutdown(l, how));
  if (waiting == 0 && stops) {
    void* r[3];
    for (int i = 0; i < 3; ++i) pthread_join(t[i], &r[i]);
    printf("accept: %s\n", strerrorname_np((int)(long)r[0]));
    printf("poll: %d %s\n", (int)((long)r[1] >> 16), bits_text((unsigned)(long)r[1] & 0xffff));
    printf("epoll: %d %s\n", (int)((long)r[2] >> 16), bits_text((unsigned)(long)r[2] & 0xffff));
  }
  say_poll("afterwards", l, all, 0);
  printf("SO_ACCEPTCONN %d\n", accepting(l));
  char b[4];
  SAY("recv", recv(l, b, sizeof b, MSG_DONTWAIT));
  SAY("send", send(l, b, sizeof b, MSG_NOSIGNAL));
  SAY("same port", port_of(l) == port);
  if (stops) {
    SAY("accept afterwards", accept(l, NULL, NULL));
    SAY("shutdown again", shutdown(l, how));
    SAY("shutdown of output", shutdown(l, SHUT_WR));
  }
  MUST(fcntl(l, F_SETFL, O_NONBLOCK));
  if (stops || waiting == 0) SAY("nonblocking accept", accept(l, NULL, NULL));
  MUST(fcntl(l, F_SETFL, 0));
  for (int i = 0; i < waiting; ++i) {
    if (stops) {
      say_poll("one that waited", from[i], POLLIN | POLLRDHUP, 2000);
      SAY("recv", recv(from[i], b, sizeof b, MSG_DONTWAIT));
    } else {
      close((int)MUST(accept(l, NULL, NULL)));
    }
    close(from[i]);
  }
  if (stops) {
    SAY("connect to it", connected_to(port));
    printf("listen: %d\n", listen(l, 16));
  }
  say_poll("listens", l, all, 0);
  printf("SO_ACCEPTCONN %d\n", accepting(l));
  accepts("again", l, port);
  int c = (int)MUST(connected_to(port));
  struct epoll_event got = {0};
  SAY("epoll", epoll_wait(e, &got, 1, 5000));
  close((int)MUST(accept(l, NULL, NULL)));
  close(c);
  close(e);
  close(l);
}

/* futex_waitv(2) is not there, as on an old kernel or behind a filter that does not know it: accept still sleeps, and only a handler without
 * SA_RESTART ends that. */
static void accept_behind_filter(void) {
  struct sock_filter list[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                               BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 449, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                               BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog filter = {sizeof list / sizeof list[0], list};
  struct timespec used;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int l = listener(), port = port_of(l);
    struct itimerval slow = {{0, 0}, {0, 400000}};
    accepts("before the filter", l, port);
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
    alarm_with(0);
    setitimer(ITIMER_REAL, &slow, NULL);
    MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used));
    long before = used.tv_sec * 1000 + used.tv_nsec / 1000000;
    SAY("accept behind a filter", accept(l, NULL, NULL));
    MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used));
    printf("sleeps: %d\n", used.tv_sec * 1000 + used.tv_nsec / 1000000 - before < 100);
    pid_t later = fork();
    if (later == 0) {
      usleep(300000);
      _exit(connected_to(port) >= 0 ? 0 : 1);
    }
    alarm_with(SA_RESTART);
    SAY_OK("accept goes on behind a handler", accept(l, NULL, NULL));
    waitpid(later, NULL, 0);
    for (int i = 0; i < 6; ++i) accepts("behind a filter", l, port);
    fflush(stdout);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

int main(void) {
  for (int waiting = 0; waiting <= 6; waiting += 6) {
    shut("SHUT_RD", SHUT_RD, waiting);
    shut("SHUT_RDWR", SHUT_RDWR, waiting);
    shut("SHUT_WR", SHUT_WR, waiting);
  }
  accept_behind_filter();
  return 0;
}
