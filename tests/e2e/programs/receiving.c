/* Large memory, as malloc(3), mmap(2) and their relatives promise it, while it is received into. With the scheme `emulated` whole pages of it
 * are exchanged for others; nothing of that may be seen. A process of its own sends, so that this one has no threads until it makes some. */
#include "say.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define MB ((size_t)1 << 20)
#define KB ((size_t)1 << 10)
static int stream, orders;

/* What the sender is to do: send n bytes that follow from the seed, the first `early` of them at once, the rest `pause` ms later. */
struct Order {
  size_t n, early;
  unsigned seed, pause;
};

static unsigned char byte_at(unsigned seed, size_t i) { return (unsigned char)((i * 2654435761u + seed * 40503u) >> 13); }

static void send_bytes(int s, const unsigned char* p, size_t n) {
  for (size_t done = 0; done < n;) done += (size_t)MUST(send(s, p + done, n - done, 0));
}

static void serve_orders(int s, int from) {
  struct Order o;
  unsigned char* p = malloc(32 * MB);
  while (read(from, &o, sizeof o) == sizeof o) {
    for (size_t i = 0; i < o.n; ++i) p[i] = byte_at(o.seed, i);
    send_bytes(s, p, o.early);
    if (o.early < o.n) usleep(o.pause * 1000);
    send_bytes(s, p + o.early, o.n - o.early);
  }
  _exit(0);
}

static unsigned order(size_t n, size_t early, unsigned pause) {
  static unsigned seed;
  struct Order o = {n, early, ++seed, pause};
  MUST(write(orders, &o, sizeof o));
  return seed;
}

static int all(const char* p, size_t n, int byte) { return n == 0 || (p[0] == (char)byte && memcmp(p, p + 1, n - 1) == 0); }
static int is_from(const char* p, size_t n, unsigned seed, size_t first) {
  for (size_t i = 0; i < n; ++i)
    if ((unsigned char)p[i] != byte_at(seed, first + i)) return 0;
  return 1;
}

/* Receives n bytes at p, all at once or by as many calls as it takes. 1: they are what was sent. */
static int get(char* p, size_t n, int flags) {
  unsigned seed = order(n, n, 0);
  for (size_t done = 0; done < n;) {
    ssize_t got = MUST(recv(stream, p + done, n - done, flags));
    if (got == 0) return 0;
    done += (size_t)got;
  }
  return is_from(p, n, seed, 0);
}

/* Many offsets and lengths in a buffer whose other bytes are known. */
static void places(const char* name, char* p, size_t size) {
  static const size_t offsets[] = {0, 1, 4095, 4096, 1 * MB - 7, 2 * MB - 4096, 2 * MB - 1, 2 * MB, 2 * MB + 1};
  static const size_t lengths[] = {1, 4095, 4096, 64 * KB, 1 * MB + 1, 2 * MB - 1, 2 * MB, 2 * MB + 1, 3 * MB + 4097, 4 * MB, 5 * MB - 1};
  int good = 1;
  for (size_t i = 0; i < sizeof offsets / sizeof *offsets; ++i)
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; ++k) {
      if (offsets[i] + lengths[k] > size) continue;
      memset(p, 'n', size);
      int same = get(p + offsets[i], lengths[k], (i + k) % 3 == 0 ? 0 : MSG_WAITALL);
      int around = all(p, offsets[i], 'n') && all(p + offsets[i] + lengths[k], size - offsets[i] - lengths[k], 'n');
      if (!same || !around) printf("%s: offset %zu, length %zu: same %d, around %d\n", name, offsets[i], lengths[k], same, around);
      good &= same && around;
    }
  printf("%s: %d\n", name, good);
  fflush(stdout);
}

