/* Large memory, as malloc(3), mmap(2) and their relatives promise it, while it is being sent. With the scheme `emulated` it comes from
 * regions and is referred to by output; nothing of that may be seen. */
#include "say.h"
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define MB ((size_t)1 << 20)
extern char** environ;
static int pair[2];

/* Whether all n bytes are `byte`. */
static int all(const char* p, size_t n, int byte) { return n == 0 || (p[0] == (char)byte && memcmp(p, p + 1, n - 1) == 0); }

struct Wanted {
  size_t bytes;
  char* data;
};
static void* receive(void* argument) {
  struct Wanted* w = argument;
  for (size_t done = 0; done < w->bytes;) {
    ssize_t n = recv(pair[1], w->data + done, w->bytes - done, 0);
    if (n <= 0) break;
    done += (size_t)n;
  }
  return NULL;
}

/* Sends n bytes at p from this thread while another receives them; `meddle` runs as soon as send has returned. */
static void pass(const char* name, char* p, size_t n, void (*meddle)(char*, size_t)) {
  struct Wanted w = {n, malloc(n)};
  char* before = malloc(n);
  pthread_t thread;
  memcpy(before, p, n);
  pthread_create(&thread, NULL, receive, &w);
  for (size_t sent = 0; sent < n;) sent += (size_t)MUST(send(pair[0], p + sent, n - sent, 0));
  if (meddle != NULL) meddle(p, n);
  pthread_join(thread, NULL);
  printf("%s: %s\n", name, memcmp(w.data, before, n) == 0 ? "as sent" : "OTHER BYTES");
  fflush(stdout);
  free(w.data);
  free(before);
}

static void overwrite(char* p, size_t n) { memset(p, 'o', n); }
static void touch(char* p, size_t n) {
  for (size_t i = 0; i < n; i += 100000) p[i] = 't';
}
static void unmap(char* p, size_t n) { MUST(munmap(p, n)); }
static void unmap_middle(char* p, size_t n) { MUST(munmap(p + n / 4, n / 2)); }
static void discard(char* p, size_t n) { MUST(madvise(p, n, MADV_DONTNEED)); }
static void give_back(char* p, size_t n) {
  (void)n;
  free(p);
}
static void read_into(char* p, size_t n) {
  int fd = (int)MUST(open("/dev/zero", O_RDONLY));
  if (read(fd, p, n) != (ssize_t)n) puts("short read");
  close(fd);
}

static void heap(void) {
  char* p = malloc(5 * MB);
  memset(p, 'a', 5 * MB);
  pass("overwritten", p, 5 * MB, overwrite);
  printf("what was written is there: %d\n", all(p, 5 * MB, 'o'));
  pass("touched", p, 5 * MB, touch);
  pass("at an odd address", p + 4097, 3 * MB + 5, overwrite);
  pass("read into", p, 5 * MB, read_into);
  printf("zeros were read: %d\n", all(p, 5 * MB, 0));
  p = realloc(p, 9 * MB);
  printf("grown: %d\n", all(p, 5 * MB, 0));
  memset(p, 'g', 9 * MB);
  p = realloc(p, 3 * MB);
  printf("shrunk: %d\n", all(p, 3 * MB, 'g'));
  pass("freed", p, 3 * MB, give_back);
  char* z = calloc(6, MB);
  printf("calloc gives zeros: %d\n", all(z, 6 * MB, 0));
  memset(z, 'z', 6 * MB);
  free(z);
  z = calloc(6, MB);
  printf("and again: %d\n", all(z, 6 * MB, 0));
  printf("usable: %d\n", malloc_usable_size(z) >= 6 * MB);
  z = realloc(z, 100);
  printf("small again: %d\n", all(z, 100, 0));
  free(z);
  for (size_t alignment = 16; alignment <= 4 * MB; alignment *= 16) {
    void* q = NULL;
    int error = posix_memalign(&q, alignment, 2 * MB + 3);
    printf("posix_memalign %zu: %d %zu\n", alignment, error, (size_t)q % alignment);
    memset(q, 'q', 2 * MB + 3);
    free(q);
    q = aligned_alloc(alignment, 4 * MB);
    printf("aligned_alloc: %zu\n", (size_t)q % alignment);
    free(q);
  }
  void* q = NULL;
  printf("a bad alignment: %d\n", posix_memalign(&q, 24, 2 * MB));
  char* text = NULL;
  size_t size = 0;
  FILE* f = open_memstream(&text, &size);
  for (int i = 0; i < 500000; ++i) fprintf(f, "line %07d\n", i);
  fclose(f);
  printf("open_memstream: %zu %.12s\n", size, text + 499999 * 13);
  free(text);
  char* grown = NULL;
  for (size_t n = 1; n <= 16 * MB; n *= 2) {
    grown = realloc(grown, n);
    grown[n - 1] = (char)n;
    if (n > 1) grown[n / 2] = 'h';
  }
  printf("doubled: %c %c\n", grown[8 * MB], grown[MB / 2]);
  free(grown);
  free(reallocarray(NULL, 3, MB));
  free(NULL);
  SAY("too much", (q = malloc((size_t)-1 / 2)) == NULL ? -1 : 0);
}

