// SCTP by usrsctp behind the interface of protocol servers: one-to-many sockets of one stack that talk to each other. usrsctp's state is one
// per process and cannot be had anew, so the tests of this file run in a process each, as ctest has it; in one they are skipped.
#include "foreign/usrsctp_server.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <linux/sctp.h>

#include <cstring>
#include <map>
#include <random>

#include "support/stack_pair.h"

namespace ferry::foreign {
namespace {

using stack::bit;
using stack::Call;
using stack::CallOp;
using stack::CallResult;
using stack::Event;
using stack::MessageInfo;
using stack::SocketId;
using stack::SocketType;
using support::StackPair;

constexpr uint16_t kPort = 7000;

struct Message {
  MessageInfo info;
  std::string text;
  bool is_notification() const { return (info.flags & MessageInfo::kNotification) != 0; }
  // Of SCTP_SNDRCV.
  sctp_sndrcvinfo sndrcv() const {
    sctp_sndrcvinfo i{};
    if (info.control_type == SCTP_SNDRCV) std::memcpy(&i, info.control, sizeof i);
    return i;
  }
  // State of an association's change, -1: something else.
  int change() const {
    sctp_assoc_change c;
    if (!is_notification() || text.size() < sizeof c) return -1;
    std::memcpy(&c, text.data(), sizeof c);
    return c.sac_type == SCTP_ASSOC_CHANGE ? c.sac_state : -1;
  }
};

class UsrsctpSockets : public ::testing::Test {
 protected:
  void SetUp() override {
    static bool used = false;
    if (used) GTEST_SKIP() << "usrsctp was used by a test before this one";
    used = true;
    auto made = UsrsctpServer::create();
    ASSERT_TRUE(made.ok());
    server_ = std::move(*made);
    pair_ = std::make_unique<StackPair>();
    ASSERT_TRUE(pair_->stack(0).add_server(*server_));
    pair_->host(0).message_hook = [this](stack::Owner owner, const MessageInfo& info, ByteSpan payload) {
      if (refuse_) return Status(Errc::no_buffers);
      inbox_[owner].push_back({info, std::string(reinterpret_cast<const char*>(payload.data()), payload.size())});
      return Status();
    };
  }
  void TearDown() override {
    pair_.reset();
    server_.reset();
  }

  CallResult call(CallOp op, SocketId socket, int64_t number = 0) {
    Call c;
    c.op = op;
    c.socket = socket;
    c.number = number;
    return pair_->call(0, c);
  }
  SocketId open(SocketType type = SocketType::sctp_many) {
    const SocketId s = pair_->open(0, type);
    sctp_event_subscribe all;
    std::memset(&all, 1, sizeof all);
    EXPECT_EQ(set(s, SCTP_EVENTS, &all, sizeof all), Errc::ok);
    return s;
  }
  SocketId listener() {
    const SocketId s = open();
    EXPECT_EQ(pair_->bind(0, s, StackPair::any(kPort)), Errc::ok);
    EXPECT_EQ(pair_->listen(0, s), Errc::ok);
    return s;
  }
  Errc set(SocketId s, int name, const void* value, size_t length) {
    Call c;
    c.op = CallOp::set_protocol_option;
    c.socket = s;
    c.number = name;
    c.value = ByteSpan(static_cast<const std::byte*>(value), length);
    return pair_->call(0, c).error;
  }
  // To an address (port 0: to an association).
  Errc send(SocketId s, const std::string& text, uint16_t port, uint32_t association = 0, uint16_t flags = 0) {
    sctp_sndrcvinfo given{};
    given.sinfo_assoc_id = static_cast<sctp_assoc_t>(association);
    given.sinfo_flags = flags;
    MessageInfo info;
    if (port != 0) info.remote = StackPair::at(0, port);
    info.control_type = SCTP_SNDRCV;
    info.control_length = sizeof given;
    std::memcpy(info.control, &given, sizeof given);
    return send(s, text, info);
  }
  Errc send(SocketId s, const std::string& text, const MessageInfo& info) {
    Call c;
    c.op = CallOp::send_message;
    c.socket = s;
    c.message = &info;
    const stack::Owner owner = pair_->owner_of(0, s);
    c.data = pair_->host(0).provide(owner, std::as_bytes(std::span(text)));
    const Errc error = pair_->call(0, c).error;
    pair_->host(0).withdraw(owner);  // usrsctp has copied it, or refused it
    pair_->run();
    return error;
  }
  std::vector<Message> take(SocketId s) { return std::exchange(inbox_[pair_->owner_of(0, s)], {}); }
  // The data that came, and whose association it came from last.
  std::string data(SocketId s, uint32_t* association = nullptr) {
    std::string text;
    for (const Message& m : take(s)) {
      if (m.is_notification()) continue;
      text += m.text;
      if (association != nullptr) *association = static_cast<uint32_t>(m.sndrcv().sinfo_assoc_id);
    }
    return text;
  }

