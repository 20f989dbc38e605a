// The loop around a link with a clock: what a decorator delays is on time, and nobody spins while it waits. And around sockets that never rest.
#include "server/engine.h"

#include <sys/eventfd.h>
#include <time.h>

#include <algorithm>

#include "fixture.h"
#include "link/decorators/impair.h"
#include "link/memory.h"
#include "link/no_memory.h"
#include "wire/arp.h"
#include "wire/ethernet.h"

namespace ferry::server {
namespace {

constexpr auto kOurs = wire::Ipv4Address::of(10, 9, 0, 1), kPeers = wire::Ipv4Address::of(10, 9, 0, 2);
constexpr Duration kPatience = Duration::seconds(10);

Instant monotonic() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return Instant::from_ns(int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec);
}

// The other end of the link: looks for answers in every turn, and ends a sleep that lasts too long (an engine that forgets its link's
// deadline would sleep for ever).
class Peer final : public TurnPart, private link::FrameSink {
 public:
  void on_turn() override { end->receive(*this, 100); }
  Instant next_deadline() const override { return answered.is_never() ? latest : Instant(); }

  std::unique_ptr<link::Link> end;
  const Instant latest = monotonic() + kPatience;
  Instant answered = Instant::never();

 private:
  void on_frame(const buf::Frame& frame) override {
    auto arp = wire::ArpView::parse(frame.bytes.subspan(wire::kEthernetHeaderBytes));
    if (arp.ok() && arp->operation() == wire::kArpReply && arp->sender_ip() == kOurs) answered = monotonic();
  }
};

class EngineTest : public testing::Test {
 protected:
  void start(const link::ImpairOptions& options) {
    auto [ours, theirs] = link::make_memory_pair();
    peer.end = std::move(theirs);
    auto stack = stack::Stack::create({}, engine.host());
    ASSERT_TRUE(stack.ok());
    engine.set_stack(*stack);
    stack::InterfaceConfig interface;
    interface.mac = ours->capabilities().mac;
    interface.prefix = {kOurs, 24};
    std::vector<std::unique_ptr<link::Link>> links;
    links.push_back(link::make_impair(std::move(ours), options));
    engine.set_links(std::move(links));
    ASSERT_TRUE(engine.stack().add_interface(engine.context().now, interface).ok());
    engine.serve(handler, peer);
    engine.listen(UniqueFd(eventfd(0, EFD_CLOEXEC)));
  }

  // The peer asks who has our address.
  void ask() {
    wire::ArpFields request;
    request.sender_mac = peer.end->capabilities().mac;
    request.sender_ip = kPeers;
    request.target_ip = kOurs;
    std::byte frame[wire::kEthernetHeaderBytes + wire::kArpBytes];
    wire::EthernetFields ethernet;
    ethernet.destination = wire::MacAddress::broadcast();
    ethernet.source = request.sender_mac;
    ethernet.type = wire::kEtherArp;
    ethernet.emit(frame);
    request.emit(MutableByteSpan(frame).subspan(wire::kEthernetHeaderBytes));
    buf::Packet packet;
    packet.tail = frame;
    packet.payload_length = sizeof frame;
    ASSERT_TRUE(peer.end->send(packet, link::NoMemory()).ok());
  }
  void run_until_answered() {
    engine.run([&] { return !peer.answered.is_never() || monotonic() >= peer.latest; });
    EXPECT_FALSE(peer.answered.is_never());
  }

