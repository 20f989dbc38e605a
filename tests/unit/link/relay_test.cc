#include "link/relay.h"

#include <gtest/gtest.h>

#include <thread>

#include "link/memory.h"
#include "link/pcapng.h"
#include "unit/link/frames.h"
#include "unit/link/kernel_peer.h"

namespace ferry::link {
namespace {
using namespace testing;

struct Ends {
  std::unique_ptr<Link> a, b;
  std::unique_ptr<Relay> relay;
  Path path;
  explicit Ends(const RelayOptions& o) {
    LinkPair left = make_memory_pair(), right = make_memory_pair();
    a = std::move(left.first);
    b = std::move(right.second);
    relay = Relay::over(std::move(left.second), std::move(right.first), o);
    path = {a->capabilities().mac, b->capabilities().mac};
  }
};

TEST(Relay, CutsAndForwardsBothWays) {
  Ends e({});
  const OneRegion memory(random_bytes(60000, 1));
  ASSERT_TRUE(e.a->send(tcp_packet(e.path, memory, {0, 14480, 1}, {}, Checksums::left_to_link, 1448), memory).ok());
  ASSERT_TRUE(e.b->send(udp_packet(e.path, memory, {0, 10, 1}, Checksums::left_to_link), memory).ok());
  EXPECT_TRUE(e.relay->turn(Instant()));
  EXPECT_FALSE(e.relay->turn(Instant()));
  Collector at_b, at_a;
  EXPECT_EQ(e.b->receive(at_b, 100), 10u);
  EXPECT_EQ(e.a->receive(at_a, 100), 1u);
  for (const auto& f : at_b.frames) EXPECT_TRUE(checksums_right(f.bytes) && f.bytes.size() == 14 + 20 + 20 + 1448);
  EXPECT_TRUE(checksums_right(at_a.frames[0].bytes));
  const RelayCounters c = e.relay->counters();
  EXPECT_EQ(c.first.rx_frames, 1u);
  EXPECT_EQ(c.second.tx_frames, 10u);
  EXPECT_EQ(c.first.tx_frames, 1u);
}

TEST(Relay, ImpairsEachDirectionByItself) {
  RelayOptions o;
  o.forth.loss = 1'000'000;
  o.back.delay = Duration::ms(3);
  Ends e(o);
  const OneRegion memory(random_bytes(100, 2));
  const auto p = udp_packet(e.path, memory, {0, 10, 1}, Checksums::complete);
  ASSERT_TRUE(e.a->send(p, memory).ok());
  ASSERT_TRUE(e.b->send(p, memory).ok());
  e.relay->turn(Instant());
  EXPECT_EQ(e.relay->next_deadline(), Instant() + Duration::ms(3));
  Collector got;
  EXPECT_EQ(e.a->receive(got, 10), 0u);
  e.relay->turn(Instant() + Duration::ms(3));
  EXPECT_EQ(e.a->receive(got, 10), 1u);
  EXPECT_EQ(e.b->receive(got, 10), 0u);
  EXPECT_EQ(e.relay->counters().forth.lost, 1u);
}

TEST(Relay, SaysWhatIsWrongWithItsInterfaces) {
  EXPECT_NE(Relay::open("x0", "x0", {}).error().find("two different"), std::string::npos);
  EXPECT_NE(Relay::open("nosuch0", "nosuch1", {}).error().find("nosuch0"), std::string::npos);
}

// Two kernels with the relay in between: a TCP transfer over a path that loses, reorders and duplicates arrives whole.
TEST(Relay, JoinsTwoKernels) {
  FERRY_NEEDS_ROOT();
  NetNamespace left, middle, right;
  ASSERT_TRUE(left.ok() && middle.ok() && right.ok());
  ASSERT_TRUE(middle.shell("ip link add r0 type veth peer name l0 && ip link set l0 netns " + left.path() +
                           " && ip link add r1 type veth peer name l1 && ip link set l1 netns " + right.path() +
                           " && ip link set r0 up && ip link set r1 up"));
  ASSERT_TRUE(left.shell("ip addr add 10.77.0.1/24 dev l0 && ip link set l0 up"));
  ASSERT_TRUE(right.shell("ip addr add 10.77.0.2/24 dev l1 && ip link set l1 up"));
  RelayOptions o;
  o.forth = {.loss = 5'000, .duplicate = 5'000, .reorder = 5'000, .reorder_hold = Duration::us(200)};
  o.back = o.forth;
  char file[] = "/tmp/ferry-relay-XXXXXX";
  ::close(::mkstemp(file));
  o.capture_second = file;
  auto relay = middle.run([&] { return Relay::open("r0", "r1", o); });
  ASSERT_TRUE(relay.ok()) << relay.error();
  std::atomic<bool> stop{false};
  std::thread engine([&] { (*relay)->run(stop, Duration::ms(50), [](const RelayCounters&) {}); });

  const Bytes data = random_bytes(4 << 20, 3);
  const sockaddr_in to = KernelPeer::address(wire::Ipv4Address::of(10, 77, 0, 2), 5000);
  const KernelSocket listener = right.run([&] {
    KernelSocket s(::socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_EQ(::bind(s.fd(), reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    EXPECT_EQ(::listen(s.fd(), 1), 0);
    return s;
  });
  const KernelSocket client = left.run([&] { return KernelSocket(::socket(AF_INET, SOCK_STREAM, 0)); });
  Bytes got;
  if (::connect(client.fd(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) {
    const KernelSocket server(::accept(listener.fd(), nullptr, nullptr));
    std::thread writer([&] { EXPECT_EQ(::send(client.fd(), data.data(), data.size(), MSG_NOSIGNAL), static_cast<ssize_t>(data.size())); });
    got.resize(data.size());
    EXPECT_EQ(::recv(server.fd(), got.data(), got.size(), MSG_WAITALL), static_cast<ssize_t>(data.size()));
    writer.join();
  }
  stop = true;
  engine.join();
  EXPECT_TRUE(got == data);
  const RelayCounters c = (*relay)->counters();
  EXPECT_GT(c.forth.lost, 0u);
  relay->reset();  // writes the capture out
  auto reader = PcapngReader::open(file);
  ASSERT_TRUE(reader.ok()) << reader.error();
  uint64_t sent = 0, received = 0;
  for (CapturedFrame f; (*reader)->next(f);) ++(f.direction == Direction::outbound ? sent : received);
  EXPECT_EQ(sent, c.second.tx_frames);
  EXPECT_EQ(received, c.second.rx_frames);
  ::unlink(file);
}

}  // namespace
}  // namespace ferry::link
