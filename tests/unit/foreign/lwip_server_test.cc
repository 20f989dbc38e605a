// lwIP's TCP behind the interface of protocol servers, against Ferry's own: lifetimes of sockets, pcbs and the stack. lwIP's state is one
// per process and cannot be had anew, so the tests of this file run in a process each, as ctest has it; in one they are skipped.
#include "foreign/lwip_server.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <utility>

#include "support/stack_pair.h"
#include "wire/ipv4.h"

namespace ferry::foreign {
namespace {

using stack::bit;
using stack::Event;
using stack::SocketId;
using support::StackPair;

constexpr int kLwip = 0, kOwn = 1;

class LwipServers : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = LwipServer::create();
    if (!made) GTEST_SKIP() << "lwIP was used by a test before this one";
    server_ = std::move(*made);
    StackPair::Setup setup;
    setup.own_tcp[kLwip] = false;
    pair_ = std::make_unique<StackPair>(setup);
    ASSERT_TRUE(pair_->stack(kLwip).add_server(*server_));
  }
  // The order in which ferryd has them go.
  void TearDown() override {
    pair_.reset();
    server_.reset();
  }
  std::unique_ptr<LwipServer> server_;
  std::unique_ptr<StackPair> pair_;
};

TEST_F(LwipServers, OutliveTheirStackWithConnectionsOpen) {
  const SocketId listener = pair_->listener(kOwn, 80);
  const auto idle = pair_->connected(kLwip, listener, 80);
  const auto closing = pair_->connected(kLwip, listener, 80);
  EXPECT_EQ(pair_->send(kLwip, idle.client, "under way"), Errc::ok);
  EXPECT_EQ(pair_->send(kLwip, closing.client, std::string(3 * TCP_SND_BUF, 'x')), Errc::ok);
  EXPECT_EQ(pair_->close(kLwip, closing.client), Errc::ok);
  pair_.reset();
  server_.reset();
}

TEST_F(LwipServers, ForgetAListenerWithConnectionsHalfOpen) {
  const SocketId listener = pair_->listener(kLwip, 80);
  const SocketId client = pair_->open(kOwn);
  int frames = 0;
  pair_->filter = [&](int side, std::vector<std::byte>&) { return side != kOwn || ++frames < 3; };  // the last ACK of the handshake is lost
  EXPECT_EQ(pair_->connect(kOwn, client, StackPair::at(kLwip, 80)), Errc::in_progress);
  pair_->run();
  EXPECT_EQ(pair_->close(kLwip, listener), Errc::ok);
  pair_->filter = {};
  (void)pair_->send(kOwn, client, "who is there");
  pair_->run(Duration::seconds(30));
  EXPECT_NE(pair_->events_of(kOwn, client) & bit(Event::failed), 0u);
}

TEST_F(LwipServers, AcceptWhatItsPeerHasResetAlready) {
  const SocketId listener = pair_->listener(kLwip, 80);
  const SocketId client = pair_->queued(kOwn, 80);
  pair_->set(kOwn, client, stack::Option::linger, 0);
  EXPECT_EQ(pair_->close(kOwn, client), Errc::ok);
  pair_->run();
  const stack::CallResult accepted = pair_->accept(kLwip, listener);
  ASSERT_EQ(accepted.error, Errc::ok);
  EXPECT_EQ(pair_->info(kLwip, accepted.socket).error, Errc::reset);
  EXPECT_EQ(pair_->close(kLwip, accepted.socket), Errc::ok);
  EXPECT_NE(pair_->events_of(kLwip, accepted.socket) & bit(Event::closed), 0u);
}

// Its last bytes come with the FIN, and there is no room for them: lwIP has no place for them any more, nor offers them again.
TEST_F(LwipServers, KeepTheLastBytesUntilThereIsRoom) {
  const SocketId listener = pair_->listener(kOwn, 80);
  const auto c = pair_->connected(kLwip, listener, 80);
  EXPECT_EQ(pair_->shutdown(kLwip, c.client, 2), Errc::ok);
  pair_->run();
  bool full = true, lost = false;
  pair_->host(kLwip).refuse_place = [&] { return full; };
  pair_->filter = [&](int side, std::vector<std::byte>&) { return side != kOwn || std::exchange(lost, true); };  // the FIN overtakes them
  EXPECT_EQ(pair_->send(kOwn, c.server, "last"), Errc::ok);
  EXPECT_EQ(pair_->close(kOwn, c.server), Errc::ok);
  pair_->run(Duration::seconds(3));
  EXPECT_TRUE(lost);
  EXPECT_EQ(pair_->receive(kLwip, c.client), "");
  EXPECT_EQ(pair_->events_of(kLwip, c.client) & bit(Event::peer_closed), 0u);
  full = false;
  pair_->run(Duration::seconds(1));
  EXPECT_EQ(pair_->receive(kLwip, c.client), "last");
  EXPECT_NE(pair_->events_of(kLwip, c.client) & bit(Event::peer_closed), 0u);
}