  FakeHandler handler;
  Peer peer;
  Engine engine{{.limits = {.clients_per_uid = 2}, .spin_max = Duration::zero()}};
};

TEST_F(EngineTest, ALinkThatDelaysIsOnTimeAndCostsNoTurns) {
  link::ImpairOptions options;
  options.receive.delay = Duration::ms(5);
  options.transmit.delay = Duration::ms(7);
  start(options);
  const Instant asked = monotonic();
  ask();
  run_until_answered();
  EXPECT_GE(peer.answered - asked, Duration::ms(12));
  EXPECT_LT(peer.answered - asked, Duration::seconds(1));
  EXPECT_GE(engine.context().counters.sleeps, 2u);
  EXPECT_LT(engine.context().counters.turns, 50u);
}

TEST_F(EngineTest, ALinkWithoutAClockAnswersInTheTurn) {
  start({});
  ask();
  run_until_answered();
  EXPECT_EQ(engine.context().counters.sleeps, 0u);
}

TEST_F(EngineTest, OneUserHasSoManyConnectionsAndNoMore) {
  start({});
  const std::string path = "/tmp/ferry-engine-test." + std::to_string(getpid());
  engine.listen(UniqueFd(static_cast<int>(ipc::listen_control(path, 16))));
  std::vector<UniqueFd> idle;
  for (int i = 0; i < 6; ++i) idle.emplace_back(static_cast<int>(ipc::connect_control(path)));
  unlink(path.c_str());
  ask();
  const Counters& counted = engine.context().counters;
  engine.run([&] { return counted.clients_total == 6 || monotonic() >= peer.latest; });
  EXPECT_EQ(counted.clients, 4u);
  EXPECT_EQ(counted.clients_refused, 2u);
  idle.pop_back(), idle.front().reset();
  engine.run([&] { return counted.clients == 3 || monotonic() >= peer.latest; });
  EXPECT_EQ(counted.clients, 3u);
}

// A client with UDP sockets, each of which sends to the one before it.
class BusyEngineTest : public EngineTest {
 protected:
  static constexpr uint32_t kSockets = 100;
  void SetUp() override {
    auto stack = stack::Stack::create({}, engine.host());
    ASSERT_TRUE(stack.ok());
    engine.set_stack(*stack);
    engine.set_links({});
    stack::InterfaceConfig interface;
    interface.prefix = {kSelf, 8};
    interface.loopback = true;
    ASSERT_TRUE(engine.stack().add_interface(engine.context().now, interface).ok());
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    const int on = 1;
    setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    connection.reset(ends[1]);
    ipc::ChannelConfig config;
    config.max_sockets = kSockets;
    config.output_size = config.input_size = 1 << 20;
    auto channel = ChannelMemory::create(config, {getpid(), getuid()});
    ASSERT_TRUE(channel.ok());
    engine.serve(handler, turns);
    engine.add_client(UniqueFd(ends[0]), *channel, UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), false);
    engine.for_each_client([this](Client& c) { client = &c; });
    for (uint32_t i = 0; i < kSockets; ++i) open(i);
  }
  // The channel goes before the memory that it is in.
  void TearDown() override {
    client->drop("");
    take_turns(20);
    handler.orphans.clear();
  }
  void open(uint32_t i) {
    Socket& s = engine.sockets().create(stack::SocketType::udp);
    stack::Call call;
    call.op = stack::CallOp::bind;
    ASSERT_EQ(s.come_to_use(), Errc::ok);
    call.socket = s.id();
    call.local = {wire::IpAddress::from(kSelf), static_cast<uint16_t>(2000 + i)};
    ASSERT_EQ(engine.call(call).error, Errc::ok);
    shared.push_back(&client->channel()->shared(s.attach(*client->channel())));
    sockets.push_back(&s);
    abi::DatagramHeader header{};
    std::memcpy(header.remote_address, call.local.address.octets.data(), 16);
    header.remote_port = static_cast<uint16_t>(2000 + (i + kSockets - 1) % kSockets);
    std::memcpy(output(i), &header, sizeof header);
  }
  std::byte* output(uint32_t i) {
    return const_cast<std::byte*>(client->channel()->at(client->channel()->output_area().offset + i * sizeof(abi::DatagramHeader)));
  }
  // An empty datagram.
  void send(uint32_t i) {
    const auto at = static_cast<uint64_t>(output(i) - client->channel()->at(0));
    shared[i]->tx[shared[i]->tx_produced % abi::kRingEntries] = {at, sizeof(abi::DatagramHeader), 0, 0};
    store_release(shared[i]->tx_produced, shared[i]->tx_produced + 1);
    sockets[i]->on_doorbell();
  }
  void take_turns(uint32_t n) {
    engine.run([end = engine.context().counters.turns + n, this] { return engine.context().counters.turns >= end; });
  }
  auto count(uint32_t abi::SocketShared::*index) const {
    return std::count_if(shared.begin(), shared.end(), [=](const abi::SocketShared* s) { return load_relaxed(s->*index) != 0; });
  }

  struct Turns final : TurnPart {
    void on_turn() override {}
    Instant next_deadline() const override { return Instant(); }
  };
  static constexpr auto kSelf = wire::Ipv4Address::of(127, 0, 0, 1);
  Turns turns;
  UniqueFd connection;
  Client* client = nullptr;
  std::vector<Socket*> sockets;
  std::vector<abi::SocketShared*> shared;
};

TEST_F(BusyEngineTest, ATurnRunsSoManySocketsAndTheNextOneGoesOn) {
  take_turns(20);
  for (uint32_t i = 0; i < kSockets; ++i) send(i);
  take_turns(1);
  EXPECT_GT(count(&abi::SocketShared::tx_taken), 0);
  EXPECT_LT(count(&abi::SocketShared::tx_taken), kSockets);
  take_turns(1);
  EXPECT_EQ(count(&abi::SocketShared::tx_taken), kSockets);  // before any of the others, which have input now, is there again
  take_turns(2);
  EXPECT_EQ(count(&abi::SocketShared::rx_produced), kSockets);
}

TEST_F(BusyEngineTest, ASocketThatIsMarkedAgainInATurnCountsAgain) {
  take_turns(20);
  for (uint32_t i = 0; i < kSockets / 2; ++i) send(i);
  take_turns(1);
  EXPECT_EQ(count(&abi::SocketShared::tx_taken), kSockets / 2);
  EXPECT_LT(count(&abi::SocketShared::rx_produced), kSockets / 2);  // those that have got something after their run need another one
  take_turns(1);
  EXPECT_EQ(count(&abi::SocketShared::rx_produced), kSockets / 2);
}

}  // namespace
}  // namespace ferry::server