static void memory(void) {
  char* p = malloc(8 * MB);
  places("heap", p, 8 * MB);
  printf("whole: %d\n", get(p, 8 * MB, MSG_WAITALL));
  unsigned seed = order(8 * MB, 8 * MB, 0);
  MUST(recv(stream, p, 8 * MB, MSG_WAITALL));
  p = realloc(p, 13 * MB);
  printf("grown: %d\n", is_from(p, 8 * MB, seed, 0));
  p = realloc(p, 3 * MB);
  printf("shrunk: %d\n", is_from(p, 3 * MB, seed, 0));
  free(p);
  char* z = calloc(6, MB);
  printf("calloc gives zeros: %d\n", all(z, 6 * MB, 0));
  free(z);

  p = mmap(NULL, 8 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  places("mapping", p, 8 * MB);
  MUST(mprotect(p + 3 * MB, 4096, PROT_READ));
  printf("in front of a protected page: %d\n", get(p + MB, 2 * MB, MSG_WAITALL));
  printf("behind it: %d\n", get(p + 3 * MB + 4096, 2 * MB, MSG_WAITALL));
  SAY("into it", recv(stream, p + 3 * MB, 4096, MSG_DONTWAIT));
  order(10, 10, 0);
  SAY("into it, with something there", recv(stream, p + 3 * MB, 10, MSG_WAITALL));
  SAY("it is there still", recv(stream, p, 10, MSG_WAITALL));
  MUST(mprotect(p + 3 * MB, 4096, PROT_READ | PROT_WRITE));
  seed = order(8 * MB, 8 * MB, 0);
  MUST(recv(stream, p, 8 * MB, MSG_WAITALL));
  MUST(munmap(p + 3 * MB, MB));
  printf("around a hole: %d %d\n", is_from(p, 3 * MB, seed, 0), is_from(p + 4 * MB, 4 * MB, seed, 4 * MB));
  MUST(madvise(p + 4 * MB, 2 * MB, MADV_DONTNEED));
  printf("discarded: %d %d\n", all(p + 4 * MB, 2 * MB, 0), is_from(p + 6 * MB, 2 * MB, seed, 6 * MB));
  printf("into what was discarded: %d\n", get(p + 4 * MB, 2 * MB, MSG_WAITALL));
  char* moved = mremap(p + 4 * MB, 4 * MB, 12 * MB, MREMAP_MAYMOVE);
  printf("moved: %d, then zeros: %d\n", is_from(moved + 2 * MB, 2 * MB, seed, 6 * MB), all(moved + 4 * MB, 8 * MB, 0));
  MUST(munmap(moved, 12 * MB));
  MUST(munmap(p, 3 * MB));
}

static void pieces(void) {
  char* p = malloc(10 * MB);
  memset(p, 'n', 10 * MB);
  struct iovec list[] = {{p + 5, 100}, {p + 2 * MB, 3 * MB}, {p + 6 * MB - 1, 2 * MB + 1}, {p + 9 * MB, 17}};
  size_t sum = 100 + 3 * MB + 2 * MB + 1 + 17;
  unsigned seed = order(sum, sum, 0);
  struct msghdr m = {.msg_iov = list, .msg_iovlen = 4};
  SAY("in four pieces", recvmsg(stream, &m, MSG_WAITALL));
  size_t at = 0;
  int good = 1;
  for (int i = 0; i < 4; at += list[i++].iov_len) good &= is_from(list[i].iov_base, list[i].iov_len, seed, at);
  printf("as sent: %d, between: %d\n", good, all(p + 105, 2 * MB - 105, 'n') && all(p + 5 * MB, MB - 1, 'n') && all(p + 8 * MB, MB, 'n'));
  free(p);
}

static void on_signal(int number) { (void)number; }

/* Receives that end early, or fail. */
static void short_ones(void) {
  char* p = malloc(8 * MB);
  struct timeval soon = {0, 300000}, never = {0, 0};
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGALRM, &action, NULL);
  for (int turn = 0; turn < 3; ++turn) {
    memset(p, 'u', 8 * MB);
    MUST(setsockopt(stream, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon));
    SAY("nothing comes in time", recv(stream, p, 8 * MB, MSG_WAITALL));
    SAY("without waiting", recv(stream, p, 8 * MB, MSG_WAITALL | MSG_DONTWAIT));
    printf("untouched: %d\n", all(p, 8 * MB, 'u'));
    size_t part = turn == 0 ? 70000 : turn == 1 ? 3 * MB + 77 : 2 * MB;
    unsigned seed = order(part, part, 0);
    SAY("less comes in time", recv(stream, p + turn, 6 * MB, MSG_WAITALL));
    printf("it is there: %d, and no more: %d\n", is_from(p + turn, part, seed, 0), all(p + turn + part, 8 * MB - part - (size_t)turn, 'u'));
    MUST(setsockopt(stream, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof never));
    memset(p, 'u', 8 * MB);
    struct itimerval timer = {{0, 0}, {0, 200000}};
    MUST(setitimer(ITIMER_REAL, &timer, NULL));
    SAY("a signal comes", recv(stream, p, 8 * MB, MSG_WAITALL));
    printf("untouched: %d\n", all(p, 8 * MB, 'u'));
    part = turn == 2 ? 2 * MB + 1 : 70000;
    seed = order(part, part, 0);
    timer.it_value.tv_usec = 400000;
    MUST(setitimer(ITIMER_REAL, &timer, NULL));
    SAY("a signal comes after some", recv(stream, p, 8 * MB, MSG_WAITALL));
    printf("it is there: %d, and no more: %d\n", is_from(p, part, seed, 0), all(p + part, 8 * MB - part, 'u'));
    seed = order(4 * MB, 5, 50);
    SAY("peeked", recv(stream, p, 5, MSG_PEEK | MSG_WAITALL));
    SAY("then all of it", recv(stream, p, 4 * MB, MSG_WAITALL));
    printf("as sent: %d\n", is_from(p, 4 * MB, seed, 0));
  }
  free(p);
}

