// A listener's parts: with several engines every one accepts the connections whose flows it has. The socket that the program opened is in
// one engine; a part is a socket like it in each other one, known there by the same K, without a descriptor pair of its own.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "ipc/control.h"
#include "server/engines.h"
#include "server/sockets.h"

namespace ferry::server {

// What a part needs to become like its listener.
struct ListenerPart {
  uint64_t cookie = 0;   // of K
  stack::Endpoint local;
  int64_t backlog = 0;
  uid_t uid = 0;
  std::vector<std::pair<stack::Option, int64_t>> options;  // all that children have from their listener, or that bind(2) asks for

  static ListenerPart of(Protocols& protocols, const Socket& listener, int64_t backlog);
};

// In the engine of the part. Makes it, or gives it another backlog. Errors of bind and listen.
Errc open_part(Context& context, const ListenerPart& part);
void close_part(Context& context, uint64_t cookie);
// What the program has set on its listener.
void set_part_option(Context& context, uint64_t cookie, const ipc::control::Request& request);

}  // namespace ferry::server
