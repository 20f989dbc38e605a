/* dup, fcntl, close and what becomes of numbers; stdio on sockets; passing sockets over AF_UNIX. */
#include "say.h"
#include <linux/close_range.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static void sharing(void) {
  int p[2];
  char b[8];
  tcp_pair(p);
  int copy = (int)MUST(dup(p[0]));
  SAY("F_SETFL on the dup", fcntl(copy, F_SETFL, O_RDWR | O_NONBLOCK));
  printf("original nonblocking %d\n", (fcntl(p[0], F_GETFL) & O_NONBLOCK) != 0);
  SAY("recv", recv(p[0], b, 8, 0));
  int zero = 0;
  SAY("FIONBIO", ioctl(p[0], FIONBIO, &zero));
  printf("dup nonblocking %d\n", (fcntl(copy, F_GETFL) & O_NONBLOCK) != 0);
  close(p[0]);
  MUST(send(p[1], "via dup", 7, 0));
  SAY("recv via dup", recv(copy, b, 8, 0));
  int high = (int)MUST(fcntl(copy, F_DUPFD_CLOEXEC, 100));
  printf("F_DUPFD %d cloexec %d\n", high, fcntl(high, F_GETFD));
  SAY("dup2 same", dup2(high, high) == high);
  SAY("dup3 same", dup3(high, high, 0));
  SAY("dup2 of nothing", dup2(999, high));
  MUST(send(p[1], "x", 1, 0));
  SAY("still there", recv(high, b, 8, 0));
  int null = open("/dev/null", O_RDWR);
  SAY("dup2 over it", dup2(null, high) == high);
  SAY("now a file", recv(high, b, 8, 0));
  SAY("write to it", write(high, "abc", 3));
  int type = 0;
  socklen_t length = sizeof type;
  SAY("SO_TYPE", getsockopt(copy, SOL_SOCKET, SO_TYPE, &type, &length));
  printf("%d\n", type == SOCK_STREAM);
  SAY("close", close(copy));
  SAY("close again", close(copy));
  SAY("end of file at the peer", recv(p[1], b, 8, 0));
  close(p[1]);
}

static void numbers(void) {
  int p[2];
  char b[8];
  tcp_pair(p);
  int spare = (int)MUST(dup(p[0]));
  int number = p[0];
  SAY("raw close", syscall(SYS_close, number));
  int file = open("/dev/zero", O_RDWR);
  printf("number again %d\n", file == number);
  SAY("write goes to the file", write(file, "stale", 5));
  SAY("read comes from the file", read(file, b, 8));
  SAY("nothing at the peer", recv(p[1], b, 8, MSG_DONTWAIT));
  close(file);
  int high = (int)MUST(fcntl(spare, F_DUPFD, 200));
  SAY("close_range", close_range(150, 300, 0));
  SAY("send", send(high, "x", 1, 0));
  MUST(fcntl(spare, F_DUPFD, 200));
  closefrom(150);
  SAY("closefrom", send(200, "x", 1, 0));
  SAY("CLOSE_RANGE_CLOEXEC", close_range((unsigned)spare, (unsigned)spare, CLOSE_RANGE_CLOEXEC));
  printf("cloexec %d\n", fcntl(spare, F_GETFD));
  MUST(send(p[1], "y", 1, 0));
  SAY("spare works", recv(spare, b, 8, 0));
  FILE* stream = fdopen(spare, "r+");
  fprintf(stream, "printed\n");
  fflush(stream);
  SAY("arrives", recv(p[1], b, 8, MSG_WAITALL));
  printf("%.7s\n", b);
  int was = fileno(stream);
  fclose(stream);
  FILE* next = fopen("/dev/null", "w");
  printf("number again %d\n", fileno(next) == was);
  SAY("write to fileno", write(fileno(next), "gone", 4));
  SAY("end of file", recv(p[1], b, 8, 0));
  fclose(next);
  close(p[1]);
}

static void stdio_order(void) {
  int p[2];
  tcp_pair(p);
  FILE* out = fdopen(dup(p[0]), "w");
  char line[64];
  for (int i = 0; i < 200; ++i) {
    if (i % 3 == 0) fprintf(out, "%d.", i), fflush(out);
    else if (i % 3 == 1) dprintf(p[0], "%d.", i);
    else send(p[0], line, (size_t)snprintf(line, sizeof line, "%d.", i), 0);
  }
  fclose(out);
  close(p[0]);
  char all[2048];
  long n = 0, r;
  while ((r = recv(p[1], all + n, sizeof all - (size_t)n, 0)) > 0) n += r;
  unsigned hash = 5381;
  for (long i = 0; i < n; ++i) hash = hash * 33 + (unsigned char)all[i];
  printf("order: %ld bytes hash %u\n", n, hash);
  close(p[1]);
}