/* Bytes beside the buffer that others change while it is received into. */
static char* beside;
static void count_up(int number) {
  (void)number;
  for (size_t i = 0; i < 8; ++i) ++beside[i * 4096];
}
static atomic_int stop;
static void* change_beside(void* argument) {
  atomic_size_t* rounds = argument;
  while (!stop) {
    for (size_t i = 0; i < 8; ++i) atomic_fetch_add((atomic_uint*)(beside + 64 + i * 4096), 1);
    atomic_fetch_add(rounds, 1);
  }
  return NULL;
}

static void neighbours(void) {
  char* p = malloc(6 * MB);
  memset(p, 0, 6 * MB);
  beside = p;
  struct sigaction action = {.sa_handler = count_up, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval timer = {{0, 500}, {0, 500}};
  int good = 1, kept = 1;
  char before = 0;
  MUST(setitimer(ITIMER_REAL, &timer, NULL));
  for (int i = 0; i < 40; ++i) {
    unsigned seed = order(2 * MB + 64 * KB, 2 * MB + 64 * KB, 0);
    for (size_t done = 0; done < 2 * MB + 64 * KB;)
      done += (size_t)MUST(recv(stream, p + 64 * KB + done, 2 * MB + 64 * KB - done, MSG_WAITALL));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    good &= is_from(p + 64 * KB, 2 * MB + 64 * KB, seed, 0);
    for (size_t k = 1; k < 8; ++k) kept &= beside[k * 4096] == beside[0];
    kept &= i == 0 || beside[0] != before || i < 5;
    before = beside[0];
    sigprocmask(SIG_UNBLOCK, &set, NULL);
  }
  memset(&timer, 0, sizeof timer);
  MUST(setitimer(ITIMER_REAL, &timer, NULL));
  printf("beside a handler's bytes: as sent %d, kept %d\n", good, kept);
  atomic_size_t rounds = 0;
  pthread_t thread;
  memset(p, 0, 6 * MB);
  pthread_create(&thread, NULL, change_beside, &rounds);
  good = 1;
  for (int i = 0; i < 40; ++i) good &= get(p + 64 * KB, 2 * MB + 64 * KB, MSG_WAITALL);
  stop = 1;
  pthread_join(thread, NULL);
  kept = 1;
  for (size_t k = 0; k < 8; ++k) kept &= *(unsigned*)(beside + 64 + k * 4096) == (unsigned)rounds;
  printf("beside a thread's bytes: as sent %d, kept %d\n", good, kept);
  fflush(stdout);
  free(p);
}

/* Children that have the memory while it is received into. */
static void children(void) {
  for (int how = 0; how < 3; ++how) {
    char* p = malloc(6 * MB);
    unsigned seed = order(6 * MB, 6 * MB, 0);
    MUST(recv(stream, p, 6 * MB, MSG_WAITALL));
    int go[2], status = 0;
    MUST(pipe(go));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      char c;
      close(go[1]);
      if (how == 1) memset(p, 'c', 6 * MB);
      if (read(go[0], &c, 1) != 0) _exit(2);
      int good = how == 1 ? all(p, 6 * MB, 'c') : is_from(p, 6 * MB, seed, 0);
      if (how == 2) free(p);
      _exit(good ? 0 : 1);
    }
    close(go[0]);
    printf("with a child: %d\n", get(p + how, 5 * MB, MSG_WAITALL));
    char* q = malloc(6 * MB);
    printf("into other memory: %d\n", get(q, 6 * MB, MSG_WAITALL));
    close(go[1]);
    MUST(waitpid(child, &status, 0));
    printf("the child had its own: %d\n", WEXITSTATUS(status) == 0);
    printf("when it has gone: %d\n", get(p, 6 * MB, MSG_WAITALL));
    free(q);
    free(p);
  }
}

