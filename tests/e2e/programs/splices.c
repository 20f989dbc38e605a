/* splice(2) between pipes and sockets: what is wrong is told in the same order, what cannot be sent stays in the pipe, a pipe that nobody can
 * write to is at its end. */
#include "say.h"
#include <pthread.h>
#include <sys/stat.h>

static char big[100000], got[200000];

static int held(int fd) {
  int n = -1;
  MUST(ioctl(fd, FIONREAD, &n));
  return n;
}

static void errors(void) {
  int p[2], q[2], file = (int)MUST(open("/dev/null", O_RDWR));
  off_t at = 0, *bad = (off_t*)8;
  tcp_pair(p);
  MUST(pipe(q));
  MUST(write(q[1], "abc", 3));
  MUST(send(p[1], "def", 3, 0));
  arrived(p[0]);
  SAY("offset of the socket, to it", splice(q[0], NULL, p[0], &at, 3, 0));
  SAY("offset of the socket, from it", splice(p[0], &at, q[1], NULL, 3, 0));
  SAY("offset of the pipe, from it", splice(q[0], &at, p[0], NULL, 3, 0));
  SAY("offset of the pipe, to it", splice(p[0], NULL, q[1], &at, 3, 0));
  SAY("both offsets", splice(q[0], &at, p[0], &at, 3, 0));
  SAY("bad offset of the socket", splice(q[0], NULL, p[0], bad, 3, 0));
  SAY("bad offset of the pipe", splice(q[0], bad, p[0], NULL, 3, 0));
  SAY("bad offset of the socket, offset of the pipe", splice(q[0], &at, p[0], bad, 3, 0));
  SAY("the wrong end, offset of the socket", splice(q[1], NULL, p[0], &at, 3, 0));
  SAY("the wrong end, offset of the pipe", splice(q[1], &at, p[0], NULL, 3, 0));
  SAY("the wrong end, bad offset of the socket", splice(p[0], bad, q[0], NULL, 3, 0));
  SAY("unknown flags, offset of the pipe", splice(q[0], &at, p[0], NULL, 3, 0x100));
  SAY("unknown flags, the wrong end", splice(q[1], NULL, p[0], NULL, 3, 0x100));
  SAY("unknown flags, nothing", splice(q[0], NULL, p[0], NULL, 0, 0x100));
  SAY("unknown flags, of what is closed", splice(999, NULL, p[0], NULL, 3, 0x100));
  SAY("of what is closed, bad offset", splice(999, NULL, p[0], bad, 3, 0));
  SAY("no pipe", splice(file, NULL, p[0], NULL, 3, 0));
  SAY("no pipe, offset", splice(file, &at, p[0], NULL, 3, 0));
  SAY("no pipe, bad offset", splice(file, bad, p[0], NULL, 3, 0));
  SAY("no pipe, cannot be read", splice((int)MUST(open("/dev/null", O_WRONLY)), NULL, p[0], NULL, 3, 0));
  SAY("two sockets", splice(p[0], NULL, p[1], NULL, 3, 0));
  printf("all is there: %d %d\n", held(q[0]), held(p[0]));
}

