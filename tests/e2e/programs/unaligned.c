/* Options, addresses, control data and arguments of ioctl at odd addresses, where buffers of bytes in programs may lie: calls take them
 * as void* or programs cast them. With a sanitized libferry an access that needs an alignment is a report (docs/testing.md). */
#include "say.h"
#include <net/if.h>
#include <netinet/ip.h>

static _Alignas(64) char g_memory[8192];
static char* g_free = g_memory;

/* Zeroed bytes at an odd address. */
static void* odd(size_t n) {
  char* p = g_free + 1;
  g_free += (n + 1 + 63) / 64 * 64;
  if (g_free > g_memory + sizeof g_memory) exit(2);
  memset(p, 0, n);
  return p;
}
static void* odd_copy(const void* from, size_t n) { return memcpy(odd(n), from, n); }

static void names(void) {
  struct sockaddr_in a = loopback(0);
  socklen_t size = sizeof a;
  int l = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), c = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  SAY("bind", bind(l, odd_copy(&a, sizeof a), sizeof a));
  SAY("listen", listen(l, 4));
  void* name = odd(sizeof a);
  SAY("getsockname", getsockname(l, name, &size));
  SAY("connect", connect(c, name, sizeof a));
  int s = (int)MUST(accept(l, odd(sizeof a), &size));
  SAY("getpeername", getpeername(s, name, &size));
  close(l);
  close(c);
  close(s);
}

static void options(int fd) {
  static const struct { const char* name; int level, number; size_t size; } kAll[] = {
      {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 4}, {"SO_TYPE", SOL_SOCKET, SO_TYPE, 4}, {"SO_LINGER", SOL_SOCKET, SO_LINGER, 8},
      {"SO_RCVTIMEO", SOL_SOCKET, SO_RCVTIMEO, 16}, {"SO_SNDTIMEO", SOL_SOCKET, SO_SNDTIMEO, 16}, {"SO_ERROR", SOL_SOCKET, SO_ERROR, 4},
      {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 4}, {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 4}, {"IP_TOS", IPPROTO_IP, IP_TOS, 4},
      {"IP_TTL", IPPROTO_IP, IP_TTL, 4}, {"TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, 4}, {"TCP_INFO", IPPROTO_TCP, TCP_INFO, 104},
      {"SO_PEERCRED", SOL_SOCKET, SO_PEERCRED, 12},
  };
  for (size_t i = 0; i < sizeof kAll / sizeof *kAll; ++i) {
    socklen_t size = (socklen_t)kAll[i].size;
    int five = 5;
    g_free = g_memory;
    void* value = odd(size);
    SAY(kAll[i].name, getsockopt(fd, kAll[i].level, kAll[i].number, value, &size));
    memset(value, 0, size);
    memcpy(value, &five, sizeof five);
    SAY("set", setsockopt(fd, kAll[i].level, kAll[i].number, value, size));
  }
}

static void requests(int fd, int other) {
  SAY("send", send(fd, odd_copy("abcdef", 6), 6, 0));
  arrived(other);
  void* n = odd(sizeof(int));
  SAY("FIONREAD", ioctl(other, FIONREAD, n));
  SAY("SIOCATMARK", ioctl(other, SIOCATMARK, n));
  SAY("TIOCOUTQ", ioctl(other, TIOCOUTQ, n));
  memset(n, 0, sizeof(int));
  SAY("FIONBIO", ioctl(other, FIONBIO, n));
  int self = getpid();
  SAY("FIOSETOWN", ioctl(other, FIOSETOWN, odd_copy(&self, sizeof self)));
  struct ifreq wanted;
  memset(&wanted, 0, sizeof wanted);
  strcpy(wanted.ifr_name, "lo");
  void* r = odd_copy(&wanted, sizeof wanted);
  SAY("SIOCGIFFLAGS", ioctl(fd, SIOCGIFFLAGS, r));
  SAY("SIOCGIFMTU", ioctl(fd, SIOCGIFMTU, r));
  struct ifconf all = {.ifc_len = 4 * sizeof wanted, .ifc_buf = odd(4 * sizeof wanted)};
  SAY("SIOCGIFCONF", ioctl(fd, SIOCGIFCONF, odd_copy(&all, sizeof all)));
}

static void messages(int fd, int other, const struct sockaddr_in* to) {
  char text[] = "xyz";
  struct iovec piece = {text, 3};
  struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1, .msg_name = odd_copy(to, sizeof *to), .msg_namelen = sizeof *to};
  const int kTtl = 9;
  m.msg_controllen = CMSG_SPACE(sizeof kTtl);
  m.msg_control = odd(m.msg_controllen);
  struct cmsghdr head = {CMSG_LEN(sizeof kTtl), IPPROTO_IP, IP_TTL};
  memcpy(m.msg_control, &head, sizeof head);
  memcpy((char*)m.msg_control + CMSG_LEN(0), &kTtl, sizeof kTtl);
  SAY("sendmsg", sendmsg(fd, &m, 0));
  SAY("sendto", sendto(fd, text, 3, 0, m.msg_name, sizeof *to));
  arrived(other);
  m.msg_name = odd(64);
  m.msg_namelen = 64;
  m.msg_control = odd(128);
  m.msg_controllen = 128;
  SAY("recvmsg", recvmsg(other, &m, 0));
  printf("control %d\n", (int)m.msg_controllen);
  socklen_t size = 64;
  SAY("recvfrom", recvfrom(other, text, 3, 0, odd(64), &size));
}

int main(void) {
  int p[2], one = 1;
  names();
  tcp_pair(p);
  options(p[0]);
  g_free = g_memory;
  requests(p[0], p[1]);
  p[0] = bound(SOCK_DGRAM, 0);
  p[1] = bound(SOCK_DGRAM, 0);
  struct sockaddr_in to = loopback(port_of(p[1]));
  MUST(setsockopt(p[1], IPPROTO_IP, IP_PKTINFO, &one, sizeof one));
  MUST(setsockopt(p[1], IPPROTO_IP, IP_RECVTTL, &one, sizeof one));
  MUST(setsockopt(p[1], SOL_SOCKET, SO_TIMESTAMP, &one, sizeof one));
  g_free = g_memory;
  messages(p[0], p[1], &to);
  return 0;
}
