// What is recorded replays identically; a changed recording is noticed; malformed files are errors, never crashes.
#include "stack/recording.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "stack/replay.h"
#include "support/memory_host.h"

namespace ferry::stack {
namespace {

struct Sink final : ByteSink {
  std::vector<std::byte> bytes;
  void write(ByteSpan b) override { bytes.insert(bytes.end(), b.begin(), b.end()); }
};

// A server and a client on one stack, some data, a datagram, an error: everything over loopback.
std::vector<std::byte> record_a_run(bool probe = false) {
  support::MemoryHost host;
  Sink sink;
  Recorder recorder(host, sink);
  Config config;
  config.seed = 42;
  config.max_sockets = 100;
  recorder.start(config);
  auto made = Stack::create(config, recorder);
  EXPECT_TRUE(made.ok());
  Stack& stack = **made;
  stack.set_observer(&recorder);
  Owner owners = 100;
  SocketId child = 0;
  host.incoming_hook = [&](Owner, SocketId id, const wire::Endpoint&, const wire::Endpoint&) {
    child = id;
    return owners++;
  };
  Instant now = Instant::from_ns(1000);
  InterfaceConfig interface;
  interface.mac = {{2, 0, 0, 0, 0, 1}};
  interface.prefix = {wire::Ipv4Address::of(10, 0, 0, 1), 24};
  interface.probe = probe;
  EXPECT_TRUE(stack.add_interface(now, interface).ok());
  EXPECT_TRUE(stack.add_route(now, {{wire::Ipv4Address::of(0, 0, 0, 0), 0}, wire::Ipv4Address::of(10, 0, 0, 2), 0}).ok());
  const auto call = [&](CallOp op, SocketId socket, auto&& fill) {
    Call c;
    c.op = op;
    c.socket = socket;
    fill(c);
    return stack.call(now, c);
  };
  const auto open = [&](SocketType type) {
    return call(CallOp::open, 0, [&](Call& c) { c.type = type, c.owner = owners++; }).socket;
  };
  const wire::Endpoint self{wire::IpAddress::from(wire::Ipv4Address::of(10, 0, 0, 1)), 80};
  const SocketId listener = open(SocketType::tcp), client = open(SocketType::tcp), udp = open(SocketType::udp);
  call(CallOp::bind, listener, [&](Call& c) { c.local = self; });
  call(CallOp::listen, listener, [](Call& c) { c.number = 5; });
  call(CallOp::connect, client, [&](Call& c) { c.remote = self; });
  call(CallOp::accept, listener, [](Call&) {});
  const std::string text(20'000, 'q');
  call(CallOp::send, client, [&](Call& c) { c.data = host.provide(101, std::as_bytes(std::span(text))); });
  call(CallOp::send_datagram, udp, [&](Call& c) {
    c.data = host.provide(102, std::as_bytes(std::span(text)).first(3000));
    c.info.remote = {wire::IpAddress::from(wire::Ipv4Address::of(10, 0, 0, 7)), 9};  // waits for ARP
  });
  for (int i = 0; i < 100 && !stack.next_deadline().is_never() && stack.next_deadline() < Instant::from_ns(10'000'000'000); ++i) {
    now = stack.next_deadline() > now ? stack.next_deadline() : now;
    stack.on_timer(now);
  }
  const std::byte garbage[50] = {};
  stack.on_frame(now, 0, {garbage, {}});
  call(CallOp::close, child, [](Call&) {});
  call(CallOp::close, client, [](Call&) {});
  ferry::destroy(&stack);
  return sink.bytes;
}

TEST(Recording, ReplaysIdentically) {
  const auto recording = record_a_run();
  auto report = replay(recording);
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->identical);
  EXPECT_FALSE(report->truncated);
  EXPECT_GT(report->inputs, 15u);
  EXPECT_GT(report->outputs, 10u);
  EXPECT_GT(report->frames_out, 0u);
}

// ferryd asks on the link whether its address is free: the probes are part of the run.
TEST(Recording, ReplaysAnInterfaceThatProbes) {
  auto report = replay(record_a_run(true));
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->identical);
  EXPECT_GT(report->frames_out, 0u);
}

TEST(Recording, ReplayShowsTheFrames) {
  struct Observer final : ReplayObserver {
    uint64_t frames = 0;
    void on_transmit(Instant, LinkIndex link, const buf::Packet& packet, const buf::Memory&) override {
      EXPECT_EQ(link, 0u);
      EXPECT_GE(packet.frame_length(), 42u);
      ++frames;
    }
  } observer;
  auto report = replay(record_a_run(), &observer);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(observer.frames, report->frames_out);
}

TEST(Recording, AnotherSeedIsNoticed) {
  auto recording = record_a_run();
  recording[6] ^= std::byte{1};  // Config::seed
  auto report = replay(recording);
  ASSERT_TRUE(report.ok());
  EXPECT_FALSE(report->identical);
}

TEST(Recording, ATruncatedRecordingIsReplayedAsFarAsItGoes) {
  const auto recording = record_a_run();
  for (size_t n = 38; n < recording.size(); n += 97) {
    auto report = replay(ByteSpan(recording).first(n));
    if (!report) continue;  // ended within the header
    EXPECT_TRUE(report->identical) << n;
  }
}

TEST(Recording, WrongFilesAreErrors) {
  EXPECT_EQ(replay({}).error(), Errc::malformed);
  auto recording = record_a_run();
  recording[4] ^= std::byte{0xff};
  EXPECT_EQ(replay(recording).error(), Errc::version_mismatch);
  recording[0] ^= std::byte{0xff};
  EXPECT_EQ(replay(recording).error(), Errc::malformed);
}

TEST(Recording, DamagedFilesDoNoHarm) {
  const auto recording = record_a_run();
  Rng rng(5);
  for (int i = 0; i < 300; ++i) {
    auto damaged = recording;
    for (uint32_t k = rng.below(5) + 1; k > 0; --k)
      damaged[38 + rng.below(static_cast<uint32_t>(damaged.size() - 38))] = std::byte{static_cast<uint8_t>(rng.next())};
    (void)replay(damaged).ok();
  }
}

}  // namespace
}  // namespace ferry::stack
