// Packet, tap and xdp links against the real stack of the Linux kernel: every combination of segmentation and checksum that the kernel
// must accept from us, and everything it sends to us.
#include "unit/link/kernel_peer.h"

#include <gtest/gtest.h>

#include <thread>

namespace ferry::link {
namespace {
using namespace testing;

Options plain() {
  Options o;
  o.plain_receive = true;
  return o;
}

constexpr uint32_t kBig = 196'608;

Options big() {
  Options o;
  o.gso_max_size = kBig;
  return o;
}

class AgainstKernel : public ::testing::TestWithParam<LinkKind> {
 protected:
  void SetUp() override {
    FERRY_NEEDS_ROOT();
    peer.emplace(GetParam());
    ASSERT_TRUE(peer->ready()) << peer->error();
  }
  bool segments() { return peer->link().capabilities().max_gso > 0; }
  // How a link gets frames from a stack that knows what it can.
  Checksums usual() { return peer->link().capabilities().checksum_tx ? Checksums::left_to_link : Checksums::complete; }
  // The next datagram at the kernel's socket, empty when none came.
  static Bytes datagram(const KernelSocket& s) {
    Bytes b(70000);
    const ssize_t n = ::recv(s.fd(), b.data(), b.size(), 0);
    b.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return b;
  }
  std::optional<KernelPeer> peer;
};

TEST_P(AgainstKernel, ItTakesDatagramsWithCompleteAndPartialChecksums) {
  const KernelSocket s = peer->socket(SOCK_DGRAM);
  const OneRegion memory(random_bytes(2000, 1));
  for (const uint32_t length : {1u, 18u, 500u, 1472u}) {
    for (const Checksums how : {Checksums::complete, usual()}) {
      ASSERT_TRUE(peer->link().send(udp_packet(peer->path, memory, {5, length, 1}, how), memory).ok());
      peer->link().flush();
      EXPECT_EQ(datagram(s), Bytes(memory.bytes.begin() + 5, memory.bytes.begin() + 5 + length));
    }
  }
}

// The control: the kernel does look at checksums here, so the other tests mean something.
TEST_P(AgainstKernel, ItDropsWrongChecksums) {
  const KernelSocket s = peer->socket(SOCK_DGRAM);
  const OneRegion memory(random_bytes(2000, 2));
  ASSERT_TRUE(peer->link().send(udp_packet(peer->path, memory, {0, 700, 1}, Checksums::wrong), memory).ok());
  ASSERT_TRUE(peer->link().send(udp_packet(peer->path, memory, {0, 10, 1}, Checksums::complete), memory).ok());
  peer->link().flush();
  EXPECT_EQ(datagram(s).size(), 10u);
}

TEST_P(AgainstKernel, ItTakesUdpSuperSegments) {
  if (!segments()) return;
  const KernelSocket s = peer->socket(SOCK_DGRAM);
  const OneRegion memory(random_bytes(60000, 3));
  ASSERT_TRUE(peer->link().send(udp_packet(peer->path, memory, {0, 5000, 1}, Checksums::left_to_link, 1200), memory).ok());
  peer->link().flush();
  for (size_t i = 0; i < 5; ++i) {
    const size_t n = i < 4 ? 1200 : 200;
    EXPECT_EQ(datagram(s), Bytes(memory.bytes.begin() + static_cast<ptrdiff_t>(1200 * i), memory.bytes.begin() + static_cast<ptrdiff_t>(1200 * i + n)));
  }
}

TEST_P(AgainstKernel, ABatchKeepsItsOrder) {
  const KernelSocket s = peer->socket(SOCK_DGRAM);
  const OneRegion memory(random_bytes(2000, 4));
  // More than one stage of small frames, with a large one in the middle.
  for (uint32_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(peer->link().send(udp_packet(peer->path, memory, {i, 10, 1}, usual()), memory).ok());
    if (i != 50 || !segments()) continue;
    ASSERT_TRUE(peer->link().send(udp_packet(peer->path, memory, {0, 1800, 1}, Checksums::left_to_link, 900), memory).ok());
  }
  peer->link().flush();
  for (uint32_t i = 0; i < 100; ++i) {
    EXPECT_EQ(datagram(s), Bytes(memory.bytes.begin() + i, memory.bytes.begin() + i + 10)) << i;
    if (i != 50 || !segments()) continue;
    EXPECT_EQ(datagram(s), Bytes(memory.bytes.begin(), memory.bytes.begin() + 900));
    EXPECT_EQ(datagram(s), Bytes(memory.bytes.begin() + 900, memory.bytes.begin() + 1800));
  }
}

TEST_P(AgainstKernel, ItTakesTcpSuperSegments) {
  const KernelSocket listener = peer->socket(SOCK_STREAM);
  MiniTcp tcp(*peer);
  ASSERT_TRUE(tcp.connect());
  const KernelSocket s(::accept(listener.fd(), nullptr, nullptr));
  ASSERT_GE(s.fd(), 0);
  const OneRegion data(random_bytes(200000, 5));
  uint32_t at = 0;
  const uint32_t most = peer->link().capabilities().max_gso;
  for (const uint32_t length : {1u, 1460u, 1461u, 20000u, 40000u, 120000u}) {
    if (length > 1460 && length > most) continue;
    ASSERT_TRUE(tcp.send(data, at, length, 1460)) << length;
    Bytes got(length);
    ASSERT_EQ(::recv(s.fd(), got.data(), length, MSG_WAITALL), static_cast<ssize_t>(length));
    EXPECT_EQ(got, Bytes(data.bytes.begin() + at, data.bytes.begin() + at + length));
    at += length;
  }
}

void receive_stream(KernelPeer& peer, MiniTcp& tcp) {
  const KernelSocket listener = peer.socket(SOCK_STREAM);
  ASSERT_TRUE(tcp.connect());
  const KernelSocket s(::accept(listener.fd(), nullptr, nullptr));
  ASSERT_GE(s.fd(), 0);
  const Bytes data = random_bytes(3'000'000, 6);
  std::thread writer([&] { EXPECT_EQ(::send(s.fd(), data.data(), data.size(), MSG_NOSIGNAL), static_cast<ssize_t>(data.size())); });
  EXPECT_TRUE(tcp.receive(data.size()));
  writer.join();
  EXPECT_TRUE(tcp.received == data);
  EXPECT_EQ(tcp.bad_checksums, 0u);
}

TEST_P(AgainstKernel, WeReceiveWhatItStreams) {
  MiniTcp tcp(*peer);
  receive_stream(*peer, tcp);
  if (GetParam().ethtool.empty()) {
    EXPECT_GT(tcp.super_frames, 0u);
  } else {
    EXPECT_EQ(tcp.super_frames, 0u);
  }
  EXPECT_EQ(tcp.largest > buf::kMaxIpPacket + wire::kEthernetHeaderBytes, GetParam().kernel_gso != 0) << tcp.largest;
}

TEST_P(AgainstKernel, PayloadIsPlacedWhereTheOwnerWants) {
  MiniTcp tcp(*peer);
  const bool places = peer->link().set_placer(&tcp);
  EXPECT_EQ(places, !GetParam().tap && GetParam().kind == "packet" && !GetParam().options.plain_receive);
  receive_stream(*peer, tcp);
  EXPECT_EQ(tcp.abandoned, 0u);
  EXPECT_EQ(tcp.placed_frames > 0, places && GetParam().ethtool.empty());  // small frames come whole
}

// Frames for others, and for no address of ours, do not arrive; broadcasts do, but by xdp, which leaves them to the kernel.
TEST_P(AgainstKernel, OnlyOurFramesArrive) {
  const KernelSocket s = peer->kernel().run([] { return KernelSocket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
  const int one = 1;
  ASSERT_EQ(::setsockopt(s.fd(), SOL_SOCKET, SO_BROADCAST, &one, sizeof one), 0);
  ASSERT_TRUE(peer->kernel().shell("ip neigh replace 10.77.0.9 lladdr 02:00:00:00:00:99 dev k0 nud permanent"));
  const auto send_to = [&](wire::Ipv4Address to, uint16_t port) {
    const sockaddr_in a = KernelPeer::address(to, port);
    EXPECT_EQ(::sendto(s.fd(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&a), sizeof a), 1);
  };
  send_to(wire::Ipv4Address::of(10, 77, 0, 9), 1);
  send_to(wire::Ipv4Address::of(10, 77, 0, 255), 2);
  send_to(wire::Ipv4Address::of(10, 77, 0, 2), 3);
  Collector got;
  std::vector<uint16_t> ports;
  ASSERT_TRUE(peer->receive_until(got, [&] {
    ports.clear();
    for (const auto& f : got.frames)
      if (load_be16(f.bytes, 12) == wire::kEtherIpv4 && f.bytes[23] == std::byte{17}) ports.push_back(load_be16(f.bytes, 36));
    return !ports.empty() && ports.back() == 3;
  }));
  EXPECT_EQ(ports, GetParam().kind == "xdp" ? (std::vector<uint16_t>{3}) : (std::vector<uint16_t>{2, 3}));
}

TEST_P(AgainstKernel, AFrameThatNoWireCarriesIsRefused) {
  const OneRegion memory(random_bytes(3000, 7));
  EXPECT_EQ(peer->link().send(udp_packet(peer->path, memory, {0, 1473, 1}, Checksums::complete), memory).error(), Errc::malformed);
  EXPECT_EQ(peer->link().counters().tx_errors, 1u);
}

INSTANTIATE_TEST_SUITE_P(Links, AgainstKernel,
                         ::testing::Values(LinkKind{"PacketRing", false, {}, ""}, LinkKind{"PacketPlain", false, plain(), ""},
                                           LinkKind{"PacketWithoutOffloads", false, {}, "tx off rx off tso off gso off gro off"},
                                           LinkKind{"PacketBig", false, big(), "", "packet", kBig}, LinkKind{"Tap", true, {}, ""}, LinkKind{"Xdp", false, {}, "tx off", "xdp"}),
                         [](const auto& i) { return std::string(i.param.name); });

}  // namespace
}  // namespace ferry::link
