// Between the words of control requests and the calls of the stack.
#pragma once

#include <cstring>

#include "ipc/control.h"
#include "server/socket.h"

namespace ferry::server {

inline stack::Endpoint to_endpoint(const ipc::control::Address& a) {
  stack::Endpoint e;
  std::memcpy(e.address.octets.data(), a.ip, 16);
  e.port = a.port;
  return e;
}

inline ipc::control::Address to_address(const stack::Endpoint& e) {
  ipc::control::Address a{};
  std::memcpy(a.ip, e.address.octets.data(), 16);
  a.port = e.port;
  return a;
}

inline stack::Call make_call(stack::CallOp op, const Socket& socket) {
  stack::Call call;
  call.op = op;
  call.socket = socket.id();
  return call;
}

}  // namespace ferry::server
