// Socket options in Linux's numbers.
#include "server/options.h"

#include <linux/tcp.h>
#include <netinet/in.h>

#include "fixture.h"

namespace ferry::server {
namespace {

namespace control = ipc::control;

class OptionsTest : public ServerTest {
 protected:
  template <typename T>
  Errc set(int level, int name, const T& value) {
    control::Request r;
    r.level = level;
    r.name = name;
    r.data_length = sizeof value;
    std::memcpy(r.data, &value, sizeof value);
    return set_option(protocols, socket(), r).error();
  }
  Errc get(int level, int name) {
    control::Request r;
    r.level = level;
    r.name = name;
    reply = {};
    return get_option(protocols, socket(), r, reply).error();
  }
  int number() {
    int n;
    std::memcpy(&n, reply.data, sizeof n);
    return n;
  }
  Socket& socket() {
    if (socket_ == nullptr) socket_ = &open(connect_client());
    return *socket_;
  }
  const stack::Call& last() { return protocols.calls.back(); }

  control::Reply reply;
  Socket* socket_ = nullptr;
};

TEST_F(OptionsTest, FlagsAreOneOrZero) {
  ASSERT_EQ(set(IPPROTO_TCP, TCP_NODELAY, 77), Errc::ok);
  EXPECT_EQ(last().option, stack::Option::no_delay);
  EXPECT_EQ(last().number, 1);
}

TEST_F(OptionsTest, BufferSizesAreDoubled) {
  ASSERT_EQ(set(SOL_SOCKET, SO_RCVBUF, 1000), Errc::ok);
  EXPECT_EQ(last().option, stack::Option::receive_buffer);
  EXPECT_EQ(last().number, 2000);
  ASSERT_EQ(set(SOL_SOCKET, SO_SNDBUF, INT32_MAX), Errc::ok);
  EXPECT_LE(last().number, INT32_MAX);
}

TEST_F(OptionsTest, Linger) {
  ASSERT_EQ(set(SOL_SOCKET, SO_LINGER, linger{1, 0}), Errc::ok);
  EXPECT_EQ(last().number, 0);
  ASSERT_EQ(set(SOL_SOCKET, SO_LINGER, linger{0, 9}), Errc::ok);
  EXPECT_EQ(last().number, -1);
  EXPECT_EQ(set(SOL_SOCKET, SO_LINGER, 1), Errc::invalid);
  protocols.option_value = 5;
  ASSERT_EQ(get(SOL_SOCKET, SO_LINGER), Errc::ok);
  linger l;
  std::memcpy(&l, reply.data, sizeof l);
  EXPECT_EQ(l.l_onoff, 1);
  EXPECT_EQ(l.l_linger, 5);
}

TEST_F(OptionsTest, CongestionControlHasNames) {
  char name[16] = "reno";
  ASSERT_EQ(set(IPPROTO_TCP, TCP_CONGESTION, name), Errc::ok);
  EXPECT_EQ(last().number, static_cast<int64_t>(tcp::cc::Algorithm::newreno));
  char unknown[16] = "warp";
  EXPECT_NE(set(IPPROTO_TCP, TCP_CONGESTION, unknown), Errc::ok);
  protocols.option_value = static_cast<int64_t>(tcp::cc::Algorithm::cubic);
  ASSERT_EQ(get(IPPROTO_TCP, TCP_CONGESTION), Errc::ok);
  EXPECT_STREQ(reinterpret_cast<const char*>(reply.data), "cubic");
}

TEST_F(OptionsTest, TypeOfServiceMayBeOneByte) {
  ASSERT_EQ(set(IPPROTO_IP, IP_TOS, uint8_t{0x10}), Errc::ok);
  EXPECT_EQ(last().number, 0x10);
  EXPECT_EQ(set(SOL_SOCKET, SO_KEEPALIVE, uint8_t{1}), Errc::invalid);
}

TEST_F(OptionsTest, UnknownOptionsAreRefused) {
  socket();
  size_t before = protocols.calls.size();
  EXPECT_EQ(set(IPPROTO_TCP, 12345, 1), Errc::no_protocol_option);
  EXPECT_EQ(set(999, 1, 1), Errc::no_protocol_option);
  EXPECT_EQ(get(IPPROTO_TCP, 12345), Errc::no_protocol_option);
  EXPECT_EQ(protocols.calls.size(), before);
}

TEST_F(OptionsTest, TcpInfoOfAnUnconnectedSocketIsClosed) {
  ASSERT_EQ(get(IPPROTO_TCP, TCP_INFO), Errc::ok);
  EXPECT_EQ(reply.value, sizeof(tcp_info));
  tcp_info i;
  std::memcpy(&i, reply.data, sizeof i);
  EXPECT_EQ(i.tcpi_state, static_cast<uint8_t>(tcp::State::closed));
}

TEST_F(OptionsTest, TheErrorIsTakenOnce) {
  Socket& s = socket();
  protocols.socket_info.error = Errc::reset;
  s.on_events(static_cast<uint32_t>(tcp::Event::failed));
  run();
  ASSERT_EQ(get(SOL_SOCKET, SO_ERROR), Errc::ok);
  EXPECT_EQ(static_cast<Errc>(number()), Errc::reset);
  ASSERT_EQ(get(SOL_SOCKET, SO_ERROR), Errc::ok);
  EXPECT_EQ(number(), 0);
}

}  // namespace
}  // namespace ferry::server
