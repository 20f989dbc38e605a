/* Data on TCP sockets: flags, vectors, ends, resets, urgent data, time-outs. */
#include "say.h"
#include <pthread.h>
#include <sys/ioctl.h>

static char big[1 << 20];

static void flags(void) {
  int p[2];
  char b[64] = "";
  tcp_pair(p);
  SAY("recv DONTWAIT empty", recv(p[1], b, 8, MSG_DONTWAIT));
  SAY("send", send(p[0], "abcdef", 6, 0));
  arrived(p[1]);
  SAY("peek", recv(p[1], b, 3, MSG_PEEK));
  printf("%.3s\n", b);
  SAY("peek more", recv(p[1], b, 64, MSG_PEEK));
  int n = -1;
  SAY("FIONREAD", ioctl(p[1], FIONREAD, &n));
  printf("%d\n", n);
  SAY("recv 2", recv(p[1], b, 2, 0));
  SAY("TRUNC discards", recv(p[1], NULL, 2, MSG_TRUNC));
  SAY("rest", recv(p[1], b, 64, 0));
  printf("%.2s\n", b);
  SAY("zero bytes", recv(p[1], b, 0, MSG_DONTWAIT));
  SAY("send nothing", send(p[0], "", 0, 0));
  struct iovec v[3] = {{"one", 3}, {"", 0}, {"three", 5}};
  SAY("writev", writev(p[0], v, 3));
  char x[4] = "", y[8] = "";
  struct iovec w[2] = {{x, 3}, {y, 8}};
  arrived(p[1]);
  SAY("readv", readv(p[1], w, 2));
  printf("%.3s|%.5s\n", x, y);
  volatile int wrong = 2000; /* the compiler knows better otherwise */
  SAY("readv too many", readv(p[1], w, wrong));
  wrong = -1;
  SAY("writev negative", writev(p[0], v, wrong));
  if (fork() == 0) {
    usleep(50000);
    (void)!write(p[0], "wait", 4);
    usleep(50000);
    (void)!write(p[0], "all.", 4);
    _exit(0);
  }
  SAY("WAITALL", recv(p[1], b, 8, MSG_WAITALL));
  printf("%.8s\n", b);
  wait(NULL);
  SAY("lseek", lseek(p[0], 0, SEEK_SET));
  SAY("pread", pread(p[0], b, 1, 0));
  struct msghdr m = {.msg_iov = v, .msg_iovlen = 3};
  SAY("sendmsg", sendmsg(p[0], &m, 0));
  arrived(p[1]);
  char control[64];
  struct msghdr r = {.msg_iov = w, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof control};
  struct sockaddr_in from;
  r.msg_name = &from;
  r.msg_namelen = sizeof from;
  SAY("recvmsg", recvmsg(p[1], &r, 0));
  printf("name %d control %d flags %d\n", (int)r.msg_namelen, (int)r.msg_controllen, r.msg_flags);
  socklen_t length = sizeof from;
  send(p[0], "q", 1, 0);
  SAY("recvfrom", recvfrom(p[1], b, 8, 0, (struct sockaddr*)&from, &length));
  struct sockaddr_in to = loopback(9);
  SAY("sendto connected", sendto(p[0], "r", 1, 0, (struct sockaddr*)&to, sizeof to));
  close(p[0]);
  close(p[1]);
}