static void passing(void) {
  int p[2], u[2];
  char b[16] = "";
  tcp_pair(p);
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
  MUST(send(p[0], "before", 6, 0));
  pid_t child = fork();
  if (child == 0) {
    close(p[0]);
    close(p[1]);
    char c, control[CMSG_SPACE(sizeof(int))];
    struct iovec v = {&c, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(u[1], &m, 0) != 1) _exit(1);
    int fd;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
    long n = recv(fd, b, 6, MSG_WAITALL);
    printf("the child reads %ld %.6s\n", n, b);
    printf("and answers %ld\n", (long)send(fd, "answer", 6, 0));
    fflush(stdout);
    _exit(0);
  }
  char control[CMSG_SPACE(sizeof(int))] = "";
  struct iovec v = {"c", 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &p[1], sizeof(int));
  fflush(stdout);
  MUST(sendmsg(u[0], &m, 0));
  close(p[1]);
  int status = 0;
  waitpid(child, &status, 0);
  printf("child %d\n", WEXITSTATUS(status));
  SAY("the answer", recv(p[0], b, 16, 0));
  printf("%.6s\n", b);
  SAY("end", recv(p[0], b, 16, 0));
}

/* A connection that finds no free number stays in the queue. */
static void limit(void) {
  int l = listener();
  struct sockaddr_in a = loopback(port_of(l));
  int c = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  MUST(connect(c, (struct sockaddr*)&a, sizeof a));
  arrived(l);
  struct rlimit few = {(rlim_t)c + 3, (rlim_t)c + 3}, was;
  MUST(getrlimit(RLIMIT_NOFILE, &was));
  few.rlim_max = was.rlim_max;
  MUST(setrlimit(RLIMIT_NOFILE, &few));
  int last = -1, fd;
  while ((fd = open("/dev/null", O_RDONLY)) >= 0) last = fd;
  SAY("accept without numbers", accept(l, NULL, NULL));
  say_poll("still there", l, POLLIN, 0);
  close(last);
  int s = (int)MUST(accept(l, NULL, NULL));
  printf("accepted %d\n", s == last);
  MUST(send(c, "hello", 5, 0));
  char b[8];
  SAY("recv", recv(s, b, 8, 0));
  SAY("socket without numbers", socket(AF_INET, SOCK_STREAM, 0));
  MUST(setrlimit(RLIMIT_NOFILE, &was));
}

/* One datagram through descriptor 0, as a server started by inetd answers it. */
static int answer(void) {
  char b[8] = "";
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  SAY("recvfrom 0", recvfrom(0, b, sizeof b, 0, (struct sockaddr*)&from, &length));
  printf("%.8s from %s\n", b, inet_ntoa(from.sin_addr));
  SAY("sendto 0", sendto(0, "reply", 5, 0, (struct sockaddr*)&from, length));
  return 0;
}

static void ask(int client, int port) {
  struct sockaddr_in to = loopback(port);
  MUST(sendto(client, "ask", 3, 0, (struct sockaddr*)&to, sizeof to));
}

static void say_reply(int client, int port) {
  char b[8] = "";
  struct sockaddr_in from = {0};
  socklen_t length = sizeof from;
  arrived(client);
  SAY("the reply", recvfrom(client, b, sizeof b, MSG_DONTWAIT, (struct sockaddr*)&from, &length));
  printf("%.8s, from the server %d\n", b, ntohs(from.sin_port) == port);
}

/* Datagram sockets as descriptor 0, with addresses while they have no peer, before exec and across it. */
static void standard_datagrams(void) {
  int input = (int)MUST(dup(0)), client = bound(SOCK_DGRAM, 0), s = bound(SOCK_DGRAM, 0), port = port_of(s);
  struct timeval patience = {5, 0};
  MUST(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience));
  SAY("dup2 to 0", dup2(s, 0));
  ask(client, port);
  answer();
  say_reply(client, port);
  ask(client, port);
  arrived(s);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) execl("/proc/self/exe", "descriptors", "answer", NULL), _exit(99);
  int status = 0;
  waitpid(child, &status, 0);
  printf("child %d\n", WEXITSTATUS(status));
  say_reply(client, port);
  ask(client, port);
  answer();
  say_reply(client, port);
  struct sockaddr_in peer = loopback(port_of(client));
  SAY("connect", connect(s, (struct sockaddr*)&peer, sizeof peer));
  SAY("dup2 with a peer", dup2(s, 0));
  SAY("write", write(0, "bytes", 5));
  say_reply(client, port);
  MUST(dup2(input, 0));
  close(input), close(client), close(s);
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "answer") == 0) return answer();
  sharing();
  numbers();
  stdio_order();
  passing();
  standard_datagrams();
  limit();
  return 0;
}