static char* map(size_t n) {
  char* p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) exit(1);
  return p;
}

static void mappings(void) {
  char* p = map(6 * MB);
  printf("fresh: %d\n", all(p, 6 * MB, 0));
  memset(p, 'm', 6 * MB);
  pass("unmapped", p, 6 * MB, unmap);
  p = map(6 * MB);
  printf("zeros again: %d\n", all(p, 6 * MB, 0));
  memset(p, 'm', 6 * MB);
  pass("middle unmapped", p, 6 * MB, unmap_middle);
  printf("the rest: %d %d\n", all(p, 6 * MB / 4, 'm'), all(p + 6 * MB / 4 * 3, 6 * MB / 4, 'm'));
  SAY("unmap all", munmap(p, 6 * MB));
  SAY("and once more", munmap(p, 6 * MB));
  p = map(4 * MB);
  memset(p, 'd', 4 * MB);
  pass("discarded", p, 4 * MB, discard);
  printf("zeros after: %d\n", all(p, 4 * MB, 0));
  memset(p, 'e', 4 * MB);
  SAY("DONTNEED of a part", madvise(p + 4096, MB, MADV_DONTNEED));
  printf("zeros there alone: %d %d %d\n", all(p, 4096, 'e'), all(p + 4096, MB, 0), all(p + 4096 + MB, 3 * MB - 4096, 'e'));
  pass("partly discarded", p, 4 * MB, overwrite);
  SAY("a hint", madvise(p, 4 * MB, MADV_HUGEPAGE));
  SAY("at an odd address", madvise(p + 1, 4096, MADV_DONTNEED));
  SAY("read-only", mprotect(p + MB, MB, PROT_READ));
  pass("partly read-only", p, 4 * MB, NULL);
  int zero = open("/dev/zero", O_RDONLY);
  SAY("read into the read-only part", read(zero, p + MB, 100));
  SAY("writable", mprotect(p + MB, MB, PROT_READ | PROT_WRITE));
  SAY("read into it", read(zero, p + MB, 100));
  memset(p, 'r', 4 * MB);
  p = mremap(p, 4 * MB, 8 * MB, MREMAP_MAYMOVE);
  printf("grown: %d %d\n", all(p, 4 * MB, 'r'), all(p + 4 * MB, 4 * MB, 0));
  memset(p, 's', 8 * MB);
  pass("mremapped", p, 8 * MB, overwrite);
  p = mremap(p, 8 * MB, 3 * MB, 0);
  printf("shrunk: %d\n", all(p, 3 * MB, 'o'));
  char* q = map(3 * MB);
  printf("moved onto another: %d\n", mremap(p, 3 * MB, 3 * MB, MREMAP_MAYMOVE | MREMAP_FIXED, q) == q && all(q, 3 * MB, 'o'));
  printf("mapped over: %d\n", mmap(q + MB, MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == q + MB);
  printf("zeros in the middle: %d %d %d\n", all(q, MB, 'o'), all(q + MB, MB, 0), all(q + 2 * MB, MB, 'o'));
  pass("mapped over", q, 3 * MB, overwrite);
  SAY("unmapped", munmap(q, 3 * MB));
  SAY("nothing", munmap(q, 0));
  for (int i = 0; i < 60; ++i) { /* address space and memory come back */
    char* r = map(16 * MB);
    r[5 * MB] = 'x';
    munmap(r, 8 * MB);
    munmap(r + 8 * MB, 8 * MB);
  }
  puts("60 mappings");
}

static int cloned(void* argument) {
  char* p = argument;
  int good = all(p, 4 * MB, 'p');
  memset(p, 'c', 4 * MB);
  free(p);
  return good ? 0 : 1;
}

/* Parent and child do not see what the other writes, however the child is made, whether its memory has been sent or not. */
static void children(void) {
  char* stack = malloc(1 << 16);
  for (int how = 0; how < 4; ++how) {
    for (int sent = 0; sent < 2; ++sent) {
      char* p = malloc(4 * MB);
      memset(p, 'p', 4 * MB);
      if (sent) pass("before", p, 4 * MB, NULL);
      int status = 0;
      fflush(stdout);
      pid_t child = how == 0   ? fork()
                    : how == 1 ? _Fork()
                    : how == 2 ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)
                               : clone(cloned, stack + (1 << 16), SIGCHLD, p);
      if (child == 0) _exit(cloned(p));
      if (how == 0) memset(p, 'q', MB);
      MUST(waitpid(child, &status, 0));
      printf("child %d/%d: status %d, the parent has its own: %d\n", how, sent, WEXITSTATUS(status),
             all(p, how == 0 ? MB : 4 * MB, how == 0 ? 'q' : 'p') && all(p + MB, 3 * MB, 'p'));
      pass("after", p, 4 * MB, overwrite);
      free(p);
    }
  }
  char* p = malloc(4 * MB);
  memset(p, 'p', 4 * MB);
  pid_t child = vfork();
  if (child == 0) _exit(0);
  MUST(waitpid(child, NULL, 0));
  pass("after vfork", p, 4 * MB, overwrite);
  char* words[] = {"true", NULL};
  SAY("posix_spawn", posix_spawnp(&child, "true", NULL, NULL, words, environ));
  MUST(waitpid(child, NULL, 0));
  SAY("system", system("true"));
  pass("after posix_spawn", p, 4 * MB, overwrite);
  free(p);
  free(stack);
}

