// hostile_frames INTERFACE SECONDS SEED TARGET: sends frames to a Ferry on the other end of a link, as a peer that means harm would: random
// bytes, and frames that it sees on the link (so with valid addresses, ports and sequence numbers) with a few bytes, lengths or
// flags changed, and their checksums put right again so that they get past the first checks. packet(7).
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <random>
#include <vector>

namespace {

using Frame = std::vector<uint8_t>;
constexpr size_t kEthernet = 14;

uint32_t sum(const uint8_t* data, size_t n, uint32_t s) {
  for (size_t i = 0; i + 1 < n; i += 2) s += static_cast<uint32_t>(data[i] << 8 | data[i + 1]);
  return n % 2 != 0 ? s + static_cast<uint32_t>(data[n - 1] << 8) : s;
}

void store_folded(uint8_t* at, uint32_t s) {
  while (s >> 16 != 0) s = (s & 0xffff) + (s >> 16);
  at[0] = static_cast<uint8_t>(~s >> 8);
  at[1] = static_cast<uint8_t>(~s);
}

// Makes the checksums of an IPv4 frame right, as far as its own lengths make sense.
void put_checksums_right(Frame& f) {
  if (f.size() < kEthernet + 20 || f[12] != 8 || f[13] != 0) return;
  uint8_t* ip = f.data() + kEthernet;
  const size_t header = size_t{ip[0] & 15u} * 4, rest = f.size() - kEthernet;
  if (header < 20 || header > rest) return;
  ip[10] = ip[11] = 0;
  store_folded(ip + 10, sum(ip, header, 0));
  const size_t total = std::min<size_t>(static_cast<size_t>(ip[2] << 8 | ip[3]), rest);
  if (total < header) return;
  const size_t n = total - header;
  uint8_t* transport = ip + header;
  const uint32_t pseudo = sum(ip + 12, 8, ip[9] + static_cast<uint32_t>(n));
  if (ip[9] == 6 && n >= 20) transport[16] = transport[17] = 0, store_folded(transport + 16, sum(transport, n, pseudo));
  if (ip[9] == 17 && n >= 8) transport[6] = transport[7] = 0, store_folded(transport + 6, sum(transport, n, pseudo));
  if (ip[9] == 1 && n >= 8) transport[2] = transport[3] = 0, store_folded(transport + 2, sum(transport, n, 0));
}

class Attacker {
 public:
  Attacker(uint64_t seed, uint32_t target) : dice_(seed), target_(target) {}

  void saw(const uint8_t* bytes, size_t n) {
    if (n < kEthernet) return;
    Frame frame(bytes, bytes + n);
    if (seen_.size() < 256) {
      seen_.push_back(std::move(frame));
    } else {
      seen_[below(256)] = std::move(frame);
    }
  }

  Frame next() {
    if (seen_.empty() || below(20) == 0) return noise();
    Frame frame = seen_[below(seen_.size())];
    // Towards Ferry, whoever had sent it.
    uint32_t destination = 0;
    if (frame.size() >= kEthernet + 20 && frame[12] == 8 && frame[13] == 0) {
      memcpy(&destination, frame.data() + kEthernet + 16, 4);
      if (destination != target_) swap_ends(frame);
    }
    for (uint32_t changes = below(4); changes > 0; --changes) change(frame);
    if (below(8) != 0) put_checksums_right(frame);
    return frame;
  }

 private:
  uint32_t below(size_t n) { return static_cast<uint32_t>(dice_() % n); }

  Frame noise() {
    Frame frame(kEthernet + below(1500));
    for (auto& byte : frame) byte = static_cast<uint8_t>(dice_());
    if (!seen_.empty()) memcpy(frame.data(), seen_[below(seen_.size())].data(), kEthernet);
    if (frame.size() > kEthernet + 20 && below(2) == 0) frame[kEthernet] = 0x45;
    return frame;
  }

  static void swap_ends(Frame& f) {
    for (size_t i = 0; i < 6; ++i) std::swap(f[i], f[6 + i]);
    uint8_t* ip = f.data() + kEthernet;
    for (size_t i = 0; i < 4; ++i) std::swap(ip[12 + i], ip[16 + i]);
    const size_t header = size_t{ip[0] & 15u} * 4;
    if (kEthernet + header + 12 > f.size() || ip[9] != 6) return;
    uint8_t* tcp = ip + header;
    std::swap(tcp[0], tcp[2]), std::swap(tcp[1], tcp[3]);
    for (size_t i = 0; i < 4; ++i) std::swap(tcp[4 + i], tcp[8 + i]);  // their acknowledgement is about where we are
  }

