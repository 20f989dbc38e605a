// Control connections: what a hostile client may try there.
#include "fixture.h"

namespace ferry::server {
namespace {

namespace control = ipc::control;

class ClientTest : public ServerTest {
 protected:
  void send_op(control::Op op = control::Op::interfaces) {
    control::Request r;
    r.op = static_cast<uint32_t>(op);
    ASSERT_EQ(ipc::send_request(connections[0].get(), r), 0);
  }
  // Bounded rounds of the poller.
  void serve(int rounds = 5) {
    for (int i = 0; i < rounds; ++i) poller.wait(Duration::zero());
  }
};

TEST_F(ClientTest, AnswersARequestWithItsSequence) {
  connect_client();
  control::Request request;
  request.op = static_cast<uint32_t>(control::Op::interfaces);
  request.sequence = 42;
  ASSERT_EQ(ipc::send_request(connections[0].get(), request), 0);
  serve();
  control::Reply reply;
  ipc::DescriptorList fds;
  ASSERT_EQ(ipc::receive_reply(connections[0].get(), reply, fds), 0);
  EXPECT_EQ(reply.sequence, 42u);
  EXPECT_EQ(reply.value, 7u);
}

TEST_F(ClientTest, AMessageOfTheWrongSizeDropsTheClient) {
  Client& client = connect_client();
  ASSERT_EQ(send(connections[0].get(), "garbage", 7, 0), 7);
  serve();
  EXPECT_TRUE(client.gone());
  EXPECT_TRUE(handler.requests.empty());
  EXPECT_EQ(counters.protocol_violations, 1u);
}

TEST_F(ClientTest, ADataLengthBeyondTheMessageDropsTheClient) {
  Client& client = connect_client();
  control::Request request;
  request.data_length = control::kMaxData + 1;
  ASSERT_EQ(ipc::send_request(connections[0].get(), request), 0);
  serve();
  EXPECT_TRUE(client.gone());
  EXPECT_TRUE(handler.requests.empty());
}

TEST_F(ClientTest, TooManyDescriptorsDropTheClientAndAreClosed) {
  Client& client = connect_client();
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  control::Request request;
  iovec v{&request, sizeof request};
  int many[100];
  for (int& fd : many) fd = pair[1];
  alignas(cmsghdr) char ancillary[CMSG_SPACE(sizeof many)] = {};
  msghdr m{};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = ancillary;
  m.msg_controllen = sizeof ancillary;
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof many);
  std::memcpy(CMSG_DATA(c), many, sizeof many);
  ASSERT_EQ(sendmsg(connections[0].get(), &m, 0), static_cast<ssize_t>(sizeof request));
  serve();
  EXPECT_TRUE(client.gone());
  close(pair[1]);
  char byte;
  EXPECT_EQ(recv(pair[0], &byte, 1, MSG_DONTWAIT), 0) << "somebody still has the other end";
  close(pair[0]);
}

TEST_F(ClientTest, AClientThatDoesNotReadItsRepliesIsDropped) {
  Client& client = connect_client();
  for (int i = 0; i < 10000 && !client.gone(); ++i) {
    control::Request request;
    iovec v{&request, sizeof request};
    msghdr m{};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    sendmsg(connections[0].get(), &m, MSG_DONTWAIT);
    serve(1);
  }
  EXPECT_TRUE(client.gone());
  EXPECT_GE(counters.control_replies_lost, 1u);
}

TEST_F(ClientTest, OneClientsRequestsAreBoundedPerTurn) {
  connect_client();
  for (uint32_t i = 0; i < ctx.limits.requests_per_turn + 5; ++i) send_op();
  poller.wait(Duration::zero());
  EXPECT_EQ(handler.requests.size(), ctx.limits.requests_per_turn);
  poller.wait(Duration::zero());
  EXPECT_EQ(handler.requests.size(), ctx.limits.requests_per_turn + 5);
}

TEST_F(ClientTest, WhileAnAnswerIsDueNoOtherRequestIsTaken) {
  Client& client = connect_client();
  handler.defer = true;
  send_op();
  send_op();
  serve();
  EXPECT_EQ(handler.requests.size(), 1u);
  control::Reply reply;
  ipc::DescriptorList none;
  client.finish(reply, none);
  serve();
  EXPECT_EQ(handler.requests.size(), 2u);
}

// A program that closes a socket which another of its threads is just using.
TEST_F(ClientTest, ASlotWhoseRingsAreInUseIsNotGivenToAnotherSocket) {
  Client& client = connect_client();
  Socket& first = open(client);
  const uint32_t slot = first.slot_in(*client.channel());
  abi::SocketShared& words = client.channel()->shared(slot);
  words.rx_lock = abi::kLockHeld;
  words.waiters = 1;
  const auto end = [&](Socket& s) {
    ks.back().reset();
    run();
    s.on_events(static_cast<uint32_t>(tcp::Event::closed));
    run();
  };
  end(first);
  ASSERT_EQ(words.mode, uint32_t{abi::kModeFree});
  EXPECT_NE(words.rx_lock & abi::kLockRevoked, 0u);
  Socket& second = open(client);
  EXPECT_NE(second.slot_in(*client.channel()), slot);
  words.rx_lock = abi::kLockRevoked;  // unlock
  const uint32_t seen = words.event_seq;
  Socket& third = open(client);
  EXPECT_EQ(third.slot_in(*client.channel()), slot);
  EXPECT_EQ(words.rx_lock, 0u);
  EXPECT_EQ(words.waiters, 1u);  // as in a passage: it counts itself out
  EXPECT_GE(words.event_seq, seen);
}

TEST_F(ClientTest, HangUpReleasesTheChannel) {
  Client& client = connect_client();
  connections[0].reset();
  serve();
  EXPECT_TRUE(client.gone());
  EXPECT_EQ(handler.forgotten, 1);
  ASSERT_EQ(handler.orphans.size(), 1u);
  EXPECT_TRUE(handler.orphans[0]->unreferenced());
}

TEST_F(ClientTest, CredentialsAreThoseOfTheMessage) {
  Client& client = connect_client();
  send_op();
  serve();
  EXPECT_EQ(client.credentials().uid, geteuid());
  EXPECT_EQ(client.credentials().pid, getpid());
}

}  // namespace
}  // namespace ferry::server