  std::unique_ptr<UsrsctpServer> server_;
  std::unique_ptr<StackPair> pair_;
  std::map<stack::Owner, std::vector<Message>> inbox_;
  bool refuse_ = false;
};

TEST_F(UsrsctpSockets, BeginAssociationsBySending) {
  const SocketId server = listener();
  std::vector<SocketId> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(open());
    EXPECT_EQ(send(clients.back(), "number " + std::to_string(i), kPort), Errc::ok);
  }
  std::map<uint32_t, std::string> seen;
  int up = 0;
  for (const Message& m : take(server)) {
    up += m.change() == SCTP_COMM_UP;
    if (!m.is_notification()) seen[static_cast<uint32_t>(m.sndrcv().sinfo_assoc_id)] = m.text;
  }
  EXPECT_EQ(up, 10);
  ASSERT_EQ(seen.size(), 10u);
  EXPECT_EQ(pair_->counter(0, "sctp_associations"), 20u);
  for (const auto& [association, text] : seen) EXPECT_EQ(send(server, "you are " + text, 0, association), Errc::ok);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(data(clients[static_cast<size_t>(i)]), "you are number " + std::to_string(i));
  EXPECT_EQ(pair_->close(0, server), Errc::ok);
  pair_->run(Duration::ms(500));
  for (const SocketId client : clients) {
    int state = -1;
    for (const Message& m : take(client))
      if (m.change() >= 0) state = m.change();
    EXPECT_EQ(state, SCTP_SHUTDOWN_COMP);
  }
  EXPECT_EQ(pair_->counter(0, "sctp_associations"), 0u);
}

TEST_F(UsrsctpSockets, RefuseWhatNobodyIsThereFor) {
  const SocketId s = open();
  for (uint32_t number : {0u, 1u, 2u, 3u, 0x7fffffffu, 0xffffffffu}) {
    const uint64_t before = pair_->counter(0, "drop_sctp_no_association");
    EXPECT_EQ(send(s, "x", 0, number), Errc::ok);
    EXPECT_EQ(pair_->counter(0, "drop_sctp_no_association"), before + 1);
    EXPECT_EQ(call(CallOp::accept, s, number).error, Errc::invalid);
  }
  EXPECT_EQ(send(s, "", kPort, 0, SCTP_EOF), Errc::invalid);
  EXPECT_EQ(send(s, "", kPort, 0, SCTP_ABORT), Errc::invalid);
  EXPECT_EQ(pair_->counter(0, "sctp_associations"), 0u);
  EXPECT_EQ(send(s, "nobody listens", kPort), Errc::ok);
  int state = -1;
  for (const Message& m : take(s))
    if (m.change() >= 0) state = m.change();
  EXPECT_EQ(state, SCTP_CANT_STR_ASSOC);
  EXPECT_EQ(pair_->counter(0, "sctp_associations"), 0u);
}

TEST_F(UsrsctpSockets, PeelOffLeavesTheOthersAlone) {
  const SocketId server = listener();
  const SocketId first = open(), second = open();
  uint32_t association = 0;
  EXPECT_EQ(send(first, "one", kPort), Errc::ok);
  EXPECT_EQ(data(server, &association), "one");
  EXPECT_EQ(send(second, "two", kPort), Errc::ok);
  const CallResult peeled = call(CallOp::accept, server, association);
  ASSERT_EQ(peeled.error, Errc::ok);
  EXPECT_EQ(pair_->info(0, peeled.socket).type, static_cast<uint8_t>(SocketType::sctp));
  EXPECT_EQ(call(CallOp::accept, server, association).error, Errc::invalid);
  EXPECT_EQ(send(first, "more", kPort), Errc::ok);
  EXPECT_EQ(data(peeled.socket), "more");
  EXPECT_EQ(data(server), "two");
  EXPECT_EQ(send(peeled.socket, "from the peeled one", MessageInfo{}), Errc::ok);
  EXPECT_EQ(data(first), "from the peeled one");
  EXPECT_EQ(pair_->close(0, server), Errc::ok);
  pair_->run(Duration::ms(500));
  EXPECT_EQ(send(first, "still there", kPort), Errc::ok);
  EXPECT_EQ(data(peeled.socket), "still there");
}

TEST_F(UsrsctpSockets, EndAPeeledAssociationByShutdown) {
  const SocketId server = listener(), client = open();
  uint32_t association = 0;
  EXPECT_EQ(send(client, "one", kPort), Errc::ok);
  EXPECT_EQ(data(server, &association), "one");
  const CallResult peeled = call(CallOp::accept, server, association);
  ASSERT_EQ(peeled.error, Errc::ok);
  EXPECT_EQ(call(CallOp::shutdown, peeled.socket, 2).error, Errc::ok);
  pair_->run(Duration::seconds(1));
  EXPECT_NE(pair_->events_of(0, peeled.socket) & bit(Event::peer_closed), 0u);
  EXPECT_EQ(send(peeled.socket, "late", MessageInfo{}), Errc::broken_pipe);
  EXPECT_EQ(pair_->close(0, peeled.socket), Errc::ok);
}

// As connect(2) of TCP on Linux: refused, it can be tried again, by the same socket.
TEST_F(UsrsctpSockets, ConnectAgainAfterTheyWereRefused) {
  const SocketId client = open(SocketType::sctp);
  const stack::Owner owner = pair_->owner_of(0, client);
  const sctp_initmsg streams{3, 3, 0, 0};
  EXPECT_EQ(set(client, SCTP_INITMSG, &streams, sizeof streams), Errc::ok);
  uint32_t told = 0;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pair_->connect(0, client, StackPair::at(0, kPort)), Errc::in_progress) << i;
    pair_->run();
    EXPECT_EQ(pair_->info(0, client).error, Errc::refused) << i;
    told = pair_->events(0, owner);
    EXPECT_NE(told & bit(Event::failed), 0u);
    EXPECT_EQ(told & bit(Event::established), 0u);
    EXPECT_EQ(pair_->counter(0, "sctp_associations"), 0u);
  }
  const SocketId server = open(SocketType::sctp);
  EXPECT_EQ(pair_->bind(0, server, StackPair::any(kPort)), Errc::ok);
  EXPECT_EQ(pair_->listen(0, server), Errc::ok);
  EXPECT_EQ(pair_->connect(0, client, StackPair::at(0, kPort)), Errc::in_progress);
  pair_->run();
  EXPECT_NE(pair_->events(0, owner) & bit(Event::established), 0u);
  const CallResult accepted = call(CallOp::accept, server);
  ASSERT_EQ(accepted.error, Errc::ok);
  EXPECT_EQ(send(client, "at last", MessageInfo{}), Errc::ok);
  EXPECT_EQ(data(accepted.socket), "at last");
  sctp_initmsg now{};
  auto length = pair_->stack(0).protocol_option(client, SCTP_INITMSG, std::as_writable_bytes(std::span(&now, 1)), sizeof now);
  ASSERT_TRUE(length.ok());
  EXPECT_EQ(now.sinit_num_ostreams, 3);
  EXPECT_EQ(pair_->counter(0, "sctp_associations"), 2u);
}

