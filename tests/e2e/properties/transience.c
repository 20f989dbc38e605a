/* transience serve PORT | send HOST PORT count|thread|signal|clone|aio: which pages the kernel copies for a program that writes to what it sends.
 *
 * "PAPER.md, property 2": a write while output is pending costs a copy of each page that it touches; after the output is complete none, and what is
 * never written to costs none either. The sender's own pages are counted in /proc/self/pagemap (proc(5)), per round:
 *
 *   sent, the peer reads nothing      no page of its own
 *   some pages are written to         those, of 4 KiB
 *   the peer has read and answered    none again, nor when all is overwritten; but a huge page of which much was written to while it was
 *                                     pending (every other round) has turned back to copying
 *
 * With `thread`, `signal` and `clone` somebody else writes to the buffer all the time (a thread, a signal handler, a process that shares the
 * memory), counters in a few pages: none of its writes may get lost, whatever becomes of the pages. The peer checks all other bytes. With `aio`
 * the kernel might: what was sent is copied when it is written to. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kPage = 4096, kHuge = 2 << 20, kHuges = 2, kSize = kHuges * kHuge, kPages = kSize / kPage };
enum { kCounter = 64, kRounds = 24, kFew = 5, kMany = 300 };

static void must(long result, const char* what) {
  if (result >= 0) return;
  perror(what);
  exit(1);
}

static void fail(int round, const char* what, unsigned long is, unsigned long wanted) {
  fprintf(stderr, "round %d: %s: %lu, not %lu\n", round, what, is, wanted);
  exit(1);
}

/* What a page holds in a round, but for the counter at kCounter; the first word tells pages apart. */
static void fill_page(unsigned char* page, int round, int number) {
  const uint64_t first = (uint64_t)round << 32 | (uint32_t)number;
  const unsigned char rest = (unsigned char)(round * 37 + number);
  memcpy(page, &first, sizeof first);
  memset(page + sizeof first, rest, kCounter - sizeof first);
  memset(page + kCounter + 8, rest, kPage - kCounter - 8);
}

static int is_page(const unsigned char* page, int round, int number) {
  unsigned char wanted[kPage];
  fill_page(wanted, round, number);
  return memcmp(page, wanted, kCounter) == 0 && memcmp(page + kCounter + 8, wanted + kCounter + 8, kPage - kCounter - 8) == 0;
}

static void read_all(int s, void* to, size_t n) {
  for (size_t got = 0; got < n;) {
    const ssize_t r = recv(s, (char*)to + got, n - got, 0);
    must(r, "recv");
    if (r == 0) exit(fprintf(stderr, "the stream ended\n"));
    got += (size_t)r;
  }
}

static void send_all(int s, const void* from, size_t n) {
  for (size_t sent = 0; sent < n;) {
    const ssize_t r = send(s, (const char*)from + sent, n - sent, 0);
    must(r, "send");
    sent += (size_t)r;
  }
}

/* Reads nothing of the data until it is told to, on a connection of its own. */
static int serve(int listener) {
  const int data = accept(listener, NULL, NULL), orders = accept(listener, NULL, NULL);
  must(data, "accept");
  must(orders, "accept");
  static unsigned char buffer[kSize];
  int round;
  for (;;) {
    read_all(orders, &round, sizeof round);
    if (round == 0) break;
    read_all(data, buffer, kSize);
    for (int i = 0; i < kPages; ++i)
      if (!is_page(buffer + i * kPage, round, i)) fail(round, "other bytes than were sent, in page", (unsigned long)i, 0);
    send_all(data, "k", 1);
  }
  puts("good");
  return 0;
}

static unsigned char* buffer;

/* Pages of huge page number `huge` that are this process's alone. */
static size_t own_pages(int huge) {
  static int pagemap = -1;
  static uint64_t entries[kHuge / kPage];
  if (pagemap < 0) must(pagemap = open("/proc/self/pagemap", O_RDONLY), "pagemap");
  const unsigned char* at = buffer + (size_t)huge * kHuge;
  if (pread(pagemap, entries, sizeof entries, (off_t)((uintptr_t)at / kPage * 8)) != sizeof entries) must(-1, "pagemap");
  size_t count = 0;
  for (size_t i = 0; i < kHuge / kPage; ++i) count += (entries[i] >> 62 & 3) != 0 && (entries[i] >> 61 & 1) == 0;
  return count;
}

static void expect(int round, const char* what, int huge, size_t wanted) {
  const size_t is = own_pages(huge);
  if (is != wanted) fail(round, what, is, wanted);
}

static void fill(int round) {
  for (int i = 0; i < kPages; ++i) fill_page(buffer + i * kPage, round, i);
}

/* --- whoever writes beside --- */
static volatile int stop;
static unsigned long written;

static void write_some(int n) {
  static uint32_t x = 1;
  for (; n > 0; --n) {
    x = x * 1664525 + 1013904223;
    ++*(volatile uint64_t*)(buffer + (x >> 8) % kFew * 90 * kPage + kCounter);
    ++written;
  }
}

static void* write_in_thread(void* unused) {
  while (!stop) write_some(1000);
  return unused;
}
static int write_in_process(void* unused) { return write_in_thread(unused) != NULL; }
static void on_signal(int number) { (void)number, write_some(20); }