/* A datagram that cannot be sent has taken nothing from the pipe. */
static void datagrams(void) {
  int u[2], q[2];
  udp_pair(u);
  MUST(pipe(q));
  MUST(write(q[1], big, 20000));
  SAY("to a datagram", splice(q[0], NULL, u[0], NULL, 65536, 0));
  SAY("arrives", recv(u[1], got, sizeof got, 0));
  printf("%s\n", memcmp(got, big, 20000) == 0 ? "right" : "WRONG");
  MUST(write(q[1], big, 3000));
  SAY("part of it", splice(q[0], NULL, u[0], NULL, 1000, 0));
  SAY("arrives", recv(u[1], got, sizeof got, 0));
  int on = 1;
  MUST(setsockopt(u[0], SOL_UDP, UDP_CORK, &on, sizeof on));
  SAY("to a corked datagram", splice(q[0], NULL, u[0], NULL, 500, 0));
  SAY("more of it", splice(q[0], NULL, u[0], NULL, 400, 0));
  SAY("nothing was sent", recv(u[1], got, sizeof got, MSG_DONTWAIT));
  on = 0;
  MUST(setsockopt(u[0], SOL_UDP, UDP_CORK, &on, sizeof on));
  SAY("arrives", recv(u[1], got, sizeof got, 0));
  printf("%s\n", memcmp(got, big + 1000, 900) == 0 ? "right" : "WRONG");
  printf("the rest is in the pipe: %d\n", held(q[0]));
  SAY("the beginning of a datagram", send(u[0], "xy", 2, MSG_MORE));
  SAY("more to come", splice(q[0], NULL, u[0], NULL, 300, SPLICE_F_MORE));
  SAY("nothing was sent", recv(u[1], got, sizeof got, MSG_DONTWAIT));
  SAY("the end", splice(q[0], NULL, u[0], NULL, 200, 0));
  SAY("arrives", recv(u[1], got, sizeof got, 0));
  int from[2];
  MUST(pipe(from));
  MUST(send(u[0], "", 0, 0));
  MUST(send(u[0], "behind", 6, 0));
  usleep(100000);
  SAY("an empty datagram", splice(u[1], NULL, from[1], NULL, 100, SPLICE_F_NONBLOCK));
  SAY("and what is behind", splice(u[1], NULL, from[1], NULL, 100, SPLICE_F_NONBLOCK));
  close(from[0]);
  close(from[1]);
  int wide[2];
  MUST(pipe(wide));
  MUST(write(wide[1], big, 65536));
  SAY("too much for a datagram", splice(wide[0], NULL, u[0], NULL, 65536, 0));
  printf("stays in the pipe: %d\n", held(wide[0]));
  close(u[1]);
  usleep(50000);
  MUST(send(u[0], "x", 1, 0));
  say_poll("refused", u[0], POLLERR, 2000);
  SAY("to a socket with an error", splice(q[0], NULL, u[0], NULL, 65536, 0));
  printf("stays in the pipe: %d\n", held(q[0]));
  int alone = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
  SAY("to nobody", splice(q[0], NULL, alone, NULL, 65536, 0));
  printf("stays in the pipe: %d\n", held(q[0]));
}

static void* splice_100(void* ends) { return (void*)splice(((int*)ends)[0], NULL, ((int*)ends)[1], NULL, 100, 0); }

/* Opened without waiting for a writer: read(2) says 0 as long as there was none, and so does splice. */
static void fifos(void) {
  int p[2];
  char name[64];
  tcp_pair(p);
  snprintf(name, sizeof name, "/tmp/ferry-fifo-%d", (int)getpid());
  unlink(name);
  MUST(mkfifo(name, 0600));
  int in = (int)MUST(open(name, O_RDONLY | O_NONBLOCK));
  SAY("no writer yet", splice(in, NULL, p[0], NULL, 100, 0));
  SAY("no writer yet, must not wait", splice(in, NULL, p[0], NULL, 100, SPLICE_F_NONBLOCK));
  MUST(fcntl(in, F_SETFL, 0));
  alarm(5);
  SAY("no writer yet, may wait", splice(in, NULL, p[0], NULL, 100, 0));
  int out = (int)MUST(open(name, O_WRONLY));
  SAY("a writer that has not written, must not wait", splice(in, NULL, p[0], NULL, 100, SPLICE_F_NONBLOCK));
  pthread_t t;
  int ends[2] = {in, p[0]};
  void* sent;
  pthread_create(&t, NULL, splice_100, ends);
  usleep(50000);
  MUST(write(out, "word", 4));
  pthread_join(t, &sent);
  printf("one that writes later: %ld\n", (long)sent);
  MUST(write(out, "last", 4));
  close(out);
  SAY("the writer has left something", splice(in, NULL, p[0], NULL, 100, 0));
  SAY("nothing is left", splice(in, NULL, p[0], NULL, 100, 0));
  SAY("arrives", recv(p[1], got, 8, MSG_WAITALL));
  printf("%.8s\n", got);
  close(in);
  in = (int)MUST(open(name, O_RDONLY | O_NONBLOCK));
  SAY("opened behind the writer", splice(in, NULL, p[0], NULL, 100, 0));
  alarm(0);
  unlink(name);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  for (size_t i = 0; i < sizeof big; ++i) big[i] = (char)(i * 31 + i / 251);
  errors();
  datagrams();
  fifos();
  return 0;
}
