/* Bad pointers: every call says EFAULT as the kernel does, nothing is lost that the kernel keeps, and real faults still end a program. */
#include "say.h"
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>

static char* bad;       /* nothing is there */
static char* edge;      /* one page is there, the next is not */
static char* constant;  /* can be read only */
static char* volatile nowhere = (char*)8;
enum { kPage = 4096 };

static void streams(void) {
  int p[2];
  char b[64] = "";
  tcp_pair(p);
  SAY("send from nowhere", send(p[0], bad, 100, 0));
  SAY("write from nowhere", write(p[0], nowhere, 100));
  SAY("send over the edge of one page only", send(p[0], edge + kPage, 1, 0));
  SAY("send from a constant", send(p[0], constant, 5, 0));
  MUST(recv(p[1], b, 5, MSG_WAITALL));
  struct iovec both[2] = {{"good", 4}, {bad, 4}};
  SAY("writev, second piece bad", writev(p[0], both, 2));
  SAY("nothing came", recv(p[1], b, 4, MSG_DONTWAIT));
  MUST(send(p[0], "hello", 5, 0));
  arrived(p[1]);
  SAY("recv to nowhere", recv(p[1], bad, 5, 0));
  SAY("recv to a constant", recv(p[1], constant, 5, 0));
  SAY("read to nowhere", read(p[1], nowhere, 5));
  SAY("peek to nowhere", recv(p[1], bad, 5, MSG_PEEK));
  SAY("all is still there", recv(p[1], b, 64, 0));
  printf("%.5s\n", b);
  MUST(send(p[0], "hello", 5, 0));
  arrived(p[1]);
  SAY("recv of nothing to nowhere", recv(p[1], bad, 0, MSG_DONTWAIT));
  SAY("recv up to the edge", recv(p[1], edge + kPage - 5, 5, 0));
  SAY("readv, bad list", readv(p[1], (struct iovec*)bad, 2));
  SAY("writev, bad list", writev(p[0], (struct iovec*)bad, 2));
  SAY("sendmsg, bad header", sendmsg(p[0], (struct msghdr*)bad, 0));
  SAY("recvmsg, bad header", recvmsg(p[1], (struct msghdr*)bad, MSG_DONTWAIT));
  struct msghdr m = {.msg_iov = (struct iovec*)bad, .msg_iovlen = 1};
  SAY("sendmsg, bad list", sendmsg(p[0], &m, 0));
  SAY("recvmsg, bad list", recvmsg(p[1], &m, MSG_DONTWAIT));
  SAY("the connection is well", send(p[0], "x", 1, 0));
  SAY("in both directions", recv(p[1], b, 1, MSG_WAITALL));
  close(p[0]);
  close(p[1]);
}

static void datagrams(void) {
  int p[2];
  char b[64] = "";
  udp_pair(p);
  SAY("send from nowhere", send(p[0], bad, 10, 0));
  SAY("begin from nowhere", send(p[0], bad, 10, MSG_MORE));
  SAY("good", send(p[0], "good", 4, 0));
  arrived(p[1]);
  SAY("recv", recv(p[1], b, 64, 0));
  MUST(send(p[0], "lost", 4, 0));
  MUST(send(p[0], "next", 4, 0));
  arrived(p[1]);
  SAY("recv to nowhere", recv(p[1], bad, 4, 0));
  arrived(p[1]);
  SAY("the next one", recv(p[1], b, 64, 0));
  printf("%.4s\n", b);
  SAY("sendto, bad address", sendto(p[0], "x", 1, 0, (struct sockaddr*)bad, sizeof(struct sockaddr_in)));
}

/* Control data that is not there, or says that it is longer than it is. */
static void control(void) {
  int udp[2], unix_domain[2];
  udp_pair(udp);
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, unix_domain));
  struct cmsghdr* c = (struct cmsghdr*)(edge + kPage - 64);
  struct iovec piece = {"x", 1};
  struct mmsghdr m = {.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1, .msg_controllen = 64}};
  for (int way = 0; way < 3; ++way) {
    m.msg_hdr.msg_control = way == 0 ? bad : way == 1 ? (char*)c : NULL;
    memset(c, 0, 64);
    c->cmsg_len = way == 1 ? 1 << 20 : 0;
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_TTL;
    *(int*)CMSG_DATA(c) = 9;
    SAY("sendmsg, bad control", sendmsg(udp[0], &m.msg_hdr, 0));
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    SAY("and with descriptors", sendmsg(unix_domain[0], &m.msg_hdr, 0));
    SAY("sendmmsg", sendmmsg(unix_domain[0], &m, 1, 0));
  }
}

