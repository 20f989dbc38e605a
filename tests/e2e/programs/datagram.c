/* UDP: addresses, truncation, ancillary data, errors, several at once. */
#include "say.h"
#include <malloc.h>
#include <pthread.h>

/* Two processes use one socket in turns: that costs no memory. */
static void in_turns(void) {
  int to_child[2], to_parent[2], u = bound(SOCK_DGRAM, 0), lost = 0;
  struct sockaddr_in self = loopback(port_of(u));
  char b;
  size_t before = 0;
  MUST(pipe(to_child));
  MUST(pipe(to_parent));
  const pid_t child = (int)MUST(fork());
  for (int i = 0; i < 1000; ++i) {
    if (i == 100) before = mallinfo2().uordblks;
    if (child == 0) MUST(read(to_child[0], &b, 1));
    lost += sendto(u, "x", 1, 0, (struct sockaddr*)&self, sizeof self) != 1 || recv(u, &b, 1, 0) != 1;
    MUST(write((child == 0 ? to_parent : to_child)[1], "x", 1));
    if (child != 0) MUST(read(to_parent[0], &b, 1));
  }
  const int grown = mallinfo2().uordblks > before + (64 << 10);
  if (child == 0) _exit(lost != 0 || grown);
  int status = 0;
  waitpid(child, &status, 0);
  printf("in turns: lost %d, grown %d, child %x\n", lost, grown, status);
  close(u);
}

/* Several threads of both do so at once: a call fails for nothing but want of data. */
static int taken_by_all;
static void* take_turns(void* argument) {
  struct sockaddr_in self = loopback(port_of(taken_by_all));
  long wrong = 0;
  char b;
  for (int i = 0; i < 500; ++i) {
    struct pollfd p = {taken_by_all, POLLIN | POLLOUT, 0};
    wrong += sendto(taken_by_all, "x", 1, MSG_DONTWAIT, (struct sockaddr*)&self, sizeof self) != 1 && errno != EAGAIN;
    wrong += poll(&p, 1, 0) < 0 || (p.revents & ~(POLLIN | POLLOUT)) != 0;
    wrong += recv(taken_by_all, &b, 1, MSG_DONTWAIT) != 1 && errno != EAGAIN;
  }
  *(long*)argument = wrong;
  return NULL;
}
static void all_at_once(void) {
  enum { kThreads = 3 };
  pthread_t t[kThreads];
  long wrong[kThreads], sum = 0;
  taken_by_all = bound(SOCK_DGRAM, 0);
  const pid_t child = (int)MUST(fork());
  for (int i = 0; i < kThreads; ++i) pthread_create(&t[i], NULL, take_turns, &wrong[i]);
  for (int i = 0; i < kThreads; ++i) {
    pthread_join(t[i], NULL);
    sum += wrong[i];
  }
  if (child == 0) _exit(sum != 0);
  int status = 0;
  waitpid(child, &status, 0);
  printf("all at once: wrong %ld, child %x\n", sum, status);
  close(taken_by_all);
}