// As Linux: accept(2) picks up what has ended in the meantime, and finds what came.
TEST_F(UsrsctpSockets, AcceptWhatItsPeerHasEndedAlready) {
  const SocketId server = open(SocketType::sctp), client = open(SocketType::sctp);
  EXPECT_EQ(pair_->bind(0, server, StackPair::any(kPort)), Errc::ok);
  EXPECT_EQ(pair_->listen(0, server), Errc::ok);
  EXPECT_EQ(pair_->connect(0, client, StackPair::at(0, kPort)), Errc::in_progress);
  pair_->run();
  EXPECT_EQ(send(client, "and goodbye", MessageInfo{}), Errc::ok);
  EXPECT_EQ(pair_->close(0, client), Errc::ok);
  pair_->run(Duration::seconds(1));
  EXPECT_EQ(pair_->info(0, server).receive_queue, 1u);
  const CallResult accepted = call(CallOp::accept, server);
  ASSERT_EQ(accepted.error, Errc::ok);
  EXPECT_EQ(data(accepted.socket), "and goodbye");
  EXPECT_NE(pair_->events_of(0, accepted.socket) & bit(Event::peer_closed), 0u);
  EXPECT_EQ(pair_->events_of(0, accepted.socket) & bit(Event::closed), 0u);
  EXPECT_EQ(send(accepted.socket, "late", MessageInfo{}), Errc::broken_pipe);
  call(CallOp::consumed, accepted.socket, 1);
  EXPECT_NE(pair_->events_of(0, accepted.socket) & bit(Event::closed), 0u);
  EXPECT_EQ(pair_->close(0, accepted.socket), Errc::ok);
  EXPECT_EQ(call(CallOp::accept, server).error, Errc::again);
  EXPECT_EQ(pair_->counter(0, "sctp_associations"), 0u);
}

