/* order HOST PORT CONNECTIONS NUMBERS: counts from 0 to NUMBERS - 1 on each connection, one line a number, by send, write, dprintf and, from
 * some point on, fprintf + fflush on a stream of the same socket, in turn and at random. Whatever way the bytes go (shared memory, then
 * the descriptor itself), they are to arrive in order.
 * Then: a stream that is closed gives its descriptor number back; what is opened next at that number is a file, and writing to it never
 * reaches a socket. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int connect_to(const char *host, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  inet_pton(AF_INET, host, &address.sin_addr);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    perror("connect");
    exit(1);
  }
  return fd;
}

static void all(int fd, const char *text, size_t n, int by_write) {
  while (n > 0) {
    ssize_t sent = by_write ? write(fd, text, n) : send(fd, text, n, 0);
    if (sent <= 0) {
      perror("send");
      exit(1);
    }
    text += sent;
    n -= (size_t)sent;
  }
}

static void count(const char *host, const char *port, long numbers) {
  int fd = connect_to(host, port);
  FILE *stream = NULL;
  const long opens_at = rand() % (numbers / 2 + 1);
  for (long i = 0; i < numbers; ++i) {
    if (i == opens_at && (stream = fdopen(dup(fd), "w")) == NULL) {
      perror("fdopen");
      exit(1);
    }
    char line[32];
    const int n = snprintf(line, sizeof line, "%ld\n", i);
    switch (rand() % (stream != NULL ? 4 : 2)) {
      case 0: all(fd, line, (size_t)n, 0); break;
      case 1: all(fd, line, (size_t)n, 1); break;
      case 2:
        if (dprintf(fd, "%ld\n", i) != n) exit(1);
        break;
      default:
        if (fprintf(stream, "%ld\n", i) != n || fflush(stream) != 0) {
          perror("fprintf");
          exit(1);
        }
    }
  }
  fclose(stream);
  char answer[32] = "";
  shutdown(fd, SHUT_WR);
  ssize_t got = recv(fd, answer, sizeof answer - 1, MSG_WAITALL);
  if (got <= 0 || atol(answer) != numbers) {
    fprintf(stderr, "the server counted '%s', not %ld\n", answer, numbers);
    exit(1);
  }
  close(fd);
}

static void reuse_number(const char *host, const char *port) {
  for (int i = 0; i < 200; ++i) {
    int fd = connect_to(host, port);
    all(fd, "0\n", 2, 0);
    FILE *stream = fdopen(fd, "r+");
    fclose(stream);
    char name[] = "/tmp/ferry-order-XXXXXX";
    int made = mkstemp(name);
    FILE *file = fopen(name, "w");
    unlink(name);
    struct stat status;
    if (write(fileno(file), "file", 4) != 4 || fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size != 4) {
      fprintf(stderr, "writing to a file after fclose of a socket's stream: number %d is no file with 4 bytes\n", fileno(file));
      exit(1);
    }
    fclose(file);
    close(made);
  }
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  srand(1);
  for (int i = 0; i < atoi(argv[3]); ++i) count(argv[1], argv[2], atol(argv[4]));
  reuse_number(argv[1], argv[2]);
  return 0;
}
