// Ways of getting frames out of and into an AF_PACKET socket, compared in isolation: the figures behind the choice made in
// src/link/packet_ring.h (docs/performance/links.md). Not part of Ferry: raw system calls only, so that nothing else counts.
//
//   packet_alternatives rx MODE IF SECONDS       MODE: recv peek mmsg ring2 copy2 ring3
//   packet_alternatives tx MODE IF SIZE SECONDS [GAP_NS]  MODE: send mmsg bypass
//
// A receiver counts every payload as delivered only when it is in "client memory": a pool of 4 MiB that it cycles through.
// Output, one line: mode, frames, bytes, wall seconds, CPU seconds (user+system of this process), frames lost.
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

// virtio 1.2, section 5.1.6 (the kernel's header does not compile as C++).
struct virtio_net_hdr {
  uint8_t flags, gso_type;
  uint16_t hdr_len, gso_size, csum_start, csum_offset;
};
constexpr uint8_t kNeedsChecksum = 1, kGsoTcpV4 = 1;
constexpr size_t kPool = 4 << 20;
constexpr size_t kMaxFrame = 65536 + 64;
constexpr size_t kHeader = 66;
constexpr unsigned kBatch = 32;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
double cpu() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}
void check(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::exit(1);
}

struct Pool {
  std::vector<char> bytes = std::vector<char>(kPool + kMaxFrame, 1);
  size_t at = 0;
  char* next(size_t n) {
    if (at + n > kPool) at = 0;
    char* p = bytes.data() + at;
    at += n;
    return p;
  }
};

int open_socket() {
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
  check(fd >= 0, "socket");
  int one = 1;
  check(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) == 0, "PACKET_VNET_HDR");
  check(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) == 0, "PACKET_IGNORE_OUTGOING");
  int size = 16 << 20;
  check(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0, "SO_RCVBUFFORCE");
  check(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) == 0, "SO_SNDBUFFORCE");
  return fd;
}
void bind_to(int fd, const char* interface, bool receive) {
  sockaddr_ll a{};
  a.sll_family = AF_PACKET;
  a.sll_protocol = receive ? htons(ETH_P_ALL) : 0;
  a.sll_ifindex = static_cast<int>(if_nametoindex(interface));
  check(bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0, "bind");
}

struct Totals {
  uint64_t frames = 0, bytes = 0, lost = 0;
};

// One way to receive: turn() takes what is there and returns how many frames that was.
struct Receiver {
  int fd;
  Pool pool;
  Totals totals;
  std::vector<char> staging = std::vector<char>(kMaxFrame * kBatch, 1);
  explicit Receiver(int f) : fd(f) {}
  virtual ~Receiver() = default;
  virtual unsigned turn() = 0;
  void deliver(const char* frame, size_t n) {
    if (n > kHeader) std::memcpy(pool.next(n - kHeader), frame + kHeader, n - kHeader);
    count(n);
  }
  void count(size_t n) {
    ++totals.frames;
    totals.bytes += n;
  }
};

struct Plain final : Receiver {
  using Receiver::Receiver;
  unsigned turn() override {
    unsigned n = 0;
    for (; n < kBatch; ++n) {
      ssize_t got = recv(fd, staging.data(), kMaxFrame, MSG_DONTWAIT);
      if (got < 0) break;
      deliver(staging.data() + 10, static_cast<size_t>(got) - 10);
    }
    return n;
  }
};

