/* bind, listen, connect, accept, names, and their errors. */
#include "say.h"

static void say_name(const char* what, int fd, int peer) {
  struct sockaddr_storage a;
  socklen_t length = sizeof a;
  memset(&a, 0, sizeof a);
  int r = peer ? getpeername(fd, (struct sockaddr*)&a, &length) : getsockname(fd, (struct sockaddr*)&a, &length);
  if (r < 0) {
    printf("%s: %s\n", what, strerrorname_np(errno));
    return;
  }
  char text[64] = "";
  int port = 0;
  if (a.ss_family == AF_INET) {
    inet_ntop(AF_INET, &((struct sockaddr_in*)&a)->sin_addr, text, sizeof text);
    port = ntohs(((struct sockaddr_in*)&a)->sin_port);
  } else if (a.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &((struct sockaddr_in6*)&a)->sin6_addr, text, sizeof text);
    port = ntohs(((struct sockaddr_in6*)&a)->sin6_port);
  }
  printf("%s: family %d length %d %s port %s\n", what, a.ss_family, (int)length, text, port ? "set" : "0");
}

static void streams(void) {
  int s = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  say_name("fresh name", s, 0);
  say_name("fresh peer", s, 1);
  struct sockaddr_in a = loopback(0);
  SAY("accept on fresh", accept(s, NULL, NULL));
  SAY("send on fresh", send(s, "x", 1, MSG_NOSIGNAL));
  SAY("recv on fresh", recv(s, &a, 1, 0));
  SAY("shutdown on fresh", shutdown(s, SHUT_RDWR));
  a.sin_family = AF_UNIX;
  SAY("connect to another family", connect(s, (struct sockaddr*)&a, sizeof a));
  SAY("bind another family", bind(s, (struct sockaddr*)&a, sizeof a));
  a = loopback(0);
  SAY("bind short", bind(s, (struct sockaddr*)&a, 4));
  SAY("connect short", connect(s, (struct sockaddr*)&a, 4));
  SAY("bind", bind(s, (struct sockaddr*)&a, sizeof a));
  SAY("bind twice", bind(s, (struct sockaddr*)&a, sizeof a));
  say_name("bound name", s, 0);
  SAY("listen", listen(s, 5));
  SAY("listen again", listen(s, 7));
  SAY("connect a listener", connect(s, (struct sockaddr*)&a, sizeof a));
  say_name("listener peer", s, 1);
  fcntl(s, F_SETFL, O_NONBLOCK);
  SAY("accept empty", accept(s, NULL, NULL));
  SAY("recv from listener", recv(s, &a, 1, 0));
  int other = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  a = loopback(port_of(s));
  SAY("bind used port", bind(other, (struct sockaddr*)&a, sizeof a));
  SAY("connect", connect(other, (struct sockaddr*)&a, sizeof a));
  SAY("connect again", connect(other, (struct sockaddr*)&a, sizeof a));
  SAY("listen on connected", listen(other, 1));
  say_name("connected name", other, 0);
  say_name("connected peer", other, 1);
  struct pollfd p = {s, POLLIN, 0};
  poll(&p, 1, 2000);
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  int c = (int)MUST(accept4(s, (struct sockaddr*)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  printf("accepted: length %d family %d, same port %d\n", (int)length, from.sin_family, ntohs(from.sin_port) == port_of(other));
  printf("flags: %s %s\n", fcntl(c, F_GETFL) & O_NONBLOCK ? "nonblocking" : "blocking", fcntl(c, F_GETFD) & FD_CLOEXEC ? "cloexec" : "-");
  say_name("accepted name", c, 0);
  SAY("accept4 bad flags", accept4(s, NULL, NULL, 0x1234));
  char small[4];
  length = sizeof small;
  SAY("getsockname truncated", getsockname(c, (struct sockaddr*)small, &length));
  printf("length wanted %d\n", (int)length);
  SAY("getsockname null", getsockname(c, NULL, NULL));
  close(c);
  close(other);
  int port = port_of(s);
  close(s);
  usleep(100000); /* ferryd is told of the close, it does not take part in it (docs/compatibility.md) */
  a = loopback(port);
  other = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  SAY("connect refused", connect(other, (struct sockaddr*)&a, sizeof a));
  SAY("connect refused again", connect(other, (struct sockaddr*)&a, sizeof a));
  close(other);
  other = (int)MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  int r = connect(other, (struct sockaddr*)&a, sizeof a);
  if (r == 0 || errno != EINPROGRESS) printf("nonblocking connect: %d %s\n", r, strerrorname_np(errno));
  say_poll("refused", other, POLLIN | POLLOUT | POLLRDHUP, 2000);
  int error = 0;
  length = sizeof error;
  MUST(getsockopt(other, SOL_SOCKET, SO_ERROR, &error, &length));
  printf("SO_ERROR %s\n", error ? strerrorname_np(error) : "0");
  MUST(getsockopt(other, SOL_SOCKET, SO_ERROR, &error, &length));
  printf("SO_ERROR %s\n", error ? strerrorname_np(error) : "0");
  close(other);
}

static void six(void) {
  int s = (int)MUST(socket(AF_INET6, SOCK_STREAM, 0)), one = 1;
  struct sockaddr_in6 a = {.sin6_family = AF_INET6};
  int off = 0;
  setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  SAY("bind ::", bind(s, (struct sockaddr*)&a, sizeof a));
  SAY("listen ::", listen(s, 5));
  say_name("v6 name", s, 0);
  socklen_t length = sizeof a;
  getsockname(s, (struct sockaddr*)&a, &length);
  int c = (int)MUST(socket(AF_INET6, SOCK_STREAM, 0));
  struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = a.sin6_port};
  inet_pton(AF_INET6, "::ffff:127.0.0.1", &to.sin6_addr);
  SAY("connect mapped", connect(c, (struct sockaddr*)&to, sizeof to));
  int k = (int)MUST(accept(s, NULL, NULL));
  say_name("mapped peer", c, 1);
  say_name("accepted v6 peer", k, 1);
  say_name("accepted v6 name", k, 0);
  int c4 = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in to4 = loopback(ntohs(a.sin6_port));
  SAY("v4 client", connect(c4, (struct sockaddr*)&to4, sizeof to4));
  int k4 = (int)MUST(accept(s, NULL, NULL));
  say_name("v4 client as seen", k4, 1);
  MUST(send(c4, "hi", 2, 0));
  char b[4];
  SAY("v4 to v6", recv(k4, b, 4, 0));
}

int main(void) {
  streams();
  six();
  SAY("bad type", socket(AF_INET, 77, 0));
  SAY("bad protocol", socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
  SAY("not a socket", listen(1000, 1));
  int file = open("/dev/null", O_RDWR);
  SAY("a file", listen(file, 1));
  SAY("recv from a file", recv(file, &file, 1, 0));
  return 0;
}
