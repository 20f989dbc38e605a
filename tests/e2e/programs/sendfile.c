/* sendfile(2) to a socket: offsets, ends, files that grow, have holes, are cut off or have no size, and what it says when it cannot. */
#include "say.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

enum { kSize = 3000000 };
static int p[2], file;
static char want[kSize], got[kSize + 1];

static void* read_all(void* argument) {
  size_t size = *(size_t*)argument, n = 0;
  while (n < size) {
    long r = recv(p[1], got + n, size - n, 0);
    if (r <= 0) break;
    n += (size_t)r;
  }
  *(size_t*)argument = n;
  return NULL;
}

/* Sends from `*offset`, or from where the file is, and says whether the bytes from `at` on arrived. */
static void send_and_check(const char* name, off_t* offset, size_t count, off_t at, size_t expected) {
  size_t n = expected;
  pthread_t t;
  pthread_create(&t, NULL, read_all, &n);
  SAY(name, sendfile(p[0], file, offset, count));
  if (offset != NULL) printf("offset %ld\n", (long)*offset);
  printf("position %ld\n", (long)lseek(file, 0, SEEK_CUR));
  pthread_join(t, NULL);
  printf("arrived %zu, %s\n", n, memcmp(got, want + at, n) == 0 ? "right" : "WRONG");
  fflush(stdout);
}

static void* send_again(void* argument) {
  off_t at = 0;
  long sent = 0, r;
  while ((r = sendfile(p[0], file, &at, kSize)) > 0) sent += r, at = 0;
  *(long*)argument = r < 0 ? -errno : sent;
  return NULL;
}

/* Nobody reads, so that it waits for room behind a part: a handler without SA_RESTART ends it there. */
static volatile int alarms;
static void on_alarm(int number) { alarms += number != 0; }
static void interrupted(void) {
  int small = 4608, full[2];
  struct itimerval again = {{0, 500000}, {0, 200000}};
  struct sigaction action = {.sa_handler = on_alarm};
  tcp_pair(full);
  MUST(setsockopt(full[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
  MUST(setsockopt(full[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &again, NULL);
  off_t at = 0;
  long r = sendfile(full[0], file, &at, kSize);
  printf("interrupted: %s, offset %d, by signal %d\n", r > 0 && r < kSize ? "part" : strerrorname_np(errno), at == r, alarms);
  SAY("interrupted before it sends anything", sendfile(full[0], file, &at, kSize));
  setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
  close(full[0]);
  close(full[1]);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < kSize; ++i) want[i] = (char)(i * 31 + i / 251);
  file = (int)MUST(open(".", O_TMPFILE | O_RDWR, 0600));
  MUST(pwrite(file, want, kSize, 0));
  tcp_pair(p);

  off_t at = 0;
  send_and_check("from the beginning", &at, 10, 0, 10);
  send_and_check("on from there", &at, 100000, 10, 100000);
  at = kSize - 5;
  send_and_check("beyond the end", &at, 1 << 30, kSize - 5, 5);
  SAY("at the end", sendfile(p[0], file, &at, 10));
  at = kSize + 100;
  SAY("behind the end", sendfile(p[0], file, &at, 10));
  send_and_check("all of it, by its position", NULL, kSize, 0, kSize);
  SAY("no more", sendfile(p[0], file, NULL, 1));
  MUST(lseek(file, 77, SEEK_SET));
  send_and_check("a part, by its position", NULL, 1000000, 77, 1000000);
  at = 0;
  SAY("nothing", sendfile(p[0], file, &at, 0));

  int sparse = (int)MUST(open(".", O_TMPFILE | O_RDWR, 0600)), whole = file;
  MUST(pwrite(sparse, "end", 3, 1000000));
  memset(want, 0, 1000000);
  memcpy(want + 1000000, "end", 3);
  file = sparse;
  at = 0;
  send_and_check("a hole", &at, kSize, 0, 1000003);
  MUST(ftruncate(sparse, 500));
  at = 0;
  send_and_check("cut off", &at, kSize, 0, 500);
  file = whole;
  MUST(pread(file, want, kSize, 0));

  char line[16] = {0};
  int number = (int)MUST(open("/proc/sys/kernel/ostype", O_RDONLY));
  SAY("a file without size", sendfile(p[0], number, NULL, 100));
  SAY("arrives", recv(p[1], line, sizeof line, 0));
  printf("%s", line);
  int memory = (int)MUST(memfd_create("memory", 0));
  MUST(write(memory, "in memory", 9));
  at = 3;
  SAY("of a memory file", sendfile(p[0], memory, &at, 100));
  SAY("arrives", recv(p[1], line, 6, MSG_WAITALL));

  interrupted();
  int pair[2];
  MUST(pipe(pair));
  SAY("of a pipe with offset", sendfile(p[0], pair[0], &at, 1));
  SAY("of a directory", sendfile(p[0], (int)MUST(open("/", O_RDONLY)), &at, 1));
  SAY("of what is closed", sendfile(p[0], 999, &at, 1));
  int writing = (int)MUST(open("/proc/self/comm", O_WRONLY));
  SAY("of what cannot be read", sendfile(p[0], writing, NULL, 1));
  SAY("nothing of what cannot be read", sendfile(p[0], writing, NULL, 0));
  at = kSize;
  int unconnected = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  SAY("at the end, unconnected", sendfile(unconnected, file, &at, 10));
  SAY("nothing, unconnected", sendfile(unconnected, file, &at, 0));
  const char* devices[] = {"/dev/zero", "/dev/urandom", "/dev/null", "/dev/ptmx"};
  for (int i = 0; i < 4; ++i) {
    int device = (int)MUST(open(devices[i], O_RDONLY | O_NOCTTY | O_NONBLOCK));
    SAY(devices[i], sendfile(p[0], device, NULL, 1000));
    if (i < 2) SAY("arrives", recv(p[1], got, 1000, MSG_WAITALL));
    close(device);
  }
  at = -1;
  SAY("a negative offset", sendfile(p[0], file, &at, 1));

  MUST(fcntl(p[0], F_SETFL, O_NONBLOCK));
  long sent = 0, r;
  for (at = 0; (r = sendfile(p[0], file, &at, kSize)) > 0; at %= kSize) sent += r;
  printf("full: %s, offset %d\n", strerrorname_np(errno), at == sent % kSize);
  for (long n = 0; n < sent; n += r)
    if ((r = recv(p[1], got, kSize, 0)) <= 0 || got[r - 1] != want[(n + r - 1) % kSize]) MUST(-1);
  printf("all of it arrived\n");
  MUST(fcntl(p[0], F_SETFL, 0));

  pthread_t t;
  long end = 0;
  pthread_create(&t, NULL, send_again, &end);
  MUST(recv(p[1], got, 1000, MSG_WAITALL));
  struct linger hard = {1, 0};
  MUST(setsockopt(p[1], SOL_SOCKET, SO_LINGER, &hard, sizeof hard));
  close(p[1]);
  pthread_join(t, NULL);
  printf("reset: %s\n", end < 0 ? strerrorname_np((int)-end) : "none");
  at = 0;
  SAY("afterwards", sendfile(p[0], file, &at, 1));
  SAY("unconnected", sendfile((int)MUST(socket(AF_INET, SOCK_STREAM, 0)), file, &at, 1));
  SAY("listening", sendfile(listener(), file, &at, 1));
  int u[2];
  udp_pair(u);
  at = 0;
  SAY("a datagram", sendfile(u[0], file, &at, 500));
  SAY("arrives", recv(u[1], got, kSize, 0));
  return 0;
}