  void change(Frame& f) {
    const size_t at = kEthernet + below(std::min<size_t>(f.size() - kEthernet, below(2) == 0 ? 80 : 2000));
    switch (below(8)) {
      case 0: f[at] = static_cast<uint8_t>(dice_()); break;
      case 1: f[at] ^= static_cast<uint8_t>(1u << below(8)); break;
      case 2: f.resize(kEthernet + below(f.size() - kEthernet) + 1); break;
      case 3: f.resize(f.size() + below(200)); break;
      case 4: {  // sequence numbers near the right ones, and flags
        if (f.size() < kEthernet + 40) break;
        uint8_t* tcp = f.data() + kEthernet + 20;
        if (below(2) == 0) tcp[13] = static_cast<uint8_t>(dice_());
        uint32_t sequence;
        uint8_t* field = tcp + (below(2) == 0 ? 4 : 8);
        memcpy(&sequence, field, 4);
        sequence = htonl(ntohl(sequence) + below(200000) - 100000);
        memcpy(field, &sequence, 4);
        break;
      }
      case 5: {  // a piece of one of a few datagrams, so that some come together; at the edges of what can be
        if (f.size() < kEthernet + 20) break;
        static constexpr uint16_t kOffsets[] = {0, 1, 2, 185, 4095, 8000, 8188, 8189, 8190, 8191};  // in units of 8 bytes
        f[kEthernet + 4] = 0;
        f[kEthernet + 5] = static_cast<uint8_t>(below(8));
        const uint32_t offset = below(4) == 0 ? below(8192) : kOffsets[below(std::size(kOffsets))];
        f[kEthernet + 6] = static_cast<uint8_t>(offset >> 8 | (below(2) == 0 ? 0x20 : 0));
        f[kEthernet + 7] = static_cast<uint8_t>(offset);
        if (below(2) == 0) {  // as long as its frame, at a multiple of 8
          f.resize(kEthernet + 20 + below(180) * 8);
          f[kEthernet + 2] = static_cast<uint8_t>((f.size() - kEthernet) >> 8);
          f[kEthernet + 3] = static_cast<uint8_t>(f.size() - kEthernet);
        }
        break;
      }
      case 6: {  // headers that are longer or shorter than they can be
        if (f.size() < kEthernet + 40) break;
        if (below(3) == 0) f[kEthernet] = static_cast<uint8_t>(0x40 | below(16));
        else if (f[kEthernet + 9] == 6) f[kEthernet + 32] = static_cast<uint8_t>(below(16) << 4);
        else f[kEthernet + 24] = static_cast<uint8_t>(below(256)), f[kEthernet + 25] = static_cast<uint8_t>(below(256));
        break;
      }
      default: {  // an options area of random bytes
        if (f.size() < kEthernet + 60) break;
        f[kEthernet + 32] = static_cast<uint8_t>((5 + below(11)) << 4);
        for (size_t i = kEthernet + 40; i < kEthernet + 60; ++i) f[i] = static_cast<uint8_t>(below(2) == 0 ? below(12) : dice_());
        break;
      }
    }
  }

  std::mt19937_64 dice_;
  uint32_t target_;
  std::vector<Frame> seen_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: hostile_frames INTERFACE SECONDS SEED TARGET\n");
    return 2;
  }
  in_addr target{};
  if (inet_pton(AF_INET, argv[4], &target) != 1) return 2;
  const int fd = socket(AF_PACKET, SOCK_RAW, htons(0x0003 /* ETH_P_ALL */));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(0x0003);
  address.sll_ifindex = static_cast<int>(if_nametoindex(argv[1]));
  if (fd < 0 || address.sll_ifindex == 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    perror(argv[1]);
    return 1;
  }
  Attacker attacker(strtoull(argv[3], nullptr, 10), target.s_addr);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(atoi(argv[2]));
  std::vector<uint8_t> buffer(70000);
  unsigned long long sent = 0;
  while (std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < 16; ++i) {
      const ssize_t n = recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n <= 0) break;
      attacker.saw(buffer.data(), static_cast<size_t>(n));
    }
    for (int i = 0; i < 32; ++i) {
      Frame frame = attacker.next();
      if (frame.size() > 1514) frame.resize(1514);
      if (send(fd, frame.data(), frame.size(), MSG_DONTWAIT) > 0) ++sent;
    }
    pollfd waiting{fd, POLLIN, 0};
    poll(&waiting, 1, 1);
  }
  printf("%llu frames\n", sent);
  close(fd);
  return 0;
}