int main(void) {
  int p[2], one = 1;
  char b[64] = "";
  int s = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
  SAY("send unconnected", send(s, "x", 1, 0));
  SAY("begin unconnected", send(s, "x", 1, MSG_MORE));
  SAY("UDP_CORK", setsockopt(s, IPPROTO_UDP, UDP_CORK, &one, sizeof one));
  socklen_t n4 = sizeof one;
  int cork = -1;
  SAY("UDP_CORK", getsockopt(s, IPPROTO_UDP, UDP_CORK, &cork, &n4));
  printf("corked %d\n", cork);
  SAY("recv empty", recv(s, b, 1, MSG_DONTWAIT));
  SAY("listen", listen(s, 1));
  SAY("accept", accept(s, NULL, NULL));
  say_poll("fresh", s, POLLIN | POLLOUT, 0);
  SAY("shutdown unconnected", shutdown(s, SHUT_RD));
  close(s);

  udp_pair(p);
  struct sockaddr_in nowhere = loopback(0);
  SAY("begin to port 0", sendto(p[0], "x", 1, MSG_MORE, (struct sockaddr*)&nowhere, sizeof nowhere));
  SAY("recv OOB empty", recv(p[1], b, 2, MSG_OOB | MSG_DONTWAIT));
  SAY("send", send(p[0], "hello", 5, 0));
  arrived(p[1]);
  SAY("recv OOB", recv(p[1], b, 64, MSG_OOB));
  SAY("send", send(p[0], "hello", 5, 0));
  arrived(p[1]);
  SAY("truncated", recv(p[1], b, 2, 0));
  SAY("the rest is gone", recv(p[1], b, 64, MSG_DONTWAIT));
  SAY("send", send(p[0], "hello", 5, 0));
  arrived(p[1]);
  SAY("TRUNC tells the length", recv(p[1], b, 2, MSG_TRUNC));
  SAY("empty datagram", send(p[0], "", 0, 0));
  arrived(p[1]);
  int n = -1;
  MUST(ioctl(p[1], FIONREAD, &n));
  printf("FIONREAD %d\n", n);
  SAY("is received", recv(p[1], b, 64, 0));
  SAY("begun", send(p[0], "ab", 2, MSG_MORE));
  SAY("nothing yet", recv(p[1], b, 64, MSG_DONTWAIT));
  SAY("completed", send(p[0], "cde", 3, 0));
  arrived(p[1]);
  SAY("one datagram", recv(p[1], b, 64, 0));
  MUST(setsockopt(p[0], IPPROTO_UDP, UDP_CORK, &one, sizeof one));
  SAY("corked", send(p[0], "ab", 2, 0));
  SAY("corked", write(p[0], "cd", 2));
  SAY("nothing yet", recv(p[1], b, 64, MSG_DONTWAIT));
  int off = 0;
  MUST(setsockopt(p[0], IPPROTO_UDP, UDP_CORK, &off, sizeof off));
  arrived(p[1]);
  SAY("one datagram", recv(p[1], b, 64, 0));
  SAY("begun", send(p[0], malloc(65000), 65000, MSG_MORE));
  SAY("grows too long", send(p[0], malloc(65000), 65000, 0));
  SAY("a new one", send(p[0], "x", 1, 0));
  arrived(p[1]);
  SAY("is alone", recv(p[1], b, 64, 0));
  SAY("too long", send(p[0], malloc(70000), 70000, 0));
  SAY("longest", send(p[0], malloc(65507), 65507, 0));
  arrived(p[1]);
  SAY("arrives", recv(p[1], malloc(70000), 70000, 0));
  struct iovec v[2] = {{"ab", 2}, {"cde", 3}};
  SAY("writev is one datagram", writev(p[0], v, 2));
  arrived(p[1]);
  MUST(ioctl(p[1], FIONREAD, &n));
  printf("FIONREAD %d\n", n);
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  SAY("recvfrom", recvfrom(p[1], b, 64, 0, (struct sockaddr*)&from, &length));
  printf("from port %d length %d\n", ntohs(from.sin_port) == port_of(p[0]), (int)length);

  MUST(setsockopt(p[1], IPPROTO_IP, IP_PKTINFO, &one, sizeof one));
  MUST(setsockopt(p[1], IPPROTO_IP, IP_RECVTOS, &one, sizeof one));
  MUST(setsockopt(p[1], IPPROTO_IP, IP_RECVTTL, &one, sizeof one));
  MUST(setsockopt(p[1], SOL_SOCKET, SO_TIMESTAMP, &one, sizeof one));
  int tos = 0x10, ttl = 33;
  MUST(setsockopt(p[0], IPPROTO_IP, IP_TOS, &tos, sizeof tos));
  MUST(setsockopt(p[0], IPPROTO_IP, IP_TTL, &ttl, sizeof ttl));
  MUST(send(p[0], "info", 4, 0));
  char control[256];
  struct iovec r = {b, sizeof b};
  struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &r, .msg_iovlen = 1, .msg_control = control,
                     .msg_controllen = sizeof control};
  SAY("recvmsg", recvmsg(p[1], &m, 0));
  for (struct cmsghdr* c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
    printf("control level %d type %d length %d", c->cmsg_level, c->cmsg_type, (int)c->cmsg_len);
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof info);
      printf(" %s", inet_ntoa(info.ipi_addr));
    }
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) printf(" %d", *(int*)CMSG_DATA(c));
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) printf(" %d", *(unsigned char*)CMSG_DATA(c));
    printf("\n");
  }
  MUST(send(p[0], "info", 4, 0));
  m.msg_controllen = 20;
  arrived(p[1]);
  SAY("control truncated", recvmsg(p[1], &m, 0));
  printf("CTRUNC %d\n", (m.msg_flags & MSG_CTRUNC) != 0);

  struct mmsghdr many[3];
  memset(many, 0, sizeof many);
  struct iovec each[3] = {{"1", 1}, {"22", 2}, {"333", 3}};
  for (int i = 0; i < 3; ++i) many[i].msg_hdr.msg_iov = &each[i], many[i].msg_hdr.msg_iovlen = 1;
  SAY("sendmmsg", sendmmsg(p[0], many, 3, 0));
  printf("%u %u %u\n", many[0].msg_len, many[1].msg_len, many[2].msg_len);
  char buffers[4][8];
  struct iovec in[4];
  struct mmsghdr got[4];
  memset(got, 0, sizeof got);
  for (int i = 0; i < 4; ++i) {
    in[i] = (struct iovec){buffers[i], 8};
    got[i].msg_hdr.msg_iov = &in[i], got[i].msg_hdr.msg_iovlen = 1;
  }
  usleep(50000);
  SAY("recvmmsg", recvmmsg(p[1], got, 4, MSG_DONTWAIT, NULL));
  printf("%u %u %u\n", got[0].msg_len, got[1].msg_len, got[2].msg_len);
  SAY("recvmmsg empty", recvmmsg(p[1], got, 4, MSG_DONTWAIT, NULL));

  SAY("SHUT_RD", shutdown(p[1], SHUT_RD));
  SAY("recv, must not wait", recv(p[1], b, 64, MSG_DONTWAIT));
  SAY("recv, may wait", recv(p[1], b, 64, 0));
  close(p[1]);
  usleep(100000);
  SAY("send to nobody", send(p[0], "x", 1, 0));
  say_poll("refused", p[0], 0, 2000); /* only an error can end this wait */
  SAY("recv", recv(p[0], b, 64, MSG_DONTWAIT));
  SAY("recv again", recv(p[0], b, 64, MSG_DONTWAIT));
  struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
  SAY("disconnect", connect(p[0], &unspecified, sizeof unspecified));
  SAY("getpeername", getpeername(p[0], (struct sockaddr*)&from, &length));
  SAY("send", send(p[0], "x", 1, 0));
  SAY("write", write(p[0], "x", 1));
  in_turns();
  all_at_once();
  return 0;
}