// Early demultiplexing by peeking: look at the headers, then receive the payload straight into the pool.
struct Peek final : Receiver {
  using Receiver::Receiver;
  unsigned turn() override {
    unsigned n = 0;
    char head[10 + kHeader];
    for (; n < kBatch; ++n) {
      ssize_t length = recv(fd, head, sizeof head, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
      if (length < 0) break;
      size_t payload = length > ssize_t{10 + kHeader} ? static_cast<size_t>(length) - 10 - kHeader : 1;
      iovec iov[2] = {{head, sizeof head}, {pool.next(payload), payload}};
      msghdr m{};
      m.msg_iov = iov;
      m.msg_iovlen = 2;
      check(recvmsg(fd, &m, MSG_DONTWAIT) >= 0, "recvmsg");
      count(static_cast<size_t>(length) - 10);
    }
    return n;
  }
};

struct Batched final : Receiver {
  std::vector<mmsghdr> messages{kBatch};
  std::vector<iovec> iov{kBatch};
  explicit Batched(int f) : Receiver(f) {
    for (unsigned i = 0; i < kBatch; ++i) {
      iov[i] = {staging.data() + i * kMaxFrame, kMaxFrame};
      messages[i].msg_hdr.msg_iov = &iov[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
  }
  unsigned turn() override {
    int n = recvmmsg(fd, messages.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (n <= 0) return 0;
    for (int i = 0; i < n; ++i) deliver(staging.data() + i * kMaxFrame + 10, messages[i].msg_len - 10);
    return static_cast<unsigned>(n);
  }
};

// TPACKET_V2. Large slots take whole frames; small slots with PACKET_COPY_THRESH take the head of a large frame, and the
// whole of it waits in the socket's queue.
struct Ring2 final : Receiver {
  unsigned slot_size, slots, at = 0;
  char* ring;
  Ring2(int f, bool large) : Receiver(f) {
    int version = TPACKET_V2, one = 1;
    check(setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) == 0, "PACKET_VERSION");
    check(setsockopt(fd, SOL_PACKET, PACKET_COPY_THRESH, &one, sizeof one) == 0, "PACKET_COPY_THRESH");
    tpacket_req r{};
    if (large) {
      r.tp_frame_size = slot_size = 17 * 4096;
      r.tp_block_size = 17 * 4096;
      r.tp_block_nr = r.tp_frame_nr = slots = 128;
    } else {
      r.tp_frame_size = slot_size = 2048;
      r.tp_block_size = 64 << 10;
      r.tp_block_nr = 64;
      r.tp_frame_nr = slots = 2048;
    }
    check(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &r, sizeof r) == 0, "PACKET_RX_RING");
    void* p = mmap(nullptr, size_t{r.tp_block_size} * r.tp_block_nr, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    check(p != MAP_FAILED, "mmap");
    ring = static_cast<char*>(p);
  }
  unsigned turn() override {
    unsigned n = 0;
    for (; n < kBatch; ++n) {
      auto* h = reinterpret_cast<tpacket2_hdr*>(ring + size_t{at} * slot_size);
      unsigned status = __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE);
      if ((status & TP_STATUS_USER) == 0) break;
      if (status & TP_STATUS_COPY) {
        char head[10 + kHeader];
        size_t payload = h->tp_len - kHeader;
        iovec iov[2] = {{head, sizeof head}, {pool.next(payload), payload}};
        msghdr m{};
        m.msg_iov = iov;
        m.msg_iovlen = 2;
        check(recvmsg(fd, &m, MSG_DONTWAIT) >= 0, "recvmsg");
        count(h->tp_len);
      } else if (h->tp_snaplen < h->tp_len) {
        ++totals.lost;
      } else {
        deliver(reinterpret_cast<char*>(h) + h->tp_mac, h->tp_len);
      }
      __atomic_store_n(&h->tp_status, uint32_t{TP_STATUS_KERNEL}, __ATOMIC_RELEASE);
      at = at + 1 == slots ? 0 : at + 1;
    }
    return n;
  }
};

struct Ring3 final : Receiver {
  static constexpr unsigned kBlock = 1 << 20, kBlocks = 8;
  char* ring;
  unsigned at = 0;
  explicit Ring3(int f) : Receiver(f) {
    int version = TPACKET_V3;
    check(setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) == 0, "PACKET_VERSION");
    tpacket_req3 r{};
    r.tp_block_size = kBlock;
    r.tp_block_nr = kBlocks;
    r.tp_frame_size = 2048;
    r.tp_frame_nr = kBlock / 2048 * kBlocks;
    r.tp_retire_blk_tov = 1;
    check(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &r, sizeof r) == 0, "PACKET_RX_RING");
    void* p = mmap(nullptr, size_t{kBlock} * kBlocks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    check(p != MAP_FAILED, "mmap");
    ring = static_cast<char*>(p);
  }
  unsigned turn() override {
    auto* b = reinterpret_cast<tpacket_block_desc*>(ring + size_t{at} * kBlock);
    if ((__atomic_load_n(&b->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0) return 0;
    char* p = reinterpret_cast<char*>(b) + b->hdr.bh1.offset_to_first_pkt;
    unsigned n = b->hdr.bh1.num_pkts;
    for (unsigned i = 0; i < n; ++i) {
      auto* h = reinterpret_cast<tpacket3_hdr*>(p);
      if (h->tp_snaplen < h->tp_len) ++totals.lost;
      else deliver(p + h->tp_mac, h->tp_len);
      p += h->tp_next_offset;
    }
    __atomic_store_n(&b->hdr.bh1.block_status, uint32_t{TP_STATUS_KERNEL}, __ATOMIC_RELEASE);
    at = (at + 1) % kBlocks;
    return n;
  }
};

void report(const std::string& name, const Totals& t, double wall, double used) {
  std::printf("%s frames=%llu bytes=%llu wall=%.3f cpu=%.3f lost=%llu Gb/s=%.2f cpu_s_per_GB=%.3f us_per_frame=%.2f\n", name.c_str(),
              static_cast<unsigned long long>(t.frames), static_cast<unsigned long long>(t.bytes), wall, used,
              static_cast<unsigned long long>(t.lost), t.bytes * 8e-9 / wall, used / (t.bytes * 1e-9), used * 1e6 / t.frames);
}

int receive_main(const std::string& mode, const char* interface, double seconds) {
  int fd = open_socket();
  Receiver* r = nullptr;
  if (mode == "recv") r = new Plain(fd);
  if (mode == "peek") r = new Peek(fd);
  if (mode == "mmsg") r = new Batched(fd);
  if (mode == "ring2") r = new Ring2(fd, true);
  if (mode == "copy2") r = new Ring2(fd, false);
  if (mode == "ring3") r = new Ring3(fd);
  check(r != nullptr, "unknown mode");
  bind_to(fd, interface, true);
  double start = 0, used = 0, end = now() + seconds;
  while (now() < end) {
    if (r->turn() > 0) continue;
    pollfd p{fd, POLLIN, 0};
    poll(&p, 1, 100);
    if (start == 0) start = now(), used = cpu();
  }
  tpacket_stats_v3 s{};
  socklen_t n = sizeof s;
  getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &s, &n);
  r->totals.lost += s.tp_drops;
  report("rx " + mode, r->totals, now() - start, cpu() - used);
  return 0;
}

int send_main(const std::string& mode, const char* interface, size_t size, double seconds, long gap_ns) {
  int fd = open_socket();
  int one = 1;
  if (mode == "bypass") check(setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one) == 0, "bypass");
  bind_to(fd, interface, false);
  // A TCP segment for nobody: 02:…:02 from 02:…:01, 10.0.0.1 → 10.0.0.2.
  std::vector<unsigned char> head(10 + kHeader, 0);
  auto* v = reinterpret_cast<virtio_net_hdr*>(head.data());
  v->flags = kNeedsChecksum;
  v->csum_start = 34;
  v->csum_offset = 16;
  v->hdr_len = kHeader;
  if (size > 1514) v->gso_type = kGsoTcpV4, v->gso_size = 1448;
  unsigned char* e = head.data() + 10;
  e[0] = e[6] = 2, e[5] = 2, e[11] = 1, e[12] = 8;
  unsigned char* ip = e + 14;
  ip[0] = 0x45, ip[2] = static_cast<unsigned char>((size - 14) >> 8), ip[3] = static_cast<unsigned char>(size - 14), ip[8] = 64, ip[9] = 6;
  ip[12] = 10, ip[15] = 1, ip[16] = 10, ip[19] = 2;
  ip[20 + 12] = 0x80, ip[20 + 13] = 0x10;
  Pool pool;
  Totals t;
  constexpr unsigned kTxBatch = 16;
  std::vector<mmsghdr> messages(kTxBatch);
  std::vector<iovec> iov(2 * kTxBatch);
  double start = now(), used = cpu();
  auto fill = [&](unsigned i) {
    size_t payload = size - kHeader;
    iov[2 * i] = {head.data(), head.size()};
    iov[2 * i + 1] = {pool.next(payload), payload};
    messages[i].msg_hdr.msg_iov = &iov[2 * i];
    messages[i].msg_hdr.msg_iovlen = payload == 0 ? 1 : 2;
  };
  while (now() - start < seconds) {
    int sent = 0;
    if (mode == "mmsg") {
      for (unsigned i = 0; i < kTxBatch; ++i) fill(i);
      sent = sendmmsg(fd, messages.data(), kTxBatch, MSG_DONTWAIT);
    } else {
      fill(0);
      sent = sendmsg(fd, &messages[0].msg_hdr, MSG_DONTWAIT) >= 0 ? 1 : -1;
    }
    if (sent < 0) {
      ++t.lost;
      continue;
    }
    t.frames += static_cast<unsigned>(sent);
    t.bytes += static_cast<unsigned>(sent) * size;
    for (double until = now() + gap_ns * 1e-9; gap_ns > 0 && now() < until;) {
    }
  }
  report("tx " + mode, t, now() - start, cpu() - used);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 5 && std::string(argv[1]) == "rx") return receive_main(argv[2], argv[3], std::atof(argv[4]));
  if (argc >= 6 && std::string(argv[1]) == "tx")
    return send_main(argv[2], argv[3], static_cast<size_t>(std::atol(argv[4])), std::atof(argv[5]), argc > 6 ? std::atol(argv[6]) : 0);
  std::fprintf(stderr, "usage: packet_alternatives rx MODE IF SECONDS | tx MODE IF SIZE SECONDS [GAP_NS]\n");
  return 2;
}
