// Clients that accept, and connections that come to a listener of theirs.
#pragma once

#include <vector>

#include "fixture.h"

namespace ferry::server {

class OffersTest : public ServerTest {
 protected:
  // A client with descriptors in stock, as one that has accepted before.
  Client& accepting_client(uint32_t pairs = 4) {
    Client& client = connect_client();
    for (uint32_t i = 0; i < pairs; ++i) {
      uint32_t number;
      kept.emplace_back();
      EXPECT_TRUE(client.channel()->stock().make(true, kept.back(), number));
    }
    return client;
  }
  Socket& listen(Client& client) {
    Socket& s = open(client);
    s.on_listening();
    run();
    return s;
  }
  // The same of a client that accepts by requests.
  Socket& listen_for(Client& client) {
    Socket& s = listen(client);
    s.offer_to(*client.channel());
    return s;
  }
  // As an event loop does.
  void wait_at(Client& client, Socket& listener) { shared(client, listener).watches[0] = 1; }
  // A listener that two have.
  Socket& listen_both(Client& first, Client& second) {
    Socket& s = listen(first);
    s.attach(*second.channel());
    return s;
  }
  // ... and both wait at.
  Socket& wait_both(Client& first, Client& second) {
    Socket& s = listen_both(first, second);
    wait_at(first, s);
    wait_at(second, s);
    return s;
  }
  // The stack's: a connection comes.
  Socket& arrive(Socket& listener) {
    Socket& child = sockets.create(stack::SocketType::tcp);
    child.set_id(protocols.next_id++);
    child.set_pending();
    sockets.add_child(child, child.id());
    protocols.waiting.push_back(child.id());
    ++protocols.socket_info.receive_queue;
    listener.on_acceptable();
    return child;
  }
  uint32_t offered(Client& client, Socket& listener) {
    const abi::SocketShared& s = shared(client, listener);
    return s.rx_produced - s.rx_consumed;
  }
  abi::SocketShared& child_of(Client& client, Socket& listener) {
    const abi::SocketShared& s = shared(client, listener);
    return client.channel()->shared(static_cast<uint32_t>(s.rx[s.rx_consumed % abi::kRingEntries].offset));
  }
  // What the client would take next, and then.
  std::vector<const Socket*> order(Client& client, Socket& listener, const std::vector<Socket*>& children) {
    std::vector<const Socket*> all;
    const abi::SocketShared& s = shared(client, listener);
    for (uint32_t i = s.rx_consumed; i != s.rx_produced; ++i)
      for (Socket* child : children)
        if (child->slot_in(*client.channel()) == static_cast<uint32_t>(s.rx[i % abi::kRingEntries].offset)) all.push_back(child);
    return all;
  }
  void claim(Client& client, Socket& listener) {
    shared(client, listener).rx_consumed++;
    ring(listener);
  }
  int64_t held() const {
    int64_t n = 0;
    for (const stack::Call& c : protocols.calls)
      if (c.op == stack::CallOp::set_option && c.option == stack::Option::held) n = c.number;
    return n;
  }
  std::vector<UniqueFd> kept;
};

}  // namespace ferry::server
