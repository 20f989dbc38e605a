/* getsockopt and setsockopt: what programs set, what they read back, errors. */
#include "say.h"
#include <netinet/ip.h>

struct option {
  const char* name;
  int level, number;
};
#define O(level, number) {#number, level, number}
static const struct option kBoth[] = {
    O(SOL_SOCKET, SO_REUSEADDR), O(SOL_SOCKET, SO_REUSEPORT), O(SOL_SOCKET, SO_KEEPALIVE), O(SOL_SOCKET, SO_BROADCAST),
    O(SOL_SOCKET, SO_OOBINLINE), O(SOL_SOCKET, SO_TYPE),      O(SOL_SOCKET, SO_DOMAIN),    O(SOL_SOCKET, SO_PROTOCOL),
    O(SOL_SOCKET, SO_ACCEPTCONN), O(SOL_SOCKET, SO_ERROR),    O(SOL_SOCKET, SO_RCVLOWAT),  O(SOL_SOCKET, SO_TIMESTAMP),
    O(IPPROTO_IP, IP_TOS),       O(IPPROTO_IP, IP_TTL),
};
static const struct option kTcp[] = {
    O(IPPROTO_TCP, TCP_NODELAY),   O(IPPROTO_TCP, TCP_CORK),   O(IPPROTO_TCP, TCP_KEEPIDLE), O(IPPROTO_TCP, TCP_KEEPINTVL),
    O(IPPROTO_TCP, TCP_KEEPCNT),   O(IPPROTO_TCP, TCP_SYNCNT), O(IPPROTO_TCP, TCP_LINGER2),  O(IPPROTO_TCP, TCP_DEFER_ACCEPT),
    O(IPPROTO_TCP, TCP_USER_TIMEOUT),
};
static const struct option kUdp[] = {O(IPPROTO_IP, IP_PKTINFO), O(IPPROTO_IP, IP_RECVTTL), O(IPPROTO_IP, IP_RECVTOS),
                                     O(IPPROTO_IP, IP_RECVERR)};

static void show(int fd, const struct option* o, const char* when) {
  int value = -77;
  socklen_t length = sizeof value;
  int r = getsockopt(fd, o->level, o->number, &value, &length);
  if (r < 0) printf("%s %s: %s\n", o->name, when, strerrorname_np(errno));
  else printf("%s %s: %d length %d\n", o->name, when, value, (int)length);
}

static void run(int fd, const struct option* list, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    show(fd, &list[i], "default");
    int value = list[i].number == IP_TOS && list[i].level == IPPROTO_IP ? 0x08 : list[i].level == IPPROTO_TCP ? 5 : 1;
    int r = setsockopt(fd, list[i].level, list[i].number, &value, sizeof value);
    printf("set %s: %s\n", list[i].name, r < 0 ? strerrorname_np(errno) : "ok");
    if (list[i].number != TCP_DEFER_ACCEPT || list[i].level != IPPROTO_TCP) show(fd, &list[i], "after");
  }
}

int main(void) {
  int t = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), u = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
  printf("-- tcp\n");
  run(t, kBoth, sizeof kBoth / sizeof *kBoth);
  run(t, kTcp, sizeof kTcp / sizeof *kTcp);
  printf("-- udp\n");
  run(u, kBoth, sizeof kBoth / sizeof *kBoth);
  run(u, kUdp, sizeof kUdp / sizeof *kUdp);
  int value = 65536;
  socklen_t length = sizeof value;
  for (int i = 0; i < 2; ++i) {
    int fd = i ? u : t;
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof value));
    MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value));
    int got = 0;
    MUST(getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &got, &length));
    printf("SO_RCVBUF %d\n", got);
    MUST(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &got, &length));
    printf("SO_SNDBUF %d\n", got);
  }
  struct linger l = {1, 3}, back = {0, 0};
  MUST(setsockopt(t, SOL_SOCKET, SO_LINGER, &l, sizeof l));
  length = sizeof back;
  MUST(getsockopt(t, SOL_SOCKET, SO_LINGER, &back, &length));
  printf("linger %d %d length %d\n", back.l_onoff, back.l_linger, (int)length);
  SAY("unknown option", setsockopt(t, SOL_SOCKET, 9999, &value, sizeof value));
  SAY("unknown level", setsockopt(t, 9999, 1, &value, sizeof value));
  SAY("short value", setsockopt(t, IPPROTO_TCP, TCP_NODELAY, &value, 1));
  SAY("null value", setsockopt(t, IPPROTO_TCP, TCP_NODELAY, NULL, 4));
  SAY("get unknown", getsockopt(t, IPPROTO_TCP, 9999, &value, &length));
  char name[16] = "";
  length = sizeof name;
  SAY("TCP_CONGESTION", getsockopt(t, IPPROTO_TCP, TCP_CONGESTION, name, &length));
  printf("%d %d\n", name[0] != 0, (int)length); /* the default is the system's choice */
  SAY("set unknown congestion", setsockopt(t, IPPROTO_TCP, TCP_CONGESTION, "nonsense", 8));
  int p[2];
  tcp_pair(p);
  struct tcp_info info;
  memset(&info, 0, sizeof info);
  length = sizeof info;
  MUST(getsockopt(p[0], IPPROTO_TCP, TCP_INFO, &info, &length));
  printf("TCP_INFO state %d, mss %d, cwnd %d\n", info.tcpi_state, info.tcpi_snd_mss > 500, info.tcpi_snd_cwnd > 0);
  char small = 0;
  length = 1;
  SAY("one byte", getsockopt(p[0], IPPROTO_TCP, TCP_NODELAY, &small, &length));
  struct ucred cred;
  length = sizeof cred;
  SAY("SO_PEERCRED", getsockopt(p[0], SOL_SOCKET, SO_PEERCRED, &cred, &length));
  printf("%d %d\n", cred.pid, (int)cred.uid);
  SAY("ioctl unknown", ioctl(p[0], 0x1234, &value));
  SAY("isatty", isatty(p[0]) ? 1 : -1);
  return 0;
}
