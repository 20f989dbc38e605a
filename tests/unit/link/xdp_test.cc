// What only xdp links do: the kernel beside Ferry on one interface, frames of several pages, several queues, and the program that goes
// when its process goes.
#include "link/xdp.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include "unit/link/kernel_peer.h"
#include "wire/arp.h"

namespace ferry::link {
namespace {
using namespace testing;

Options ours() {
  Options o;
  o.address = wire::Ipv4Address::of(10, 77, 0, 2);
  return o;
}

class XdpLinkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FERRY_NEEDS_ROOT();
    veth.emplace("tx off");
    ASSERT_TRUE(veth->ok());
  }
  Outcome<std::unique_ptr<Link>> open_in_ferry(const std::string& options = "") {
    return veth->ferry.run([&] { return open("xdp:f0" + options, ours()); });
  }
  std::string refusal(const std::string& options = "") {
    auto link = open_in_ferry(options);
    return link.ok() ? "" : link.error();
  }
  static KernelSocket datagram_socket(const NetNamespace& where, wire::Ipv4Address address, uint16_t port) {
    return where.run([&] {
      KernelSocket s(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      const sockaddr_in a = KernelPeer::address(address, port);
      EXPECT_EQ(::bind(s.fd(), reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
      return s;
    });
  }
  // Whether a datagram gets from one kernel socket to the other.
  static bool passes(const KernelSocket& from, const KernelSocket& to, wire::Ipv4Address address, uint16_t port) {
    const sockaddr_in a = KernelPeer::address(address, port);
    char got = 0;
    return ::sendto(from.fd(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 1 && ::recv(to.fd(), &got, 1, 0) == 1 && got == 'x';
  }
  // Until `frames` have come, or three seconds have passed.
  static void receive_some(Link& link, Collector& got, size_t frames) {
    for (int i = 0; i < 300 && got.frames.size() < frames; ++i) {
      pollfd p{link.poll_fd(), POLLIN, 0};
      (void)::poll(&p, 1, 10);
      link.receive(got, 64);
    }
  }
  bool has_program() const { return veth->ferry.shell("ip link show f0 | grep -q xdp"); }
  std::optional<VethPair> veth;
};

void expect_says(const std::string& text, const std::string& words) { EXPECT_NE(text.find(words), std::string::npos) << text; }

TEST_F(XdpLinkTest, SaysThatItNeitherSumsNorSegments) {
  auto link = open_in_ferry();
  ASSERT_TRUE(link.ok()) << link.error();
  const Capabilities& can = (*link)->capabilities();
  EXPECT_FALSE(can.checksum_tx || can.checksum_rx);
  EXPECT_EQ(can.max_gso, 0u);
  EXPECT_EQ(can.mtu, 1500u);
  EXPECT_EQ((*link)->name(), "xdp:f0");
  const OneRegion memory(random_bytes(3000, 1));
  const Path path{can.mac, can.mac};
  EXPECT_EQ((*link)->send(udp_packet(path, memory, {0, 100, 1}, Checksums::left_to_link), memory).error(), Errc::malformed);
  EXPECT_EQ((*link)->send(udp_packet(path, memory, {0, 3000, 1}, Checksums::complete, 1000), memory).error(), Errc::malformed);
  EXPECT_EQ((*link)->counters().tx_errors, 2u);
}

TEST_F(XdpLinkTest, TheProgramGoesWithTheLink) {
  {
    auto link = open_in_ferry();
    ASSERT_TRUE(link.ok()) << link.error();
    EXPECT_TRUE(has_program());
    expect_says(refusal(), "another XDP program is on interface f0");
  }
  EXPECT_FALSE(has_program());
  EXPECT_EQ(refusal(), "");
}

TEST_F(XdpLinkTest, TheProgramGoesWithAProcessThatIsKilled) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    auto link = open_in_ferry();
    const char said = link.ok() ? '1' : '0';
    if (::write(ready[1], &said, 1) == 1)
      for (;;) ::pause();
    ::_exit(1);
  }
  char said = 0;
  ASSERT_EQ(::read(ready[0], &said, 1), 1);
  EXPECT_EQ(said, '1');
  EXPECT_TRUE(has_program());
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  for (int i = 0; i < 100 && has_program(); ++i) ::usleep(20'000);  // the kernel tidies up behind it
  EXPECT_FALSE(has_program());
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(XdpLinkTest, ExplainsWhatItCannot) {
  expect_says(refusal(",queues=40"), "f0 has");
  expect_says(refusal(",zerocopy"), "cannot do without a copy");
  EXPECT_FALSE(has_program());
}

// The kernel has an address of its own on the interface: each gets what is its.
TEST_F(XdpLinkTest, TheKernelLivesBesideIt) {
  ASSERT_TRUE(veth->ferry.shell("ip addr add 10.77.0.3/24 dev f0"));
  auto link = open_in_ferry();
  ASSERT_TRUE(link.ok()) << link.error();
  const KernelSocket beside = datagram_socket(veth->ferry, wire::Ipv4Address::of(10, 77, 0, 3), 7);
  const KernelSocket peer = datagram_socket(veth->kernel, wire::Ipv4Address::of(10, 77, 0, 1), 8);
  EXPECT_TRUE(passes(peer, beside, wire::Ipv4Address::of(10, 77, 0, 3), 7));
  EXPECT_TRUE(passes(beside, peer, wire::Ipv4Address::of(10, 77, 0, 1), 8));
  Collector got;
  while ((*link)->receive(got, 64) > 0) {
  }
  for (const auto& f : got.frames) ADD_FAILURE() << "the kernel's frame came to Ferry, type " << load_be16(f.bytes, 12);
  // Who has 10.77.0.2? Only Ferry hears that.
  const sockaddr_in to = KernelPeer::address(wire::Ipv4Address::of(10, 77, 0, 2), 9);
  EXPECT_EQ(::sendto(peer.fd(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), 1);
  receive_some(**link, got, 1);
  ASSERT_FALSE(got.frames.empty());
  for (const auto& f : got.frames) {
    EXPECT_EQ(load_be16(f.bytes, 12), wire::kEtherArp);
    EXPECT_EQ(load_be32(f.bytes, 38), wire::Ipv4Address::of(10, 77, 0, 2).value);
  }
}

// Both ways through frames of three pages, on kernels that can.
TEST_F(XdpLinkTest, FramesOfSeveralPages) {
  ASSERT_TRUE(veth->ferry.shell("ip link set f0 mtu 9000") && veth->kernel.shell("ip link set k0 mtu 9000"));
  auto link = open_in_ferry();
  if (!link.ok() && link.error().find("Linux 6.6") != std::string::npos) GTEST_SKIP() << link.error();
  ASSERT_TRUE(link.ok()) << link.error();
  const Path path{(*link)->capabilities().mac, veth->kernel.run([] { return find_interface("k0"); })->mac};
  ASSERT_TRUE(veth->kernel.shell("ip neigh replace 10.77.0.2 lladdr " + to_string(path.our_mac) + " dev k0 nud permanent"));
  const KernelSocket s = datagram_socket(veth->kernel, path.theirs, path.their_port);
  const OneRegion memory(random_bytes(9000, 2));
  const sockaddr_in to = KernelPeer::address(path.ours, path.our_port);
  for (const uint32_t length : {100u, 3000u, 4100u, 8972u}) {
    ASSERT_TRUE((*link)->send(udp_packet(path, memory, {0, length, 1}, Checksums::complete), memory).ok());
    (*link)->flush();
    Bytes b(10000);
    ASSERT_EQ(::recv(s.fd(), b.data(), b.size(), 0), static_cast<ssize_t>(length));
    b.resize(length);
    EXPECT_EQ(b, Bytes(memory.bytes.begin(), memory.bytes.begin() + length));
    ASSERT_EQ(::sendto(s.fd(), b.data(), length, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), static_cast<ssize_t>(length));
    Collector got;
    receive_some(**link, got, 1);
    ASSERT_EQ(got.frames.size(), 1u) << length;
    ASSERT_EQ(got.frames[0].bytes.size(), 42u + length);
    EXPECT_TRUE(equal_bytes(ByteSpan(got.frames[0].bytes).subspan(42), b));
    EXPECT_TRUE(checksums_right(got.frames[0].bytes));
  }
}

TEST_F(XdpLinkTest, SeveralQueues) {
  ASSERT_TRUE(veth->kernel.shell("ethtool -L k0 rx 2 tx 2") && veth->ferry.shell("ethtool -L f0 rx 2 tx 2"));
  auto link = open_in_ferry(",queues=2,copy");
  ASSERT_TRUE(link.ok()) << link.error();
  ASSERT_TRUE(veth->kernel.shell("ip neigh replace 10.77.0.2 lladdr " + to_string((*link)->capabilities().mac) + " dev k0 nud permanent"));
  // Many flows: the kernel spreads them over its queues, and every datagram arrives.
  for (uint16_t port = 1; port <= 64; ++port) {
    const KernelSocket s = veth->kernel.run([] { return KernelSocket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
    const sockaddr_in to = KernelPeer::address(wire::Ipv4Address::of(10, 77, 0, 2), port);
    ASSERT_EQ(::sendto(s.fd(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to), 1);
  }
  Collector got;
  receive_some(**link, got, 64);
  EXPECT_EQ(got.frames.size(), 64u);
  EXPECT_EQ((*link)->counters().rx_dropped, 0u);
}

// More than the chunks at hand, in one go: what is refused was not sent, and everything else arrives.
TEST_F(XdpLinkTest, AFullQueueSaysSo) {
  auto link = open_in_ferry();
  ASSERT_TRUE(link.ok()) << link.error();
  const Path path{(*link)->capabilities().mac, veth->kernel.run([] { return find_interface("k0"); })->mac};
  const OneRegion memory(random_bytes(100, 3));
  uint32_t sent = 0;
  Status last;
  for (int i = 0; i < 10000 && last.ok(); ++i) {
    last = (*link)->send(udp_packet(path, memory, {0, 100, 1}, Checksums::complete), memory);
    sent += last.ok();
  }
  EXPECT_EQ(last.error(), Errc::again);
  EXPECT_GT(sent, 1000u);
  EXPECT_EQ((*link)->counters().tx_frames, sent);
  for (int i = 0; i < 100 && last.error() == Errc::again; ++i) {
    (*link)->flush();
    last = (*link)->send(udp_packet(path, memory, {0, 100, 1}, Checksums::complete), memory);
  }
  EXPECT_TRUE(last.ok());
}

}  // namespace
}  // namespace ferry::link
