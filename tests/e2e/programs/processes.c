/* Sockets over fork, vfork, exec, posix_spawn, popen; servers that fork and servers that accept in several processes. */
#include "say.h"
#include <spawn.h>
#include <sys/un.h>

extern char** environ;

static void enter_jail(void) {
  char jail[] = "jail-XXXXXX";
  MUST(mkdtemp(jail) != NULL ? 0 : -1);
  int old = (int)MUST(open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  MUST(chroot(jail));
  MUST(unlinkat(old, jail, AT_REMOVEDIR));
  MUST(close(old));
}

static void forks(void) {
  int p[2];
  char b[32] = "";
  tcp_pair(p);
  MUST(send(p[0], "for the child", 13, 0));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    long n = recv(p[1], b, 13, MSG_WAITALL);
    (void)!send(p[1], "child was here", 14, 0);
    _exit(n == 13 ? 7 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  printf("child %d\n", WEXITSTATUS(status));
  SAY("from the child", recv(p[0], b, 14, MSG_WAITALL));
  SAY("parent sends on the shared one", send(p[1], "parent", 6, 0));
  SAY("arrives", recv(p[0], b, 6, MSG_WAITALL));
  for (int i = 0; i < 3; ++i) { /* in turns */
    child = fork();
    if (child == 0) {
      char c = (char)('a' + i);
      _exit(send(p[0], &c, 1, 0) == 1 ? 0 : 1);
    }
    waitpid(child, NULL, 0);
    char c = (char)('A' + i);
    MUST(send(p[0], &c, 1, 0));
  }
  SAY("in turns", recv(p[1], b, 6, MSG_WAITALL));
  printf("%.6s\n", b);
  close(p[1]);
  SAY("end of file", recv(p[0], b, 6, 0));
  close(p[0]);
  tcp_pair(p);
  child = fork();
  if (child == 0) {
    close(p[1]);
    pause();
  }
  close(p[0]);
  struct pollfd q = {p[1], POLLIN, 0};
  printf("the child keeps it open: %d\n", poll(&q, 1, 100));
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  SAY("until it is killed", recv(p[1], b, 6, 0));
  close(p[1]);
}

static void execs(void) {
  int p[2];
  char b[64] = "", number[16];
  const char* script = "echo from the shell >&$N; read line <&$N; echo \"got $line\" >&$N";
  for (int how = 0; how < 4; ++how) {
    tcp_pair(p);
    snprintf(number, sizeof number, "%d", p[1]);
    setenv("N", number, 1);
    char* arguments[] = {"sh", "-c", (char*)script, NULL};
    fflush(stdout);
    pid_t child = -1;
    if (how == 0) {
      child = fork();
      if (child == 0) execl("/bin/sh", "sh", "-c", script, NULL), _exit(99);
    } else if (how == 1) {
      child = vfork();
      if (child == 0) execvp("sh", arguments), _exit(99);
    } else if (how == 2) {
      MUST(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ) == 0 ? 0 : -1);
    } else {
      char variable[32];
      snprintf(variable, sizeof variable, "N=%d", p[1]);
      char* scrubbed[] = {variable, NULL};
      child = fork();
      if (child == 0) execve("/bin/sh", arguments, scrubbed), _exit(99);
    }
    close(p[1]);
    memset(b, 0, sizeof b);
    SAY("shell", recv(p[0], b, 15, MSG_WAITALL));
    MUST(send(p[0], "an answer\n", 10, 0));
    SAY("then", recv(p[0], b, 14, MSG_WAITALL));
    printf("%.13s\n", b);
    SAY("end", recv(p[0], b, 14, 0));
    int status;
    waitpid(child, &status, 0);
    printf("status %d\n", WEXITSTATUS(status));
    close(p[0]);
  }
  tcp_pair(p);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) { /* as inetd does */
    dup2(p[1], 0);
    dup2(p[1], 1);
    close(p[0]);
    close(p[1]);
    execlp("cat", "cat", NULL);
    _exit(99);
  }
  close(p[1]);
  MUST(send(p[0], "through cat", 11, 0));
  SAY("cat", recv(p[0], b, 11, MSG_WAITALL));
  shutdown(p[0], SHUT_WR);
  SAY("cat ends", recv(p[0], b, 11, 0));
  int status;
  waitpid(child, &status, 0);
  printf("status %d\n", WEXITSTATUS(status));
  close(p[0]);
  tcp_pair(p);
  fcntl(p[1], F_SETFD, FD_CLOEXEC);
  printf("system %d\n", system("true"));
  MUST(send(p[1], "x", 1, 0));
  SAY("close-on-exec stays ours", recv(p[0], b, 1, 0));
  FILE* pipe = popen("echo popen", "r");
  printf("%s", fgets(b, sizeof b, pipe));
  printf("pclose %d\n", pclose(pipe));
}

