// A stack rebuilt from its records goes on where the other stopped; records that are no records are refused.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "stack/record.h"
#include "support/stack_pair.h"
#include "tcp/connection.h"

namespace ferry::stack {
namespace {

using support::StackPair;

TEST(SaveRestore, AConnectionGoesOn) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  p.send(0, c.client, "before");
  p.run();
  p.filter = [](int, std::vector<std::byte>&) { return false; };
  p.send(0, c.client, " during");  // lost: only the record knows of it
  p.filter = nullptr;
  p.rebuild(0);
  p.rebuild(1);
  p.run(Duration::seconds(2));
  EXPECT_EQ(p.send(0, c.client, " after"), Errc::ok);
  p.run(Duration::seconds(1));
  EXPECT_EQ(p.receive(1, c.server), "before during after");
  EXPECT_EQ(p.send(1, c.server, "back"), Errc::ok);
  p.run(Duration::seconds(1));
  EXPECT_EQ(p.receive(0, c.client), "back");
  p.close(0, c.client);
  p.close(1, c.server);
  p.run(Duration::seconds(1));
  EXPECT_EQ(p.host(0).total_outstanding(), 0u);
  EXPECT_TRUE(p.host(0).faults().empty());
  EXPECT_EQ(p.counter(0, "sockets"), 0u);
}

TEST(SaveRestore, ListenersKeepTheirQueues) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const SocketId a = p.queued(0, 80), b = p.queued(0, 80);
  p.rebuild(1);
  EXPECT_EQ(p.info(1, l).receive_queue, 2u);
  EXPECT_EQ(p.accept(1, l).remote, p.info(0, a).local);
  EXPECT_EQ(p.accept(1, l).remote, p.info(0, b).local);
  const auto c = p.connected(0, l, 80);  // and it still listens
  EXPECT_NE(c.server, 0u);
}

TEST(SaveRestore, AQueueKeepsWhatWasResetInIt) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const SocketId a = p.queued(0, 80), b = p.queued(0, 80);
  const wire::Endpoint first = p.info(0, a).local;
  p.set(0, a, Option::linger, 0);
  p.close(0, a);
  p.run();
  p.rebuild(1);
  const CallResult accepted = p.accept(1, l);
  EXPECT_EQ(accepted.remote, first);
  EXPECT_EQ(p.info(1, accepted.socket).error, Errc::reset);
  EXPECT_EQ(p.accept(1, l).remote, p.info(0, b).local);
}

TEST(SaveRestore, AConnectBeginsAnew) {
  StackPair p;
  p.listener(1, 80);
  const SocketId s = p.open(0);
  p.connect(0, s, StackPair::at(1, 80));
  p.rebuild(0);  // the SYN may be on its way
  p.run(Duration::seconds(3));
  EXPECT_EQ(p.info(0, s).tcp_state, static_cast<uint8_t>(tcp::State::established));
}

TEST(SaveRestore, DatagramSocketsAndBoundSocketsKeepTheirPorts) {
  StackPair p;
  const SocketId u = p.open(1, SocketType::udp), connected = p.open(1, SocketType::udp), plain = p.open(1);
  p.bind(1, u, StackPair::any(2000));
  p.bind(1, connected, StackPair::any(2001));
  p.connect(1, connected, StackPair::at(0, 1000));
  p.bind(1, plain, StackPair::at(1, 443));
  p.set(1, plain, Option::keep_idle, 77);
  p.rebuild(1);
  const SocketId a = p.open(0, SocketType::udp);
  p.bind(0, a, StackPair::any(1000));
  p.send_to(0, a, "x", StackPair::at(1, 2000));
  p.send_to(0, a, "y", StackPair::at(1, 2001));
  p.run();
  ASSERT_EQ(p.datagrams[1].size(), 2u);
  EXPECT_EQ(p.datagrams[1][0].owner, p.owner_of(1, u));
  EXPECT_EQ(p.datagrams[1][1].owner, p.owner_of(1, connected));
  EXPECT_EQ(p.info(1, plain).local, StackPair::at(1, 443));
  EXPECT_EQ(*p.stack(1).option(plain, Option::keep_idle), 77);
  const SocketId other = p.open(1);
  EXPECT_EQ(p.bind(1, other, StackPair::at(1, 443)), Errc::address_in_use);
}

TEST(SaveRestore, TimeWaitGoesOn) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  p.close(0, c.client);
  p.run();
  p.close(1, c.server);
  p.run(Duration::seconds(30));
  p.rebuild(0);
  EXPECT_EQ(p.counter(0, "tcp_time_waits"), 1u);
  p.run(Duration::seconds(31));
  EXPECT_EQ(p.counter(0, "tcp_time_waits"), 0u);
}

std::vector<std::byte> record_of(StackPair& p, SocketId s) {
  std::vector<std::byte> room(kMaxRecordBytes);
  auto n = p.stack(0).save(s, room);
  EXPECT_TRUE(n.ok());
  room.resize(n ? *n : 0);
  return room;
}

TEST(SaveRestore, SaveSaysWhatItCannot) {
  StackPair p;
  std::byte room[10];
  EXPECT_EQ(p.stack(0).save(1234, room).error(), Errc::bad_socket);
  EXPECT_EQ(p.stack(0).save(p.open(0), room).error(), Errc::no_buffers);
}

TEST(SaveRestore, ARecordIsRestoredOnce) {
  StackPair p;
  const auto record = record_of(p, p.listener(0, 80));
  EXPECT_EQ(p.stack(0).restore(p.now(), record).error, Errc::address_in_use);
}

TEST(SaveRestore, DamagedRecordsAreRefusedAndLeaveNothing) {
  StackPair p;
  const SocketId l = p.listener(1, 80);
  const auto c = p.connected(0, l, 80);
  p.send(0, c.client, "some data");
  const SocketId u = p.open(0, SocketType::udp);
  p.bind(0, u, StackPair::any(2000));
  std::vector<std::vector<std::byte>> records{record_of(p, c.client), record_of(p, u), record_of(p, p.listener(0, 90))};
  auto wrong_version = records[0];
  wrong_version[4] ^= std::byte{1};
  StackPair fresh;
  EXPECT_EQ(fresh.stack(0).restore(fresh.now(), wrong_version).error, Errc::version_mismatch);
  Rng rng(11);
  for (const auto& record : records) {
    for (size_t n = 0; n < record.size(); ++n)
      EXPECT_NE(fresh.stack(0).restore(fresh.now(), ByteSpan(record).first(n)).error, Errc::ok) << n;
    EXPECT_EQ(fresh.counter(0, "sockets"), 0u);
  }
  for (int i = 0; i < 20000; ++i) {  // whatever is accepted must be harmless
    auto record = records[rng.below(3)];
    for (uint32_t k = rng.below(4) + 1; k > 0; --k)
      record[rng.below(static_cast<uint32_t>(record.size()))] = std::byte{static_cast<uint8_t>(rng.next())};
    StackPair::Setup setup;
    if (i % 200 == 0) {
      fresh.run(Duration::seconds(100));
    }
    fresh.stack(0).restore(fresh.now(), record);
  }
  fresh.run(Duration::seconds(1));
}

}  // namespace
}  // namespace ferry::stack