static void ends(void) {
  int p[2];
  char b[64];
  tcp_pair(p);
  MUST(send(p[0], "last", 4, 0));
  SAY("SHUT_WR", shutdown(p[0], SHUT_WR));
  SAY("send after SHUT_WR", send(p[0], "x", 1, MSG_NOSIGNAL));
  SAY("read last", recv(p[1], b, 64, MSG_WAITALL));
  SAY("end of file", recv(p[1], b, 64, 0));
  SAY("again", recv(p[1], b, 64, 0));
  SAY("other way still works", send(p[1], "back", 4, 0));
  SAY("read back", recv(p[0], b, 64, 0));
  SAY("SHUT_RD", shutdown(p[0], SHUT_RD));
  SAY("recv after SHUT_RD", recv(p[0], b, 64, 0));
  SAY("shutdown bad", shutdown(p[0], 9));
  close(p[0]);
  close(p[1]);

  tcp_pair(p);
  struct linger hard = {1, 0};
  setsockopt(p[0], SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(p[0]);
  say_poll("reset", p[1], POLLIN | POLLRDHUP, 2000);
  say_poll("after reset", p[1], POLLIN | POLLOUT | POLLRDHUP, 0);
  SAY("recv after reset", recv(p[1], b, 64, 0));
  SAY("recv after that", recv(p[1], b, 64, 0));
  SAY("send after reset", send(p[1], "x", 1, MSG_NOSIGNAL));
  SAY("getpeername", getpeername(p[1], (struct sockaddr*)b, &(socklen_t){64}));
  close(p[1]);

  tcp_pair(p);
  MUST(send(p[0], "unread", 6, 0));
  arrived(p[1]);
  close(p[1]); /* with unread data: a reset */
  say_poll("peer closed with unread data", p[0], POLLIN | POLLRDHUP, 2000);
  SAY("recv", recv(p[0], b, 64, 0));
  close(p[0]);
}

/* Connections that their peer ends while they wait for accept(2), which gets them all the same. */
static void ended_unaccepted(void) {
  struct linger hard = {1, 0};
  char b[64];
  int l = -1;
  for (int round = 0; round < 8; round++) { /* the first of a listener is accepted by a request, the next may have been offered */
    const int resets = round % 2 == 1;
    if (round < 4) {
      close(l);
      l = listener();
    }
    struct sockaddr_in a = loopback(port_of(l));
    int s = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(s, (struct sockaddr*)&a, sizeof a));
    if (round % 4 > 1) MUST(send(s, "last words", 10, 0));
    if (resets) setsockopt(s, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(s);
    usleep(20000);
    say_poll("listener", l, POLLIN, 2000);
    int c = (int)MUST(accept(l, NULL, NULL));
    say_poll("listener afterwards", l, POLLIN, 0);
    say_poll("accepted", c, POLLIN | POLLOUT | POLLRDHUP, 2000);
    if (!resets) SAY("recv", recv(c, b, sizeof b, 0));
    SAY("recv again", recv(c, b, sizeof b, 0));
    SAY("and again", recv(c, b, sizeof b, 0));
    SAY("send", send(c, "x", 1, MSG_NOSIGNAL));
    close(c);
  }
  close(l);
}

static void broken(int number) {
  (void)number;
  static const char text[] = "SIGPIPE\n";
  (void)!write(1, text, sizeof text - 1);
}

static void pipes(void) {
  int p[2];
  tcp_pair(p);
  shutdown(p[0], SHUT_WR);
  signal(SIGPIPE, broken);
  fflush(stdout);
  SAY("write after SHUT_WR", write(p[0], "x", 1));
  SAY("send NOSIGNAL", send(p[0], "x", 1, MSG_NOSIGNAL));
  struct iovec v = {"y", 1};
  SAY("writev", writev(p[0], &v, 1));
  close(p[0]);
  close(p[1]);
}

/* Reading and writing nothing says nothing, whatever the socket is like; but write(2) sends an empty datagram. */
static void nothing(void) {
  int p[2], u[2];
  char b[8];
  struct iovec none[2] = {{b, 0}, {b, 0}};
  tcp_pair(p);
  udp_pair(u);
  SAY("read of nothing", read(p[0], b, 0));
  SAY("readv of nothing", readv(p[0], none, 2));
  SAY("readv of no pieces", readv(p[0], none, 0));
  MUST(fcntl(u[0], F_SETFL, O_NONBLOCK));
  SAY("read of nothing, datagrams", read(u[0], b, 0));
  SAY("writev of nothing, datagrams", writev(u[1], none, 2));
  SAY("nothing was sent", recv(u[0], b, 8, 0));
  SAY("write of nothing", write(u[1], b, 0));
  arrived(u[0]);
  SAY("nothing is taken", readv(u[0], none, 1));
  SAY("an empty datagram", recv(u[0], b, 8, 0));
  SAY("and no more", recv(u[0], b, 8, 0));
  shutdown(p[0], SHUT_WR);
  SAY("writev of nothing, closed", writev(p[0], none, 2));
  SAY("read of nothing, unconnected", read((int)MUST(socket(AF_INET, SOCK_STREAM, 0)), b, 0));
}

/* splice takes from a pipe only what the socket takes, and waits only where it may. */
static volatile int alarms;
static void on_alarm(int number) { alarms += number != 0; }
static long fill_pipe(int q) {
  long n = 0, r;
  MUST(fcntl(q, F_SETFL, O_NONBLOCK));
  while ((r = write(q, big, 1000)) > 0) n += r;
  return n;
}
static void splices(void) {
  int p[2], q[2], small = 4608, left = -1;
  struct itimerval soon = {{0, 0}, {0, 200000}};
  struct sigaction action = {.sa_handler = on_alarm};
  sigaction(SIGALRM, &action, NULL);
  tcp_pair(p);
  MUST(pipe(q));
  SAY("splice from an empty pipe", splice(q[0], NULL, p[0], NULL, 100, SPLICE_F_NONBLOCK));
  setitimer(ITIMER_REAL, &soon, NULL);
  SAY("splice from an empty pipe waits", splice(q[0], NULL, p[0], NULL, 100, 0));
  MUST(setsockopt(p[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
  MUST(setsockopt(p[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
  long put = fill_pipe(q[1]), sent = 0, r;
  MUST(fcntl(p[0], F_SETFL, O_NONBLOCK));
  alarms = 0;
  soon.it_value.tv_sec = 5;
  setitimer(ITIMER_REAL, &soon, NULL);
  while ((r = splice(q[0], NULL, p[0], NULL, 65536, 0)) > 0) {
    sent += r;
    if (sent == put) put += fill_pipe(q[1]);
  }
  printf("splice to a full socket: %s, waited %d\n", strerrorname_np(errno), alarms);
  MUST(ioctl(q[0], FIONREAD, &left));
  printf("the rest is in the pipe: %d\n", left == put - sent);
  MUST(fcntl(p[0], F_SETFL, 0));
  soon.it_value.tv_sec = 0; /* again and again: how often, before one finds splice waiting, is chance */
  soon.it_interval = (struct timeval){0, 200000};
  setitimer(ITIMER_REAL, &soon, NULL);
  while ((r = splice(q[0], NULL, p[0], NULL, 65536, 0)) > 0) {
    sent += r;
    if (sent == put) put += fill_pipe(q[1]);
  }
  setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
  printf("splice interrupted: %s, %d\n", strerrorname_np(errno), alarms > 0);
  MUST(ioctl(q[0], FIONREAD, &left));
  printf("the rest is in the pipe: %d\n", left == put - sent);
  close(q[1]);
  while ((r = read(q[0], big, sizeof big)) > 0) {
  }
  SAY("splice from a pipe at its end", splice(q[0], NULL, p[0], NULL, 100, 0));
  signal(SIGALRM, SIG_DFL);
}

/* What a pipe has no room for stays in the socket, and a pipe that must not wait is not waited for. */
static void splices_of_pipes(void) {
  int p[2], q[2];
  tcp_pair(p);
  MUST(pipe(q));
  SAY("splice from the write end", splice(q[1], NULL, p[0], NULL, 100, 0));
  SAY("splice to the read end", splice(p[0], NULL, q[0], NULL, 100, 0));
  SAY("splice with unknown flags", splice(q[0], NULL, p[0], NULL, 100, 0x100));
  MUST(fcntl(q[0], F_SETFL, O_NONBLOCK));
  MUST(fcntl(q[0], F_SETPIPE_SZ, 16384));
  SAY("splice from an empty pipe that must not wait", splice(q[0], NULL, p[0], NULL, 100, 0));
  for (int i = 0; i < 2; ++i) {
    MUST(send(p[1], big, 40000, 0));
    int there = 0;
    for (int ms = 0; ms < 3000 && there < 40000; ++ms) {
      usleep(1000);
      MUST(ioctl(p[0], FIONREAD, &there));
    }
    if (i == 1) MUST(write(q[1], "in front", 8));
    long r = splice(p[0], NULL, q[1], NULL, 1 << 20, 0);
    printf("splice of more than the pipe takes: %d\n", r > 0 && r <= 16384);
    int left = 0, held = 0;
    MUST(ioctl(p[0], FIONREAD, &left));
    MUST(ioctl(q[0], FIONREAD, &held));
    printf("the rest is in the socket: %d\n", left == there - r && held == r + 8 * i);
    while (read(q[0], big, sizeof big) > 0) {
    }
    while (recv(p[0], big, sizeof big, MSG_DONTWAIT) > 0) {
    }
  }
  MUST(fcntl(q[1], F_SETFL, O_NONBLOCK));
  while (write(q[1], big, 65536) > 0) {
  }
  MUST(send(p[1], "x", 1, 0));
  arrived(p[0]);
  SAY("splice to a full pipe that must not wait", splice(p[0], NULL, q[1], NULL, 100, 0));
  close(q[0]);
  void (*before)(int) = signal(SIGPIPE, on_alarm);
  alarms = 0;
  SAY("splice to a pipe without readers", splice(p[0], NULL, q[1], NULL, 100, 0));
  printf("SIGPIPE %d\n", alarms);
  signal(SIGPIPE, before);
}

static void timeouts(void) {
  int p[2];
  char b[8];
  tcp_pair(p);
  struct timeval t = {0, 100000}, got = {9, 9};
  socklen_t length = sizeof got;
  MUST(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
  MUST(getsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &got, &length));
  printf("SO_RCVTIMEO %ld.%06ld\n", (long)got.tv_sec, (long)got.tv_usec / 10000 * 10000);
  SAY("timed recv", recv(p[0], b, 8, 0));
  SAY("timed WAITALL", recv(p[0], b, 8, MSG_WAITALL));
  MUST(setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t));
  long sent = 0, r;
  while ((r = send(p[0], big, sizeof big, 0)) > 0) sent += r;
  printf("timed send: %s after some %d\n", strerrorname_np(errno), sent > 0);
  int queued = -1;
  ioctl(p[0], TIOCOUTQ, &queued);
  printf("TIOCOUTQ %d\n", queued > 0);
  close(p[0]);
  long received = 0;
  while ((r = recv(p[1], big, sizeof big, 0)) > 0) received += r;
  printf("all arrives: %d, then %ld\n", received == sent, r);
  close(p[1]);
}

static void urgent(void) {
  int p[2];
  char b[16] = "";
  tcp_pair(p);
  MUST(send(p[0], "ab!", 3, MSG_OOB));
  MUST(send(p[0], "cd", 2, 0));
  struct pollfd q = {p[1], POLLPRI, 0};
  printf("POLLPRI %d\n", poll(&q, 1, 2000));
  usleep(20000);
  int mark = -1;
  MUST(ioctl(p[1], SIOCATMARK, &mark));
  printf("at mark %d\n", mark);
  SAY("OOB", recv(p[1], b, 4, MSG_OOB));
  printf("%.1s\n", b);
  SAY("OOB again", recv(p[1], b, 4, MSG_OOB));
  SAY("to the mark", recv(p[1], b, 16, 0));
  MUST(ioctl(p[1], SIOCATMARK, &mark));
  printf("at mark %d\n", mark);
  SAY("after the mark", recv(p[1], b, 16, 0));
  printf("%.2s\n", b);
  close(p[0]);
  close(p[1]);
}

static void* reset_later(void* end) {
  struct linger hard = {1, 0};
  usleep(200000);
  MUST(setsockopt(*(int*)end, SOL_SOCKET, SO_LINGER, &hard, sizeof hard));
  close(*(int*)end);
  return NULL;
}

/* The connection is reset while a send waits that has sent a part: that counts, the error is told by the next call. */
static void sends_a_part(void) {
  static char much[64 << 20];
  int p[2];
  pthread_t t;
  tcp_pair(p);
  pthread_create(&t, NULL, reset_later, &p[1]);
  long sent = send(p[0], much, sizeof much, 0);
  printf("a part: %d\n", sent > 0 && sent < (long)sizeof much);
  pthread_join(t, NULL);
  SAY("then", send(p[0], much, 1, 0));
  SAY("and then", send(p[0], much, 1, 0));
  close(p[0]);
}

/* A reset behind the end: who receives has the end, who sends the error. */
static void reset_behind_the_end(void) {
  int p[2];
  char b[4];
  struct linger now = {1, 0};
  tcp_pair(p);
  MUST(send(p[1], "ab", 2, 0));
  MUST(shutdown(p[1], SHUT_WR));
  MUST(setsockopt(p[1], SOL_SOCKET, SO_LINGER, &now, sizeof now));
  say_poll("at the end", p[0], POLLRDHUP, 2000);
  close(p[1]);
  say_poll("reset behind the end", p[0], POLLHUP, 2000);
  SAY("what came before", recv(p[0], b, 4, 0));
  SAY("peek at the end", recv(p[0], b, 4, MSG_PEEK));
  SAY("the end", recv(p[0], b, 4, 0));
  SAY("send", send(p[0], b, 1, 0));
  SAY("the end again", recv(p[0], b, 4, 0));
  close(p[0]);
}

/* A socket that gives up its peer (AF_UNSPEC) and takes another: what the first had sent is gone, read in part or not at all. */
static void another_peer(void) {
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  static char much[100000];
  char b[64] = "";
  int l = listener(), s = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in a = loopback(port_of(l));
  for (int i = 0; i < 4; i++) {
    int there = 0, error = 0;
    MUST(connect(s, (struct sockaddr*)&a, sizeof a));
    int c = (int)MUST(accept(l, NULL, NULL));
    if (i > 0) {
      MUST(send(c, "new", 3, 0));
      memset(b, 0, sizeof b);
      SAY("from the new peer", recv(s, b, 3, MSG_WAITALL));
      printf("%s\n", b);
      SAY("to the new peer", send(s, "answer", 6, 0));
      SAY("which reads", recv(c, b, 6, MSG_WAITALL));
    }
    MUST(send(c, much, i == 2 ? sizeof much : 1000, 0));
    arrived(s);
    if (i != 1) SAY("a part", recv(s, b, 10, 0));
    if (i > 0) SAY("shutdown", shutdown(s, SHUT_WR));
    SAY("no peer", connect(s, &none, sizeof none));
    SAY("unread", ioctl(s, FIONREAD, &there));
    printf("bytes: %d\n", there);
    MUST(getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}));
    SAY("recv without a peer", recv(s, b, sizeof b, MSG_DONTWAIT));
    say_poll("reset", c, 0, 2000); /* behind the end, if that was sent */
    close(c);
  }
  close(s);
  close(l);
}

/* The old connection's error that nobody has taken is not the new one's. */
static void another_peer_after_a_reset(void) {
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  struct linger hard = {1, 0};
  int l = listener(), s = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), error = -1;
  struct sockaddr_in a = loopback(port_of(l));
  MUST(connect(s, (struct sockaddr*)&a, sizeof a));
  int c = (int)MUST(accept(l, NULL, NULL));
  MUST(setsockopt(c, SOL_SOCKET, SO_LINGER, &hard, sizeof hard));
  close(c);
  say_poll("reset", s, 0, 2000);
  SAY("no peer", connect(s, &none, sizeof none));
  SAY("another peer", connect(s, (struct sockaddr*)&a, sizeof a));
  MUST(getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}));
  printf("error %d\n", error);
  SAY("to it", send(s, "x", 1, MSG_NOSIGNAL));
  close(s);
  close(l);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  flags();
  ends();
  ended_unaccepted();
  pipes();
  nothing();
  splices();
  splices_of_pipes();
  timeouts();
  urgent();
  sends_a_part();
  reset_behind_the_end();
  another_peer();
  another_peer_after_a_reset();
  return 0;
}
