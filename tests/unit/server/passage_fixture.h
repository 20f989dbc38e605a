// Two clients that may share memory, and a connection between them that a passage is made of when it lasts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "fixture.h"
#include "ipc/passage.h"

namespace ferry::server {

class PassageTest : public ServerTest {
 protected:
  using CallOp = stack::CallOp;

  void SetUp() override {
    first = &connect_client();
    second = &connect_client();
    first->channel()->allow_peers();
    second->channel()->allow_peers();
    a = &open(*first);
    b = &open(*second);
    connect(*a, *b);
  }
  // One connection, and no other, is between sockets of ours.
  void connect(Socket& x, Socket& y) { protocols.twins = {{x.id(), y.owner()}, {y.id(), x.owner()}}; }
  void touch(Socket& s, int times) {
    for (int i = 0; i < times; ++i) ring(s);
  }
  void enter() {
    touch(*a, 40);
    ASSERT_TRUE(a->in_passage());
    ASSERT_TRUE(b->in_passage());
  }
  abi::SocketShared& words(Client& c, Socket& s) { return shared(c, s); }
  void receive_more_than_the_ring_holds(Socket& s) {
    const uint32_t pass_after = std::exchange(ctx.limits.pass_after, 1000);
    for (uint32_t i = 0; i < abi::kRingEntries + 1; ++i) {
      ASSERT_TRUE(receive(s, std::string(1000, 'x')));
      run();
    }
    ctx.limits.pass_after = pass_after;
  }
  // Whether the program's output is held back.
  bool is_held(Client& c, Socket& s) { return (shared(c, s).tx_lock & abi::kLockRevoked) != 0; }
  ipc::PeerRegionView view() { return first->channel()->peer_region(0)->view(); }
  abi::PassageEnd& end(Client& c, Socket& s) {
    abi::SocketShared& w = shared(c, s);
    return view().end(w.passage, w.passage_side);
  }
  // As the client of `s` does it.
  void pass(Client& c, Socket& s, std::string_view text) {
    abi::SocketShared& w = shared(c, s);
    std::byte* ring = view().ring(w.passage, w.passage_side);
    abi::PassageEnd& e = end(c, s);
    for (char byte : text) ring[(e.produced++ - e.base) % abi::kPassageBytes] = static_cast<std::byte>(byte);
  }
  // Bytes that came, up to `most`, through a pool that has room for some of them only.
  size_t read_in_parts(Client& client, Socket& socket, size_t most) {
    size_t got = 0;
    for (int i = 0; i < 100 && got < most; ++i) {
      got += read(client, socket).size();
      while (Socket* s = ctx.starved.pop_front()) s->mark();
      ring(socket);
    }
    return got;
  }
  const stack::Call* last(CallOp op, const Socket& s) {
    const stack::Call* found = nullptr;
    for (const stack::Call& c : protocols.calls)
      if (c.op == op && c.socket == s.id()) found = &c;
    return found;
  }

  Client* first = nullptr;
  Client* second = nullptr;
  Socket* a = nullptr;
  Socket* b = nullptr;
};

}  // namespace ferry::server