static void workers(void) {
  int l = listener();
  struct sockaddr_in a = loopback(port_of(l));
  pid_t children[3];
  fflush(stdout);
  for (int i = 0; i < 3; ++i) {
    children[i] = fork();
    if (children[i] != 0) continue;
    for (;;) {
      int c = accept(l, NULL, NULL);
      if (c < 0) _exit(1);
      char b[16];
      long n = recv(c, b, sizeof b, 0);
      if (n == 4 && memcmp(b, "stop", 4) == 0) _exit(0);
      (void)!send(c, b, (size_t)n, 0);
      close(c);
    }
  }
  int good = 0;
  for (int i = 0; i < 30; ++i) {
    int c = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(c, (struct sockaddr*)&a, sizeof a));
    MUST(send(c, "echo!", 5, 0));
    char b[16];
    good += recv(c, b, 5, MSG_WAITALL) == 5;
    close(c);
  }
  printf("answered by workers %d\n", good);
  for (int i = 0; i < 3; ++i) {
    int c = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(c, (struct sockaddr*)&a, sizeof a));
    MUST(send(c, "stop", 4, 0));
    close(c);
  }
  int ended = 0, status;
  for (int i = 0; i < 3; ++i) ended += wait(&status) > 0 && status == 0;
  printf("workers ended %d\n", ended);
}

/* The urgent mark is a place in the stream, whoever read what is in front of it. */
static void urgent_after_fork(void) {
  int p[2], mark = -1;
  char b[16] = "";
  tcp_pair(p);
  MUST(send(p[0], "abc", 3, 0));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    SAY("the child reads", recv(p[1], b, 2, MSG_WAITALL));
    _exit(0);
  }
  waitpid(child, NULL, 0);
  MUST(send(p[0], "de", 2, 0));
  MUST(send(p[0], "X", 1, MSG_OOB));
  struct pollfd q = {p[1], POLLPRI, 0};
  SAY("urgent", poll(&q, 1, 5000));
  usleep(50000);
  SAY("up to the mark", recv(p[1], b, 16, 0));
  printf("%.3s\n", b);
  MUST(ioctl(p[1], SIOCATMARK, &mark));
  printf("at the mark %d\n", mark);
  SAY("out of band", recv(p[1], b, 1, MSG_OOB));
  printf("%c\n", b[0]);
  MUST(send(p[0], "f", 1, 0));
  SAY("behind it", recv(p[1], b, 16, 0));
  printf("%c\n", b[0]);
}

/* What was connected before goes on in children made where nothing outside can be reached, as rsync's daemon does it. */
static void forks_behind_chroot(void) {
  int p[2], status;
  char b[32] = "";
  tcp_pair(p);
  fflush(stdout);
  pid_t jailed = fork();
  if (jailed == 0) {
    close(p[0]);
    enter_jail();
    pid_t child = fork();
    if (child == 0) {
      SAY("the child behind chroot receives", recv(p[1], b, 9, MSG_WAITALL));
      _exit(send(p[1], "from child", 10, 0) == 10 ? 7 : 1);
    }
    waitpid(child, &status, 0);
    int told = WEXITSTATUS(status);
    SAY("its parent receives", recv(p[1], b, 10, MSG_WAITALL));
    _exit(send(p[1], "from parent", 11, 0) == 11 ? told : 1);
  }
  close(p[1]);
  MUST(send(p[0], "for child", 9, 0));
  long from_child = recv(p[0], b, 10, MSG_WAITALL);
  MUST(send(p[0], "for parent", 10, 0));
  long from_parent = recv(p[0], b, 11, MSG_WAITALL);
  waitpid(jailed, &status, 0);
  printf("from behind chroot %ld %ld %.11s, status %d\n", from_child, from_parent, b, WEXITSTATUS(status));
  SAY("end of file", recv(p[0], b, 1, 0));
  close(p[0]);
}