/* Pointers beside the buffers. */
static void rest(void) {
  int p[2], u[2], n = 16, file = (int)MUST(open("/proc/self/exe", O_RDONLY)), ends[2];
  char b[64] = "";
  struct iovec piece = {b, 1};
  struct mmsghdr m = {.msg_hdr = {.msg_iov = &piece, .msg_iovlen = 1}};
  tcp_pair(p);
  udp_pair(u);
  MUST(pipe(ends));
  MUST(write(ends[1], "x", 1));
  SAY("sendmmsg, bad list", sendmmsg(u[0], (struct mmsghdr*)bad, 1, 0));
  SAY("recvmmsg, bad list", recvmmsg(u[1], (struct mmsghdr*)bad, 1, MSG_DONTWAIT, NULL));
  SAY("recvmmsg, bad limit", recvmmsg(u[1], &m, 1, MSG_DONTWAIT, (struct timespec*)bad));
  SAY("sendfile, bad offset", sendfile(p[0], file, (off_t*)bad, 10));
  SAY("splice, bad offset", splice(ends[0], (off_t*)bad, p[0], NULL, 1, 0));
  SAY("splice to a bad offset", splice(p[0], NULL, ends[1], (off_t*)bad, 1, SPLICE_F_NONBLOCK));
  SAY("ppoll, bad mask", ppoll(&(struct pollfd){p[1], POLLIN, 0}, 1, NULL, (sigset_t*)bad));
  SAY("getpeername", getpeername(p[0], (struct sockaddr*)bad, (socklen_t*)&n));
  SAY("setsockopt of time", setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, bad, sizeof(struct timeval)));
  SAY("SIOCGIFFLAGS", ioctl(p[0], SIOCGIFFLAGS, bad));
  SAY("SIOCGIFCONF", ioctl(p[0], SIOCGIFCONF, bad));
  struct ifconf all = {.ifc_len = 4096, .ifc_buf = bad};
  SAY("SIOCGIFCONF, bad list", ioctl(p[0], SIOCGIFCONF, &all));
  SAY("FIOSETOWN", ioctl(p[0], FIOSETOWN, bad));
  for (int part = 0; part < 3; ++part) {
    m.msg_hdr.msg_name = part == 0 ? bad : NULL;
    m.msg_hdr.msg_namelen = 16;
    m.msg_hdr.msg_iov = part == 1 ? (struct iovec*)bad : &piece;
    piece.iov_base = part == 2 ? bad : b;
    SAY("sendmsg", sendmsg(u[0], &m.msg_hdr, 0));
    SAY("sendmmsg", sendmmsg(u[0], &m, 1, 0));
  }
  struct linger* linger = (struct linger*)(edge + kPage - 4);
  SAY("setsockopt over the edge", setsockopt(p[0], SOL_SOCKET, SO_LINGER, linger, sizeof *linger));
  n = sizeof *linger;
  SAY("getsockopt over the edge", getsockopt(p[0], SOL_SOCKET, SO_LINGER, linger, (socklen_t*)&n));
  close(file);
  close(ends[0]);
  close(ends[1]);
  for (int i = 0; i < 2; ++i) close(p[i]), close(u[i]);
}

/* The same once the process has asked netlink, of which libferry adds to what is received. */
static void after_netlink(void) {
  int nl = (int)MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)), local[2];
  struct {
    struct nlmsghdr header;
    struct rtgenmsg rest;
  } request = {{sizeof request, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_INET}};
  char b[4096];
  struct sockaddr_nl from;
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, local));
  MUST(send(local[1], "x", 1, 0));
  SAY("request from nowhere", send(nl, bad, sizeof request, 0));
  SAY("request", send(nl, &request, sizeof request, 0));
  struct iovec pieces[2] = {{b, 8}, {bad, 4096}};
  struct msghdr m = {.msg_iov = (struct iovec*)bad, .msg_iovlen = 2};
  for (int i = 0; i < 2; ++i) {
    int fd = i == 0 ? nl : local[0];
    SAY("sendmsg, bad header", sendmsg(fd, (struct msghdr*)bad, 0));
    SAY("recvmsg, bad header", recvmsg(fd, (struct msghdr*)bad, 0));
    SAY("sendmsg, bad list", sendmsg(fd, &m, 0));
  }
  SAY("recvmsg, bad list", recvmsg(nl, &m, MSG_PEEK));
  SAY("recv to nowhere", recv(nl, bad, 4096, MSG_PEEK));
  m.msg_iov = pieces;
  SAY("recvmsg, second piece bad", recvmsg(nl, &m, MSG_PEEK));
  SAY("recvfrom, bad length", recvfrom(nl, b, sizeof b, MSG_PEEK, (struct sockaddr*)&from, (socklen_t*)bad));
  SAY("recvfrom, bad length", recvfrom(local[0], b, 1, MSG_PEEK, (struct sockaddr*)&from, (socklen_t*)bad));
  SAY_OK("the answer", recv(nl, b, sizeof b, 0));
  char* words[] = {"true", NULL};
  SAY("execve, bad environment", execve("/bin/true", words, (char**)bad));
  char* variables[] = {bad, NULL};
  SAY("execve, bad variable", execve("/bin/true", words, variables));
  close(nl);
  close(local[0]);
  close(local[1]);
}

