// One transfer over a TCP connection, in the manner of an ordinary program: what `ferry bench passing` runs on every stack and scheme.
//
//   transfer serve PORT                                          serves until it is ended
//   transfer latency|throughput|reading ADDRESS PORT BYTES SECONDS    prints a line of JSON
//
// latency: BYTES there and BYTES back, again and again; half of the median round trip. throughput: sends BYTES at a time, the
// server receives BYTES at a time (MSG_WAITALL) and answers at the end. reading: the server also looks at all that it has received. Both ends compare the last transfer byte by byte, outside of what is timed.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kMaxBytes = uint64_t{1} << 30;
enum Kind : uint32_t { kLatency = 1, kThroughput = 2, kReading = 3 };

// What the client says first; both ends are this program on one machine.
struct Head {
  uint32_t kind;
  uint32_t reserved;
  uint64_t bytes;
};

[[noreturn]] void fail(const char* what) {
  fprintf(stderr, "transfer: %s: %s\n", what, errno != 0 ? strerror(errno) : "unexpected end of the connection");
  exit(1);
}

bool send_all(int fd, const void* data, size_t size) {
  for (auto* p = static_cast<const char*>(data); size > 0;) {
    const ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    p += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool receive_all(int fd, void* data, size_t size) {
  for (auto* p = static_cast<char*>(data); size > 0;) {
    const ssize_t n = recv(fd, p, size, MSG_WAITALL);
    if (n <= 0) return false;
    p += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

// A buffer as programs have it: from malloc, aligned as malloc aligns.
class Buffer {
 public:
  explicit Buffer(uint64_t bytes) : data_(static_cast<uint8_t*>(malloc(bytes))), size_(bytes) {
    if (data_ == nullptr) fail("no memory for the buffer");
    memset(data_, 0, size_);
  }
  ~Buffer() { free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  uint8_t* data() { return data_; }
  size_t size() const { return size_; }
  void fill() {
    for (size_t i = 0; i < size_; ++i) data_[i] = at(i);
  }
  // Looks at every cache line.
  uint64_t sum() const {
    uint64_t sum = 0, word;
    for (size_t i = 0; i + sizeof word <= size_; i += 64) {
      memcpy(&word, data_ + i, sizeof word);
      sum += word;
    }
    return sum;
  }
  void check() const {
    for (size_t i = 0; i < size_; ++i) {
      if (data_[i] == at(i)) continue;
      fprintf(stderr, "transfer: byte %zu of %zu is wrong\n", i, size_);
      exit(1);
    }
  }

 private:
  static uint8_t at(size_t i) { return static_cast<uint8_t>((i * 2654435761u) >> 16); }

  uint8_t* data_;
  size_t size_;
};

void no_delay(int fd) {
  const int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail("TCP_NODELAY");
}

void serve_one(int fd) {
  Head head{};
  if (!receive_all(fd, &head, sizeof head) || head.bytes == 0 || head.bytes > kMaxBytes) {
    close(fd);
    return;
  }
  if (head.kind == kLatency) no_delay(fd);
  Buffer buffer(head.bytes);
  uint64_t expected = 0;
  for (uint64_t n = 0; receive_all(fd, buffer.data(), buffer.size()); ++n) {
    if (head.kind == kReading) {
      const uint64_t sum = buffer.sum();
      if (n == 0) expected = sum;
      else if (sum != expected) fail("a transfer differs from the first");
    }
    if (head.kind == kLatency && !send_all(fd, buffer.data(), buffer.size())) fail("send");
  }
  const uint8_t done = 1;
  if (!send_all(fd, &done, 1)) fail("send");
  buffer.check();
  close(fd);
}

int serve(uint16_t port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 16) != 0) {
    fail("cannot listen");
  }
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd < 0) fail("accept");
    serve_one(fd);
  }
}

int connect_to(const char* host, uint16_t port, Head head) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
    fprintf(stderr, "transfer: %s is not an IPv4 address\n", host);
    exit(2);
  }
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fail("cannot connect");
  if (head.kind == kLatency) no_delay(fd);
  if (!send_all(fd, &head, sizeof head)) fail("send");
  return fd;
}

void send_transfer(int fd, Buffer& buffer) {
  if (!send_all(fd, buffer.data(), buffer.size())) fail("send");
}

// Ends the transfers; returns when the server has all of them.
void finish(int fd) {
  uint8_t done = 0;
  if (shutdown(fd, SHUT_WR) != 0 || !receive_all(fd, &done, 1)) fail("the end");
}

double microseconds(Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); }

void measure_latency(int fd, Buffer& buffer, double seconds) {
  Buffer answer(buffer.size());
  std::vector<double> trips;
  const auto round = [&] {
    const auto start = Clock::now();
    send_transfer(fd, buffer);
    if (!receive_all(fd, answer.data(), answer.size())) fail("recv");
    return microseconds(Clock::now() - start);
  };
  for (int i = 0; i < 3; ++i) round();  // warm
  const auto start = Clock::now();
  do trips.push_back(round());
  while (microseconds(Clock::now() - start) < seconds * 1e6);
  const double elapsed = microseconds(Clock::now() - start);
  finish(fd);
  answer.check();
  std::nth_element(trips.begin(), trips.begin() + static_cast<long>(trips.size() / 2), trips.end());
  printf("{\"half_round_trip_us\": %.3f, \"round_trips\": %zu, \"seconds\": %.6f}\n", trips[trips.size() / 2] / 2, trips.size(),
         elapsed / 1e6);
}

void measure_throughput(int fd, Buffer& buffer, double seconds) {
  uint64_t transfers = 0;
  const auto start = Clock::now();
  do {
    send_transfer(fd, buffer);
    ++transfers;
  } while (microseconds(Clock::now() - start) < seconds * 1e6);
  finish(fd);
  const double elapsed = microseconds(Clock::now() - start);
  printf("{\"bytes\": %llu, \"seconds\": %.6f}\n", static_cast<unsigned long long>(transfers * buffer.size()), elapsed / 1e6);
}

template <typename Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

int usage() {
  fprintf(stderr, "usage: transfer serve PORT | transfer latency|throughput|reading ADDRESS PORT BYTES SECONDS\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  uint16_t port = 0;
  if (what == "serve" && argc == 3 && parse(argv[2], port)) return serve(port);
  uint64_t bytes = 0;
  double seconds = 0;
  if ((what != "latency" && what != "throughput" && what != "reading") || argc != 6 || !parse(argv[3], port) || !parse(argv[4], bytes) || bytes == 0 ||
      bytes > kMaxBytes || !parse(argv[5], seconds)) {
    return usage();
  }
  const bool latency = what == "latency";
  const int fd = connect_to(argv[2], port, {latency ? kLatency : what == "reading" ? kReading : kThroughput, 0, bytes});
  Buffer buffer(bytes);
  buffer.fill();
  latency ? measure_latency(fd, buffer, seconds) : measure_throughput(fd, buffer, seconds);
  close(fd);
  return 0;
}