static void give(int channel, int fd) {
  char space[CMSG_SPACE(sizeof fd)] = "";
  struct iovec v = {"x", 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  MUST(sendmsg(channel, &m, 0));
}

static int take(int channel) {
  char space[CMSG_SPACE(sizeof(int))], x;
  struct iovec v = {&x, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  int fd;
  MUST(recvmsg(channel, &m, 0));
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
  return fd;
}

/* Connects to an abstract address, so that the kernel names the receiver and not who made the pair. */
static int unix_connection(int l) {
  struct sockaddr_un a;
  socklen_t length = sizeof a;
  MUST(getsockname(l, (struct sockaddr*)&a, &length));
  int c = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
  MUST(connect(c, (struct sockaddr*)&a, length));
  return c;
}

/* A server outside that gives its connections to workers in a jail. */
static void passed_behind_chroot(int by_pair) {
  int p[2], pair[2], l = -1, status;
  char b[32] = "";
  if (by_pair) {
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  } else {
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    l = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(bind(l, (struct sockaddr*)&any, sizeof any.sun_family));
    MUST(listen(l, 1));
  }
  fflush(stdout);
  pid_t jailed = fork();
  if (jailed == 0) {
    int channel = by_pair ? pair[1] : unix_connection(l);
    enter_jail();
    MUST(write(channel, "r", 1));
    int s = take(channel);
    SAY("the worker behind chroot receives", recv(s, b, 10, MSG_WAITALL));
    _exit(send(s, "from worker", 11, 0) == 11 ? 7 : 1);
  }
  int channel = by_pair ? pair[0] : (int)MUST(accept(l, NULL, NULL));
  MUST(read(channel, b, 1));
  tcp_pair(p);
  give(channel, p[1]);
  close(p[1]);
  MUST(send(p[0], "for worker", 10, 0));
  waitpid(jailed, &status, 0);
  printf("worker %d\n", WEXITSTATUS(status));
  SAY("from the worker", recv(p[0], b, 11, MSG_WAITALL));
  printf("%.11s\n", b);
  SAY("end of file", recv(p[0], b, 1, 0));
  close(p[0]);
  close(channel);
  if (by_pair) close(pair[1]);
  else close(l);
}

/* Sockets without a connection are still this process's own behind chroot. */
static void chroot_with_the_unconnected(void) {
  fflush(stdout);
  pid_t jailed = fork();
  if (jailed == 0) {
    int l = listener(), u[2], c = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    char b[8];
    struct sockaddr_in a = loopback(port_of(l));
    udp_pair(u);
    enter_jail();
    SAY("connect", connect(c, (struct sockaddr*)&a, sizeof a));
    int s = (int)MUST(accept(l, NULL, NULL));
    SAY("send", send(c, "abc", 3, 0));
    SAY("recv", recv(s, b, 3, MSG_WAITALL));
    SAY("send a datagram", send(u[0], "abcd", 4, 0));
    SAY("recv it", recv(u[1], b, 8, 0));
    _exit(0);
  }
  waitpid(jailed, NULL, 0);
}

/* However many sockets a program has when it executes itself, they are there afterwards. */
enum { kMany = 300 };
static int count_usable(char** numbers) {
  int usable = 0;
  for (int i = 0; numbers[i] != NULL; ++i) {
    int fd = atoi(numbers[i]);
    struct sockaddr_in own = loopback(port_of(fd));
    char b[4];
    MUST(sendto(fd, "abc", 3, 0, (struct sockaddr*)&own, sizeof own));
    arrived(fd);
    usable += recv(fd, b, 4, MSG_DONTWAIT) == 3;
  }
  printf("usable after exec: %d\n", usable);
  return 0;
}

static void many_through_exec(void) {
  static char text[kMany][12];
  static char* arguments[kMany + 3] = {"processes", "count"};
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < kMany; ++i) {
      struct sockaddr_in any_port = loopback(0);
      int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
      MUST(bind(fd, (struct sockaddr*)&any_port, sizeof any_port));
      snprintf(text[i], sizeof text[i], "%d", fd);
      arguments[i + 2] = text[i];
    }
    execv("/proc/self/exe", arguments);
    _exit(99);
  }
  waitpid(child, NULL, 0);
}

int main(int count, char** arguments) {
  if (count > 1) return count_usable(arguments + 2);
  passed_behind_chroot(0); /* first: the workers have no socket yet that would bring them into touch with ferryd */
  passed_behind_chroot(1);
  forks();
  execs();
  workers();
  urgent_after_fork();
  forks_behind_chroot();
  chroot_with_the_unconnected();
  many_through_exec();
  return 0;
}
