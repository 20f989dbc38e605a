// What src/link delivers, end to end between two processes:
//
//   link_throughput receive SPEC SECONDS ring|plain|placed [SPIN_US]
//   link_throughput send SPEC SIZE SECONDS PEER_MAC
//
// The receiver copies every payload into "client memory", a pool of 4 MiB that it cycles through, as ferryd does; "placed" has the
// link receive payload there directly (PayloadPlacer). Output: one line of key=value.
#include <poll.h>
#include <sys/resource.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "link/open.h"

namespace {

using namespace ferry;
constexpr size_t kPool = 4 << 20;
constexpr uint32_t kHeaders = 66;

double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}
double cpu() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

struct Pool final : buf::Memory, link::FrameSink, link::PayloadPlacer {
  std::vector<std::byte> bytes = std::vector<std::byte>(kPool + 65536, std::byte{1});
  size_t at = 0;
  uint64_t placed = 0;
  MutableByteSpan next(size_t n) {
    if (at + n > kPool) at = 0;
    const MutableByteSpan s = MutableByteSpan(bytes).subspan(at, n);
    at += n;
    return s;
  }
  ByteSpan read(const buf::IoDesc& d) const override { return ByteSpan(bytes).subspan(d.offset, d.length); }
  MutableByteSpan write(const buf::IoDesc&) override { return {}; }
  void on_frame(const buf::Frame& f) override {
    if (f.bytes.size() > kHeaders) copy_bytes(next(f.bytes.size() - kHeaders), f.bytes.subspan(kHeaders));
  }
  bool place(const buf::Frame&, uint32_t length, Place& p) override {
    p.header_length = kHeaders;
    p.first = next(length - kHeaders);
    return true;
  }
  void on_placed(const buf::Frame&, uint32_t) override { ++placed; }
  void on_abandoned() override {}
};

void report(const char* what, uint64_t frames, uint64_t bytes, double wall, double used, uint64_t lost) {
  const double gb = static_cast<double>(bytes) * 1e-9;
  std::printf("%s frames=%llu Gb/s=%.2f cpu_s_per_GB=%.3f us_per_frame=%.2f cpu=%.2f lost=%llu\n", what, static_cast<unsigned long long>(frames),
              gb * 8 / wall, used / gb, used * 1e6 / static_cast<double>(frames), used / wall, static_cast<unsigned long long>(lost));
}

// Looks again for `spin` seconds before it sleeps, as ferryd does.
int receive(link::Link& l, double seconds, const std::string& mode, double spin) {
  Pool pool;
  if (mode == "placed" && !l.set_placer(&pool)) return 1;
  double start = 0, used = 0, last = 0;
  uint64_t sleeps = 0;
  double busy = 0;  // in receive() calls that found something
  const double end = now() + seconds;
  for (double before = now(); before < end; before = now()) {
    if (l.receive(pool, 64) > 0) {
      last = now();
      busy += last - before;
      if (start == 0) start = last, used = cpu();
      continue;
    }
    if (now() - last < spin) continue;
    ++sleeps;
    pollfd p{l.poll_fd(), POLLIN, 0};
    poll(&p, 1, 100);
  }
  const auto& c = l.counters();
  std::printf("sleeps=%llu busy_us_per_frame=%.2f ", static_cast<unsigned long long>(sleeps), busy * 1e6 / static_cast<double>(c.rx_frames));
  report(("receive " + mode).c_str(), c.rx_frames, c.rx_bytes, last - start, cpu() - used, c.rx_dropped);
  return 0;
}

int send(link::Link& l, uint32_t size, double seconds, const wire::MacAddress& peer) {
  Pool pool;
  double start = now();
  const double used = cpu();
  uint64_t refused = 0;
  for (uint64_t i = 0;; ++i) {
    if (i % 64 == 0 && now() - start > seconds) break;
    buf::Packet p;
    const MutableByteSpan h = p.append_header(kHeaders);
    for (size_t k = 0; k < kHeaders; ++k) h[k] = std::byte{0};
    for (size_t k = 0; k < 6; ++k) {
      h[k] = std::byte{peer.octets[k]};
      h[6 + k] = std::byte{l.capabilities().mac.octets[k]};
    }
    store_be16(h, 12, 0x0800);
    store_u8(h, 14, 0x45);
    store_be16(h, 16, static_cast<uint16_t>(size - 14));
    store_u8(h, 22, 64), store_u8(h, 23, 6);
    store_be32(h, 26, 0x0a000001), store_be32(h, 30, 0x0a000002);
    store_u8(h, 46, 0x80), store_u8(h, 47, 0x10);
    if (size > kHeaders) {
      const MutableByteSpan payload = pool.next(size - kHeaders);
      p.append_part({static_cast<uint64_t>(payload.data() - pool.bytes.data()), size - kHeaders, 1});
    }
    p.offload.needs_checksum = true;
    p.offload.checksum_start = 34;
    p.offload.checksum_offset = 16;
    if (size > 1514) p.offload.gso_type = buf::GsoType::tcp_v4, p.offload.gso_size = 1448;
    if (!l.send(p, pool).ok()) ++refused;
    if (i % 16 == 15) l.flush();
  }
  l.flush();
  report("send", l.counters().tx_frames, l.counters().tx_bytes, now() - start, cpu() - used, refused);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  link::Options options;
  if (what == "receive" && argc >= 5) {
    options.plain_receive = std::string(argv[4]) == "plain";
    auto l = link::open(argv[2], options);
    if (!l.ok()) return std::fprintf(stderr, "%s\n", l.error().c_str()), 1;
    return receive(**l, std::atof(argv[3]), argv[4], argc > 5 ? std::atof(argv[5]) * 1e-6 : 0);
  }
  if (what == "send" && argc == 6) {
    const auto peer = link::parse_mac(argv[5]);
    auto l = link::open(argv[2], options);
    if (!l.ok() || !peer) return std::fprintf(stderr, "%s\n", l.error().c_str()), 1;
    return send(**l, static_cast<uint32_t>(std::atol(argv[3])), std::atof(argv[4]), *peer);
  }
  std::fprintf(stderr, "usage: link_throughput receive SPEC SECONDS ring|plain|placed [SPIN_US] | send SPEC SIZE SECONDS PEER_MAC\n");
  return 2;
}