/* Received, sent on, and received into again while that is on its way. */
static void passed_on(void) {
  int pair[2];
  tcp_pair(pair);
  fflush(stdout);
  pid_t reader = fork();
  if (reader == 0) {
    char* p = malloc(4 * MB);
    close(pair[0]);
    usleep(50000);
    int good = 1;
    for (unsigned i = 0; i < 8; ++i) {
      unsigned seed;
      MUST(recv(pair[1], &seed, sizeof seed, MSG_WAITALL));
      MUST(recv(pair[1], p, 4 * MB, MSG_WAITALL));
      good &= is_from(p, 4 * MB, seed, 0);
    }
    _exit(good ? 0 : 1);
  }
  close(pair[1]);
  char* p = malloc(4 * MB);
  for (int i = 0; i < 8; ++i) {
    unsigned seed = order(4 * MB, 4 * MB, 0);
    MUST(recv(stream, p, 4 * MB, MSG_WAITALL));
    send_bytes(pair[0], (unsigned char*)&seed, sizeof seed);
    send_bytes(pair[0], (unsigned char*)p, 4 * MB);
    if (i % 3 == 1) memset(p, 'w', 4 * MB);
    if (i % 3 == 2) free(p), p = malloc(4 * MB);
  }
  int status = 0;
  MUST(waitpid(reader, &status, 0));
  printf("passed on as received: %d\n", WEXITSTATUS(status) == 0);
  free(p);
  close(pair[0]);
}

int main(void) {
  int pair[2], ends[2];
  tcp_pair(pair);
  MUST(pipe(ends));
  fflush(stdout);
  pid_t sender = fork();
  if (sender == 0) {
    close(pair[1]);
    close(ends[1]);
    serve_orders(pair[0], ends[0]);
  }
  close(pair[0]);
  close(ends[0]);
  stream = pair[1];
  orders = ends[1];
  memory();
  pieces();
  short_ones();
  children();
  passed_on();
  neighbours();
  close(orders);
  SAY("the end", recv(stream, ends, sizeof ends, MSG_WAITALL));
  MUST(waitpid(sender, NULL, 0));
  return 0;
}