static void names(void) {
  int l = listener(), s = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), n = 16;
  struct sockaddr_in a = loopback(port_of(l));
  SAY("bind", bind(s, (struct sockaddr*)bad, sizeof a));
  SAY("connect", connect(s, (struct sockaddr*)bad, sizeof a));
  SAY("getsockname", getsockname(l, (struct sockaddr*)bad, (socklen_t*)&n));
  SAY("getsockname, bad length", getsockname(l, (struct sockaddr*)&a, (socklen_t*)bad));
  SAY("setsockopt", setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, bad, 4));
  n = 4;
  SAY("getsockopt", getsockopt(s, SOL_SOCKET, SO_KEEPALIVE, bad, (socklen_t*)&n));
  SAY("getsockopt, bad length", getsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &n, (socklen_t*)bad));
  SAY("FIONREAD", ioctl(s, FIONREAD, bad));
  SAY("FIONBIO", ioctl(s, FIONBIO, bad));
  close(s);
  close(l);
}

static void waiting(void) {
  int p[2], e = (int)MUST(epoll_create1(0));
  tcp_pair(p);
  struct epoll_event event = {.events = EPOLLOUT};
  SAY("epoll_ctl", epoll_ctl(e, EPOLL_CTL_ADD, p[0], (struct epoll_event*)bad));
  SAY("epoll_ctl", epoll_ctl(e, EPOLL_CTL_ADD, p[0], &event));
  SAY("epoll_wait", epoll_wait(e, (struct epoll_event*)bad, 4, 0));
  SAY("epoll_wait", epoll_wait(e, &event, 1, 0));
  SAY("poll", poll((struct pollfd*)bad, 2, 0));
  SAY("select", select(p[1] + 1, (fd_set*)bad, NULL, NULL, NULL));
  close(p[0]);
  close(p[1]);
}

static volatile int caught;
static void on_segv(int number, siginfo_t* info, void* context) {
  (void)context;
  caught = number == SIGSEGV && info->si_addr == bad;
  mprotect(bad, kPage, PROT_READ);
}

static void faults_of_the_program(void) {
  struct sigaction action = {.sa_flags = SA_SIGINFO}, old;
  SAY("sigaction", sigaction(SIGSEGV, NULL, &old));
  printf("default %d\n", old.sa_handler == SIG_DFL);
  action.sa_sigaction = on_segv;
  SAY("sigaction", sigaction(SIGSEGV, &action, NULL));
  int p[2];
  tcp_pair(p);
  SAY("a call does not reach the handler", send(p[0], bad, 10, 0));
  printf("caught %d\n", caught);
  char value = *(volatile char*)bad;
  printf("read %d caught %d\n", value, caught);
  SAY("sigaction", sigaction(SIGSEGV, NULL, &old));
  printf("ours %d\n", old.sa_sigaction == on_segv);
  for (int how = 0; how < 3; ++how) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      signal(SIGSEGV, how == 1 ? SIG_IGN : SIG_DFL);
      if (how == 2) raise(SIGSEGV);
      *(volatile char*)16 = 1;
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    printf("way %d: signal %d\n", how, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  }
}

int main(void) {
  edge = mmap(NULL, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(edge + kPage, kPage);
  bad = mmap(NULL, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  constant = mmap(NULL, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  streams();
  datagrams();
  control();
  rest();
  names();
  waiting();
  after_netlink();
  faults_of_the_program();
  return 0;
}
