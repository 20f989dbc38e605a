/* edges serve PORT | send HOST PORT FULL: buffers that begin and end anywhere in a page, in both directions, every byte checked.
 *
 * "PAPER.md, property 4": for every offset in a page and for lengths around every boundary that passing knows, what arrives is what was
 * sent, and what lies around the buffers stays as it was. The boundaries: nothing, one byte, a page of 4 KiB, the least that is referred to
 * (256 KiB by default), the ring of a passage (256 KiB), a huge page of 2 MiB; one byte to either side of each. Small lengths meet all 4096
 * offsets at both ends; large ones meet all of them too if FULL is 1, else every 61st and those at the edges of a page.
 *
 * Both ends know what transfer number n is: its offset, length and bytes. The sender spoils its buffer as soon as send(2) has returned
 * (property 1), then makes the next. The receiver has its buffer in the middle of memory that holds a pattern, and looks at 4 KiB to either side of
 * it, or at all that can be in a huge page with it; every other time it waits for all of a transfer (MSG_WAITALL), where a scheme that exchanges
 * pages can do so. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kPage = 4096, kHuge = 2 << 20, kReach = 3 * kHuge, kMemory = 4 * kHuge };
static const uint32_t kSmall[] = {1, 2, kPage - 1, kPage, kPage + 1};
static const uint32_t kLarge[] = {262143, 262144, 262145, kHuge - 1, kHuge, kHuge + 1};
static unsigned char* source;  /* what all streams are cut from */

struct transfer {
  uint32_t offset, length;
};

static void fail(const char* what, unsigned long number, const struct transfer* t, size_t at) {
  fprintf(stderr, "transfer %lu (offset %u, length %u): %s at %zu\n", number, t->offset, t->length, what, at);
  exit(1);
}

static void must(long result, const char* what) {
  if (result >= 0) return;
  perror(what);
  exit(1);
}

/* The transfers in order; length 0: no more. */
static struct transfer next(unsigned long number, int full) {
  const unsigned small = sizeof kSmall / sizeof *kSmall, large = sizeof kLarge / sizeof *kLarge;
  if (number < (unsigned long)small * kPage) return (struct transfer){(uint32_t)(number / small), kSmall[number % small]};
  number -= (unsigned long)small * kPage;
  const unsigned long place = number / large;
  const uint32_t edges[] = {0, 1, kPage - 1, kPage / 2};
  uint32_t offset = (uint32_t)place;
  if (!full) offset = place < 4 ? edges[place] : (uint32_t)(place - 4) * 61;
  if (offset >= kPage) return (struct transfer){0, 0};
  return (struct transfer){offset, kLarge[number % large]};
}

/* Where in the source transfer number n begins: another place for each, and never the same within a stretch. */
static const unsigned char* bytes_of(unsigned long number) { return source + number * 7919 % kHuge; }

static void make_source(void) {
  source = malloc(kReach + kHuge);
  uint64_t x = 88172645463325252u;
  for (size_t i = 0; i < (kReach + kHuge) / 8; ++i) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    memcpy(source + 8 * i, &x, 8);
  }
}

static void send_all(int s, int full) {
  for (unsigned long n = 0;; ++n) {
    const struct transfer t = next(n, full);
    if (t.length == 0) break;
    /* A fresh buffer now and then, of a size that comes from a region where there is one; for large transfers each time, since one that
     * is written to after every send is not referred to for long. */
    static unsigned char* buffer;
    if (n % 50 == 0 || t.length > kPage + 1) {
      free(buffer);
      if (posix_memalign((void**)&buffer, kPage, kReach) != 0) abort();
    }
    memcpy(buffer + t.offset, bytes_of(n), t.length);
    for (size_t done = 0; done < t.length;) {
      const ssize_t sent = send(s, buffer + t.offset + done, t.length - done, 0);
      must(sent, "send");
      memset(buffer + t.offset + done, 0x55, (size_t)sent);
      done += (size_t)sent;
    }
  }
  must(shutdown(s, SHUT_WR), "shutdown");
}

/* The first byte of p[0..n) that is not `value`; n: none. */
static size_t first_other(const unsigned char* p, size_t n, unsigned char value) {
  if (n == 0 || (p[0] == value && memcmp(p, p + 1, n - 1) == 0)) return n;
  size_t i = 0;
  while (p[i] == value) ++i;
  return i;
}

static void receive_all(int s, int full) {
  unsigned char* memory = mmap(NULL, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(memory, 0xa5, kMemory);
  unsigned long n = 0;
  for (;; ++n) {
    const struct transfer t = next(n, full);
    if (t.length == 0) break;
    /* The receiver's offset is another than the sender's, so that every pair of alignments comes up. */
    unsigned char* buffer = memory + kPage + (t.offset + n * 37) % kPage + (t.length > kPage + 1 ? n / 2 % 4 * (kHuge / 2) : 0);
    const int look_at_all = (t.length > kPage + 1 && !full) || n % 61 == 0;
    unsigned char *start = look_at_all ? memory : buffer - kPage, *end = look_at_all ? memory + kMemory : buffer + t.length + kPage;
    size_t got = 0;
    while (got < t.length) {
      const ssize_t r = recv(s, buffer + got, t.length - got, n % 2 ? MSG_WAITALL : 0);
      must(r, "recv");
      if (r == 0) fail("the stream ended", n, &t, got);
      got += (size_t)r;
      const size_t behind = t.length - got + kPage;
      if (first_other(buffer + got, behind, 0xa5) != behind) fail("something was written behind what recv returned", n, &t, got);
    }
    if (memcmp(buffer, bytes_of(n), t.length) != 0) {
      size_t i = 0;
      while (buffer[i] == bytes_of(n)[i]) ++i;
      fail("another byte", n, &t, i);
    }
    size_t n_in_front = (size_t)(buffer - start), n_behind = (size_t)(end - buffer) - t.length;
    size_t at = first_other(start, n_in_front, 0xa5);
    if (at != n_in_front) fail("something was written in front of the buffer", n, &t, n_in_front - at);
    at = first_other(buffer + t.length, n_behind, 0xa5);
    if (at != n_behind) fail("something was written behind the buffer", n, &t, at);
    memset(buffer, 0xa5, t.length);
  }
  char more;
  if (recv(s, &more, 1, 0) != 0) fail("more than was sent", n, &(struct transfer){0, 0}, 0);
  printf("transfers: %lu\n", n);
}

int main(int count, char** words) {
  if (count < 3) return 2;
  make_source();
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[count == 3 ? 2 : 3]))};
  int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  must(s, "socket");
  if (strcmp(words[1], "serve") == 0) {
    must(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    must(bind(s, (struct sockaddr*)&address, sizeof address), "bind");
    must(listen(s, 4), "listen");
    puts("ready");
    fflush(stdout);
    const int c = accept(s, NULL, NULL);
    must(c, "accept");
    char full;
    must(recv(c, &full, 1, 0), "recv");
    receive_all(c, full);
    send_all(c, full);
    return 0;
  }
  if (inet_pton(AF_INET, words[2], &address.sin_addr) != 1) return 2;
  must(connect(s, (struct sockaddr*)&address, sizeof address), "connect");
  const char full = words[4][0] == '1';
  must(send(s, &full, 1, 0), "send");
  send_all(s, full);
  receive_all(s, full);
  return 0;
}