TEST_F(UsrsctpSockets, AcceptWhatItsPeerHasAbortedAlready) {
  const SocketId server = open(SocketType::sctp), client = open(SocketType::sctp);
  EXPECT_EQ(pair_->bind(0, server, StackPair::any(kPort)), Errc::ok);
  EXPECT_EQ(pair_->listen(0, server), Errc::ok);
  EXPECT_EQ(pair_->connect(0, client, StackPair::at(0, kPort)), Errc::in_progress);
  pair_->run();
  pair_->set(0, client, stack::Option::linger, 0);
  EXPECT_EQ(pair_->close(0, client), Errc::ok);
  pair_->run(Duration::seconds(1));
  EXPECT_EQ(pair_->info(0, server).receive_queue, 1u);
  const CallResult accepted = call(CallOp::accept, server);
  ASSERT_EQ(accepted.error, Errc::ok);
  EXPECT_EQ(pair_->info(0, accepted.socket).error, Errc::reset);
  EXPECT_EQ(pair_->events_of(0, accepted.socket) & bit(Event::closed), 0u) << "there is somebody who will close it";
  EXPECT_EQ(pair_->close(0, accepted.socket), Errc::ok);
  EXPECT_NE(pair_->events_of(0, accepted.socket) & bit(Event::closed), 0u);
  EXPECT_EQ(pair_->close(0, server), Errc::ok);
  EXPECT_EQ(pair_->counter(0, "sctp_associations"), 0u);
}

TEST_F(UsrsctpSockets, PeelOffWithoutRoomAborts) {
  const SocketId server = listener(), client = open();
  uint32_t association = 0;
  EXPECT_EQ(send(client, "one", kPort), Errc::ok);
  EXPECT_EQ(data(server, &association), "one");
  pair_->refuse_incoming = true;
  EXPECT_EQ(call(CallOp::accept, server, association).error, Errc::no_buffers);
  pair_->refuse_incoming = false;
  pair_->run(Duration::ms(500));
  bool lost = false;
  for (const Message& m : take(client)) lost |= m.change() == SCTP_COMM_LOST;
  EXPECT_TRUE(lost);
  EXPECT_EQ(pair_->counter(0, "sctp_associations"), 0u);
}

TEST_F(UsrsctpSockets, KeepTheAddressThatTheyAreBoundTo) {
  const SocketId server = open();
  EXPECT_EQ(pair_->bind(0, server, StackPair::loopback(kPort)), Errc::ok);
  EXPECT_EQ(pair_->listen(0, server), Errc::ok);
  const SocketId client = open();
  EXPECT_EQ(send(client, "to another address", kPort), Errc::ok);
  pair_->run(Duration::ms(500));
  EXPECT_TRUE(take(server).empty());
  EXPECT_EQ(pair_->counter(0, "sctp_associations"), 0u);
}

TEST_F(UsrsctpSockets, KeepInputWhileTheHostHasNoRoom) {
  const SocketId server = listener(), client = open();
  refuse_ = true;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(send(client, std::to_string(i), kPort), Errc::ok);
  EXPECT_TRUE(take(server).empty());
  refuse_ = false;
  call(CallOp::consumed, server, 1);
  EXPECT_EQ(data(server), "01234");
}

// Options, control messages and numbers that mean nothing, while associations are there.
TEST_F(UsrsctpSockets, SurviveNoise) {
  const SocketId server = listener(), client = open(), one = open(SocketType::sctp);
  EXPECT_EQ(send(client, "hello", kPort), Errc::ok);
  EXPECT_EQ(pair_->connect(0, one, StackPair::at(0, kPort)), Errc::in_progress);
  pair_->run();
  std::mt19937 random(7);
  const SocketId all[] = {server, client, one};
  for (int round = 0; round < 4000; ++round) {
    const SocketId s = all[random() % 3];
    std::byte value[256];
    for (std::byte& b : value) b = static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 6);
    const int name = static_cast<int>(random() % 132);
    const size_t length = random() % (sizeof value + 1);
    switch (random() % 4) {
      case 0: (void)set(s, name, value, length); break;
      case 1: (void)pair_->stack(0).protocol_option(s, name, MutableByteSpan(value, sizeof value), length); break;
      case 2: {
        MessageInfo info;
        info.control_type = static_cast<uint16_t>(random() % 5);
        info.control_length = static_cast<uint16_t>(random() % 33);
        std::memcpy(info.control, value, sizeof info.control);
        if (random() % 2 == 0) info.remote = StackPair::at(static_cast<int>(random() % 2), static_cast<uint16_t>(random()));
        (void)send(s, std::string(random() % 2000, 'n'), info);
        break;
      }
      default:
        if (random() % 16 == 0) pair_->run(Duration::ms(40));
        (void)call(CallOp::accept, s, static_cast<int64_t>(random() % 8));
        (void)call(CallOp::consumed, s, random());
        break;
    }
    if (round % 100 == 0) inbox_.clear();
  }
  for (const SocketId s : all) EXPECT_EQ(pair_->close(0, s), Errc::ok);
  pair_->run(Duration::seconds(1));
}

}  // namespace
}  // namespace ferry::foreign
