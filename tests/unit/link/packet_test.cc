// What only packet links do: overflow of the ring and of the queue behind it, interfaces that go down, VLANs, and super-frames that
// this kernel refuses.
#include "link/packet.h"

#include <gtest/gtest.h>

#include "unit/link/kernel_peer.h"

namespace ferry::link {
namespace {
using namespace testing;

class PacketLinkTest : public ::testing::Test {
 protected:
  void make(const Options& o = {}) {
    peer.emplace(LinkKind{"packet", false, o, ""});
    ASSERT_TRUE(peer->ready()) << peer->error();
  }
  // Datagrams of `length` bytes from the kernel to us.
  void kernel_sends(unsigned count, size_t length) {
    const KernelSocket s = peer->kernel().run([] { return KernelSocket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
    const sockaddr_in to = KernelPeer::address(peer->path.ours, 9);
    const Bytes data(length, std::byte{7});
    for (unsigned i = 0; i < count; ++i)
      ASSERT_EQ(::sendto(s.fd(), data.data(), length, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), static_cast<ssize_t>(length));
  }
  uint64_t udp_frames(Collector& got) const {
    uint64_t n = 0;
    for (const auto& f : got.frames) n += load_be16(f.bytes, 12) == wire::kEtherIpv4 && f.bytes[23] == std::byte{17};
    return n;
  }
  std::optional<KernelPeer> peer;
};

TEST_F(PacketLinkTest, CountsWhatTheRingCouldNotTake) {
  FERRY_NEEDS_ROOT();
  Options o;
  o.receive_slots = 64;
  make(o);
  kernel_sends(200, 100);
  Collector got;
  ASSERT_TRUE(peer->receive_until(got, [&] { return udp_frames(got) >= 40; }));  // others are the kernel's own chatter
  while (peer->link().receive(got, 64) > 0) {
  }
  EXPECT_LE(udp_frames(got), 64u);
  EXPECT_GE(udp_frames(got) + peer->link().counters().rx_dropped, 200u);
  kernel_sends(10, 100);  // and goes on afterwards
  const uint64_t before = udp_frames(got);
  EXPECT_TRUE(peer->receive_until(got, [&] { return udp_frames(got) == before + 10; }));
}

// Small frames stay in the ring until the batch ends, even when they fill it; then the kernel has the slots again.
TEST_F(PacketLinkTest, FramesOfABatchLast) {
  FERRY_NEEDS_ROOT();
  Options o;
  o.receive_slots = 64;
  make(o);
  struct Holder final : FrameSink {
    std::vector<std::pair<ByteSpan, Bytes>> held;
    uint64_t lasted = 0;
    void on_frame(const buf::Frame&) override { ADD_FAILURE() << "a small frame that does not last"; }
    void on_lasting_frame(const buf::Frame& f) override { held.emplace_back(f.bytes, Bytes(f.bytes.begin(), f.bytes.end())); }
    void on_batch_end() override {
      for (const auto& [bytes, copy] : held) lasted += equal_bytes(bytes, copy) && load_be16(bytes, 12) == wire::kEtherIpv4;
      held.clear();
    }
  } holder;
  for (uint64_t round = 1; round <= 5; ++round) {
    kernel_sends(50, 100);
    const uint64_t before = holder.lasted;
    while (peer->link().receive(holder, 64) > 0) {
    }
    EXPECT_GE(holder.lasted - before, 45u) << round;  // a few are the kernel's own chatter
    EXPECT_TRUE(holder.held.empty());
  }
  kernel_sends(200, 100);  // more than there are slots
  EXPECT_LE(peer->link().receive(holder, 1000), 64u);
}

TEST_F(PacketLinkTest, CountsLargeFramesThatItsQueueCouldNotTake) {
  FERRY_NEEDS_ROOT();
  Options o;
  o.receive_bytes = 64 << 10;
  make(o);
  ASSERT_TRUE(peer->kernel().shell("ip link set k0 mtu 9000") && peer->ferry().shell("ip link set f0 mtu 9000"));
  kernel_sends(50, 8900);
  Collector got;
  ASSERT_TRUE(peer->receive_until(got, [&] { return udp_frames(got) + peer->link().counters().rx_dropped >= 50; }));
  EXPECT_GT(peer->link().counters().rx_dropped, 0u);
  EXPECT_GT(udp_frames(got), 0u);
  for (const auto& f : got.frames) EXPECT_TRUE(load_be16(f.bytes, 12) != wire::kEtherIpv4 || f.bytes.size() == 14 + 20 + 8 + 8900);
}

TEST_F(PacketLinkTest, SurvivesAnInterfaceThatGoesDown) {
  FERRY_NEEDS_ROOT();
  make();
  ASSERT_TRUE(peer->ferry().shell("ip link set f0 down"));
  const OneRegion memory(random_bytes(100, 1));
  const auto p = udp_packet(peer->path, memory, {0, 100, 1}, Checksums::complete);
  ASSERT_TRUE(peer->link().send(p, memory).ok());
  peer->link().flush();
  EXPECT_EQ(peer->link().counters().tx_dropped, 1u);
  // The socket's error is read off after a bounded number of turns, so that nobody spins on it.
  Collector got;
  int turns = 0;
  for (pollfd f{peer->link().poll_fd(), POLLIN, 0}; ::poll(&f, 1, 0) == 1 && turns < 1000; ++turns) peer->link().receive(got, 64);
  EXPECT_LT(turns, 1000);
  EXPECT_GT(peer->link().counters().rx_errors, 0u);

  ASSERT_TRUE(peer->ferry().shell("ip link set f0 up"));
  ASSERT_TRUE(peer->kernel().wait_until_up("k0") && peer->ferry().wait_until_up("f0"));
  const KernelSocket s = peer->socket(SOCK_DGRAM);
  ASSERT_TRUE(peer->link().send(p, memory).ok());
  peer->link().flush();
  Bytes b(200);
  EXPECT_EQ(::recv(s.fd(), b.data(), b.size(), 0), 100);
  kernel_sends(1, 50);
  EXPECT_TRUE(peer->receive_until(got, [&] { return udp_frames(got) == 1; }));
}

// The kernel takes the tag off before packet sockets look: such a frame would seem to be one of ours.
TEST_F(PacketLinkTest, DoesNotTakeFramesOfOtherVlans) {
  FERRY_NEEDS_ROOT();
  make();
  Options any;
  any.all_frames = true;
  auto from = peer->kernel().run([&] { return open("packet:k0", any); });
  ASSERT_TRUE(from.ok()) << from.error();
  const OneRegion memory(random_bytes(100, 3));
  Path there = peer->path;
  std::swap(there.our_mac, there.their_mac);
  std::swap(there.ours, there.theirs);
  Bytes tagged = flatten(udp_packet(there, memory, {0, 100, 1}, Checksums::complete), memory);
  const std::byte tag[] = {std::byte{0x81}, std::byte{0}, std::byte{0}, std::byte{5}};  // 802.1Q, VLAN 5
  tagged.insert(tagged.begin() + 12, std::begin(tag), std::end(tag));
  buf::Packet p;
  p.tail = tagged;
  p.payload_length = static_cast<uint32_t>(tagged.size());
  ASSERT_TRUE((*from)->send(p, memory).ok());
  (*from)->flush();
  kernel_sends(1, 50);
  Collector got;
  ASSERT_TRUE(peer->receive_until(got, [&] { return udp_frames(got) >= 1; }));
  EXPECT_EQ(udp_frames(got), 1u);
}

// Kernels before 6.2 take no UDP super-frames, later ones none whose checksum is not where UDP has it: then Ferry cuts it.
TEST_F(PacketLinkTest, CutsASuperFrameThatTheKernelRefuses) {
  FERRY_NEEDS_ROOT();
  make();
  const KernelSocket s = peer->socket(SOCK_DGRAM);
  const OneRegion memory(random_bytes(5000, 2));
  auto p = udp_packet(peer->path, memory, {0, 5000, 1}, Checksums::left_to_link, 1200);
  p.offload.checksum_offset = 4;
  ASSERT_TRUE(peer->link().send(p, memory).ok());
  peer->link().flush();
  EXPECT_EQ(peer->link().counters().tx_frames, 5u);
  for (size_t i = 0; i < 5; ++i) {
    Bytes b(2000);
    const ssize_t n = ::recv(s.fd(), b.data(), b.size(), 0);
    ASSERT_EQ(n, i < 4 ? 1200 : 200);
    EXPECT_TRUE(equal_bytes(ByteSpan(b).first(static_cast<size_t>(n)), ByteSpan(memory.bytes).subspan(1200 * i, static_cast<size_t>(n))));
  }
}

}  // namespace
}  // namespace ferry::link