static void check_counters(void) {
  unsigned long sum = 0;
  for (int i = 0; i < kPages; ++i) sum += *(uint64_t*)(buffer + i * kPage + kCounter);
  if (sum != written || written == 0) fail(kRounds, "writes that are to be seen", sum, written);
  printf("writes: %lu\n", written);
}

static void order(int orders, int round) { send_all(orders, &round, sizeof round); }

static void answer(int data) {
  char byte;
  read_all(data, &byte, 1);
}

static void count_pages(int data, int orders) {
  for (int round = 1; round <= kRounds; ++round) {
    const int many = round % 2 ? kMany : 0;  /* in the second huge page; kFew in the first */
    fill(round);
    send_all(data, buffer, kSize);
    for (int huge = 0; huge < kHuges; ++huge) expect(round, "pages copied by sending", huge, 0);
    for (int i = 0; i < kFew; ++i) buffer[i * 90 * kPage] ^= 1, buffer[i * 90 * kPage + round] ^= 1;
    for (int i = 0; i < many; ++i) buffer[kHuge + i * kPage] ^= 1;
    expect(round, "pages copied by writing to few while they are pending", 0, kFew);
    expect(round, "pages copied in the other", 1, (size_t)many);
    order(orders, round);
    answer(data);
    expect(round, "pages copied, when it is complete, of few that were written to", 0, 0);
    expect(round, "pages copied, when it is complete, in the other", 1, (size_t)many);
    for (int i = 0; i < kFew; ++i) buffer[i * 90 * kPage] ^= 1, buffer[i * 90 * kPage + round] ^= 1;
    for (int i = 0; i < many; ++i) buffer[kHuge + i * kPage] ^= 1;
    for (int i = 0; i < kPages; ++i)
      if (!is_page(buffer + i * kPage, round, i)) fail(round, "other bytes than were written, in page", (unsigned long)i, 0);
    memset(buffer, 0x5a, kSize);
    expect(round, "pages copied by overwriting all when it is complete", 0, 0);
    if (many == 0) expect(round, "pages copied by overwriting all that was not written to", 1, 0);
    else must(madvise(buffer + kHuge, kHuge, MADV_DONTNEED), "madvise");  /* what turned back to copying begins anew */
  }
}

static void write_beside(int data, int orders, const char* who) {
  static char stack[1 << 16];
  pthread_t thread;
  int child = -1;
  memset(buffer, 0, kSize);
  if (strcmp(who, "thread") == 0) {
    if (pthread_create(&thread, NULL, write_in_thread, NULL) != 0) must(-1, "pthread_create");
  } else if (strcmp(who, "clone") == 0) {
    must(child = clone(write_in_process, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL), "clone");
  } else {
    const struct itimerval often = {{0, 100}, {0, 100}};
    signal(SIGALRM, on_signal);
    must(setitimer(ITIMER_REAL, &often, NULL), "setitimer");
  }
  for (int round = 1; round <= kRounds; ++round) {
    fill(round);
    order(orders, round);  /* at once: what is copied would not all find room */
    send_all(data, buffer, kSize);
    answer(data);
  }
  stop = 1;
  if (child > 0) must(waitpid(child, NULL, 0), "waitpid");
  else if (strcmp(who, "thread") == 0) pthread_join(thread, NULL);
  const struct itimerval never = {{0, 0}, {0, 0}};
  must(setitimer(ITIMER_REAL, &never, NULL), "setitimer");
  check_counters();
}

static void with_aio(int data, int orders) {
  unsigned long context = 0;
  must(syscall(SYS_io_setup, 1, &context), "io_setup");
  fill(1);
  order(orders, 1);
  send_all(data, buffer, kSize);
  answer(data);
  expect(1, "pages copied before they are written to", 0, 0);
  memset(buffer, 0x5a, kSize);
  expect(1, "pages copied where the kernel may be writing", 0, kHuge / kPage);
}

int main(int count, char** words) {
  if (count < 3) return 2;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[count == 3 ? 2 : 3]))};
  const int data = socket(AF_INET, SOCK_STREAM, 0), on = 1, little = 1 << 16, much = 16 << 20;
  must(data, "socket");
  if (strcmp(words[1], "serve") == 0) {
    must(setsockopt(data, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    must(setsockopt(data, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), "SO_RCVBUF");  /* most stays with the sender */
    must(bind(data, (struct sockaddr*)&address, sizeof address), "bind");
    must(listen(data, 4), "listen");
    puts("ready");
    fflush(stdout);
    return serve(data);
  }
  if (count < 5 || inet_pton(AF_INET, words[2], &address.sin_addr) != 1) return 2;
  const int orders = socket(AF_INET, SOCK_STREAM, 0);
  must(setsockopt(data, SOL_SOCKET, SO_SNDBUF, &much, sizeof much), "SO_SNDBUF");
  must(connect(data, (struct sockaddr*)&address, sizeof address), "connect");
  must(connect(orders, (struct sockaddr*)&address, sizeof address), "connect");
  buffer = mmap(NULL, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (buffer == MAP_FAILED) must(-1, "mmap");
  if (strcmp(words[4], "count") == 0) count_pages(data, orders);
  else if (strcmp(words[4], "aio") == 0) with_aio(data, orders);
  else write_beside(data, orders, words[4]);
  order(orders, 0);
  return 0;
}