static void* fill_and_free(void* argument) {
  for (int i = 0; i < 60; ++i) {
    size_t n = MB + (size_t)(i * 7919 % 50) * 65536;
    char* p = malloc(n);
    memset(p, (int)(size_t)argument, n);
    if (!all(p, n, (int)(size_t)argument)) puts("another thread's bytes");
    if (i % 3 == 0) p = realloc(p, n * 2);
    free(p);
  }
  return NULL;
}

static void threads(void) {
  pthread_t t[4];
  for (size_t i = 0; i < 4; ++i) pthread_create(&t[i], NULL, fill_and_free, (void*)('A' + i));
  for (int i = 0; i < 4; ++i) pthread_join(t[i], NULL);
  puts("threads are done");
}

/* A filter that kills for what a sandboxed program has no use for. */
static void sandboxed(void) {
  char* before = malloc(4 * MB);
  memset(before, 'b', 4 * MB);
  pass("before the filter", before, 4 * MB, NULL);
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pread64, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  struct sock_fprog filter = {sizeof rules / sizeof rules[0], rules};
  SAY("no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  SAY("filter", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
  pass("after it", before, 4 * MB, overwrite);
  printf("what was written is there: %d\n", all(before, 4 * MB, 'o'));
  free(before);
  char* after = calloc(4, MB);
  printf("zeros: %d\n", all(after, 4 * MB, 0));
  pass("allocated behind it", after, 4 * MB, overwrite);
  free(after);
}

int main(void) {
  tcp_pair(pair);
  heap();
  mappings();
  threads();
  children();
  sandboxed();
  close(pair[0]);
  return 0;
}