// All of its window in one packet, as Linux may leave it to a link to cut (BIG TCP): more than lwIP, or the packet's own header, can count.
TEST_F(LwipServers, TakeAPacketThatIsLongerThanItCanSay) {
  const SocketId listener = pair_->listener(kLwip, 80);
  const auto c = pair_->connected(kOwn, listener, 80);
  std::vector<std::byte> frame;
  pair_->filter = [&](int side, std::vector<std::byte>& f) {
    if (side == kOwn && f.size() > 1000 && frame.empty()) frame = f;
    return false;
  };
  std::string text(TCP_WND, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7 + i / 251);
  ASSERT_EQ(pair_->send(kOwn, c.client, text), Errc::ok);
  ASSERT_FALSE(frame.empty());
  auto ip = wire::Ipv4Fields::parse(*wire::Ipv4View::parse_quoted(ByteSpan(frame).subspan(14)));
  const size_t headers = 14 + 20 + (static_cast<size_t>(frame[14 + 20 + 12]) >> 4) * 4;
  frame.resize(headers + text.size());
  std::memcpy(frame.data() + headers, text.data(), text.size());
  ASSERT_GT(frame.size(), 14u + 65'535u);
  ip->total_length = 0;
  ip->emit(MutableByteSpan(frame).subspan(14));
  buf::Offload uncut{.checksum_valid = true, .gso_type = buf::GsoType::tcp_v4, .gso_size = 1460};
  pair_->stack(kLwip).on_frame(pair_->now(), 0, {frame, uncut});
  EXPECT_EQ(pair_->receive(kLwip, c.server), text);
}

// Whatever programs and the wire do, in any order: nothing is used after its end, and no payload memory twice.
TEST_F(LwipServers, SurviveAnythingInAnyOrder) {
  std::mt19937 random(7);
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  uint32_t loss = 0;
  pair_->filter = [&](int, std::vector<std::byte>&) { return random() % 100 >= loss; };
  std::vector<SocketId> sockets[2], listeners[2];
  for (int step = 0; step < 20000; ++step) {
    const int side = static_cast<int>(below(2));
    auto& all = sockets[side];
    if (step % 100 == 0) {
      loss = below(4) == 0 ? static_cast<uint32_t>(below(40)) : 0;
      pair_->refuse_incoming = below(10) == 0;
      const bool full = below(10) == 0;
      for (int i : {0, 1}) pair_->host(i).refuse_place = [&random, full] { return full && random() % 2 == 0; };
    }
    if (listeners[side].size() < 2) {
      const SocketId s = pair_->open(side);
      const auto port = static_cast<uint16_t>(80 + listeners[side].size());
      (void)pair_->set(side, s, stack::Option::reuse_address, 1);
      if (pair_->bind(side, s, StackPair::any(port)) == Errc::ok && pair_->listen(side, s, 3) == Errc::ok) listeners[side].push_back(s);
      else (void)pair_->close(side, s);
    }
    const size_t action = below(100);
    if (action < 25 && all.size() < 30) {
      const SocketId s = pair_->open(side);
      (void)pair_->set(side, s, stack::Option::linger, below(8) == 0 ? 0 : -1);
      (void)pair_->connect(side, s, StackPair::at(1 - side, static_cast<uint16_t>(80 + below(3))));
      all.push_back(s);
    } else if (action < 40 && !listeners[side].empty()) {
      if (const auto accepted = pair_->accept(side, listeners[side][below(listeners[side].size())]); accepted.error == Errc::ok)
        all.push_back(accepted.socket);
    } else if (action < 42 && !listeners[side].empty()) {
      (void)pair_->close(side, listeners[side].back());
      listeners[side].pop_back();
    } else if (action < 50) {
      pair_->run(Duration::ms(static_cast<int64_t>(below(20) == 0 ? 3000 : below(30))));
    } else if (!all.empty()) {
      const size_t which = below(all.size());
      const SocketId s = all[which];
      if (action < 65) (void)pair_->send(side, s, std::string(1 + below(below(4) == 0 ? 200000 : 2000), 'x'));
      else if (action < 82) (void)pair_->receive(side, s);
      else if (action < 87) (void)pair_->shutdown(side, s, static_cast<int>(1 + below(3)));
      else if (action < 89) (void)pair_->connect(side, s, {});
      else {
        (void)(action < 97 ? pair_->close(side, s) : pair_->abort(side, s));
        all.erase(all.begin() + static_cast<ptrdiff_t>(which));
      }
    }
  }
  EXPECT_GT(pair_->counter(kLwip, "tcp_connections_accepted"), 100u);
  EXPECT_GT(pair_->counter(kOwn, "tcp_connections_accepted"), 100u);
  for (int side : {0, 1}) EXPECT_TRUE(pair_->host(side).faults().empty()) << pair_->host(side).faults().front();
}

}  // namespace
}  // namespace ferry::foreign
