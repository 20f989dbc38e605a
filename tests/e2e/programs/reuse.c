/* Sockets opened and closed over and over: each must be as new, whatever was done to those before it. */
#include "say.h"
#include <dirent.h>
#include <pthread.h>
#include <spawn.h>

extern char** environ;

static void describe(const char* name, int fd) {
  struct timeval timeout = {9, 9};
  socklen_t length = sizeof timeout;
  int error = -1, on = -1;
  printf("%s: number %d, flags %d, descriptor flags %d, owner %d\n", name, fd, fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_ASYNC),
         fcntl(fd, F_GETFD), fcntl(fd, F_GETOWN));
  SAY("SO_RCVTIMEO", getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, &length));
  printf("%ld %ld\n", (long)timeout.tv_sec, (long)timeout.tv_usec);
  length = sizeof error;
  SAY("SO_ERROR", getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
  length = sizeof on;
  SAY("TCP_NODELAY", getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length));
  printf("%d %d\n", error, on);
  say_poll("poll", fd, POLLIN | POLLOUT, 0);
}

static void numbers_and_flags(int type) {
  int kept[12];
  for (int i = 0; i < 12; ++i) kept[i] = (int)MUST(socket(AF_INET, type, 0));
  close(kept[3]);
  close(kept[7]);
  int a = (int)MUST(socket(AF_INET, type | SOCK_NONBLOCK, 0)), b = (int)MUST(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  printf("lowest numbers %d %d\n", a == kept[3], b == kept[7]);
  for (int i = 0; i < 12; ++i) {
    printf("%d: %d %d\n", i, fcntl(kept[i], F_GETFL) & O_NONBLOCK, fcntl(kept[i], F_GETFD));
    close(kept[i]);
  }
  for (int i = 0; i < 40; ++i) {
    int flags = (i & 1 ? SOCK_NONBLOCK : 0) | (i & 2 ? SOCK_CLOEXEC : 0), fd = (int)MUST(socket(AF_INET, type | flags, 0));
    printf("%d %d %d, ", fd, fcntl(fd, F_GETFL) & O_NONBLOCK, fcntl(fd, F_GETFD));
    if (i & 4) fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    close(fd);
  }
  printf("\n");
}

static void nothing_stays(void) {
  struct timeval second = {1, 0};
  int on = 1, pair[2];
  for (int i = 0; i < 8; ++i) {
    tcp_pair(pair);
    if (i & 1) MUST(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second));
    if (i & 2) MUST(fcntl(pair[0], F_SETOWN, getpid()));
    if (i & 4) MUST(setsockopt(pair[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    if (i == 6) MUST(shutdown(pair[0], SHUT_RDWR));
    if (i == 7) MUST(send(pair[0], "unread", 6, 0)), arrived(pair[1]);
    close(pair[1]);
    close(pair[0]);
    int fresh = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    describe("fresh", fresh);
    close(fresh);
  }
}

static void copies(void) {
  int p[2], go[2], status;
  char b[8];
  tcp_pair(p);
  int copy = (int)MUST(dup(p[0]));
  close(p[0]);
  for (int i = 0; i < 6; ++i) close((int)MUST(socket(AF_INET, SOCK_STREAM, 0)));
  SAY("a dup is open", recv(p[1], b, 8, MSG_DONTWAIT));
  close(copy);
  SAY("the last one is closed", recv(p[1], b, 8, 0));
  close(p[1]);

  tcp_pair(p);
  MUST(pipe(go));
  pid_t child = fork();
  if (child == 0) {
    close(go[1]);
    close(p[1]);
    _exit(read(go[0], b, 1) == 0 && send(p[0], "child", 5, 0) == 5 ? 0 : 1);
  }
  close(go[0]);
  close(p[0]);
  for (int i = 0; i < 6; ++i) close((int)MUST(socket(AF_INET, SOCK_STREAM, 0)));
  SAY("a child has it", recv(p[1], b, 8, MSG_DONTWAIT));
  close(go[1]);
  waitpid(child, &status, 0);
  printf("child %d\n", status);
  SAY("its words", recv(p[1], b, 8, MSG_WAITALL));
  close(p[1]);

  tcp_pair(p);
  MUST(pipe(go));
  fcntl(go[1], F_SETFD, FD_CLOEXEC);
  fcntl(p[1], F_SETFD, FD_CLOEXEC);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, go[0], 0);
  char* words[] = {"cat", NULL};
  SAY("posix_spawn", posix_spawnp(&child, "cat", &actions, NULL, words, environ));
  close(go[0]);
  close(p[0]);
  for (int i = 0; i < 6; ++i) close((int)MUST(socket(AF_INET, SOCK_STREAM, 0)));
  SAY("a program has it", recv(p[1], b, 8, MSG_DONTWAIT));
  close(go[1]);
  waitpid(child, &status, 0);
  printf("program %d\n", status);
  SAY("its end", recv(p[1], b, 8, 0));
  close(p[1]);
}

/* A child has what its parent's program opened, and nothing more. */
static void inheritance(void) {
  for (int i = 0; i < 20; ++i) close((int)MUST(socket(AF_INET, SOCK_STREAM, 0)));
  int open_one = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), status;
  pid_t child = fork();
  if (child == 0) {
    int count = 0;
    for (int fd = 3; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0;
    int mine = socket(AF_INET, SOCK_STREAM, 0);
    printf("child sees %d, opens %d\n", count, mine == open_one + 1);
    fflush(stdout);
    _exit(0);
  }
  waitpid(child, &status, 0);
  int next = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  printf("child %d, parent opens %d\n", status, next == open_one + 1);
  close(next);
  close(open_one);
}

static void* talk(void* argument) {
  long bad = 0;
  for (int i = 0; i < 60; ++i) {
    int p[2];
    char out[32], in[32];
    tcp_pair(p);
    int n = snprintf(out, sizeof out, "%p %d", argument, i);
    bad += send(p[i & 1], out, (size_t)n, 0) != n;
    bad += recv(p[!(i & 1)], in, (size_t)n, MSG_WAITALL) != n || memcmp(in, out, (size_t)n) != 0;
    close(p[i & 1]);
    bad += recv(p[!(i & 1)], in, sizeof in, 0) != 0;
    close(p[!(i & 1)]);
  }
  return (void*)bad;
}

static void threads(void) {
  pthread_t t[3];
  for (long i = 0; i < 3; ++i) pthread_create(&t[i], NULL, talk, (void*)(i + 1));
  for (int i = 0; i < 3; ++i) {
    void* bad;
    pthread_join(t[i], &bad);
    printf("thread: %ld wrong\n", (long)bad);
  }
}

/* Who connects when close(2) has returned is refused. */
static void closed_just_now(void) {
  int refused = 0;
  for (int i = 0; i < 20; ++i) {
    int s = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), l = listener();
    struct sockaddr_in a = loopback(port_of(l));
    close(l);
    refused += connect(s, (struct sockaddr*)&a, sizeof a) < 0 && errno == ECONNREFUSED;
    close(s);
  }
  printf("a listener that was just closed: %d refused\n", refused);
}

int main(void) {
  numbers_and_flags(SOCK_STREAM);
  numbers_and_flags(SOCK_DGRAM);
  nothing_stays();
  copies();
  inheritance();
  threads();
  closed_just_now();
  return 0;
}
