// What sockets and control requests ask of the protocol servers: stack::Stack at the time of the engine's turn. An interface, so
// that the server's own logic is tested without a stack.
#pragma once

#include "stack/stack.h"
#include "tcp/connection.h"

namespace ferry::server {

class Protocols {
 public:
  virtual stack::CallResult call(const stack::Call& call) = 0;
  virtual uint32_t send_space(stack::SocketId socket) const = 0;
  virtual Result<stack::SocketInfo> info(stack::SocketId socket) const = 0;
  virtual Result<int64_t> option(stack::SocketId socket, stack::Option option) const = 0;
  virtual Result<size_t> protocol_option(stack::SocketId socket, int name, MutableByteSpan value, size_t length) const = 0;
  // nullptr: no server offers such sockets.
  virtual const stack::Service* service(stack::SocketType type) const = 0;
  virtual Result<tcp::TcpInfo> tcp_info(stack::SocketId socket) const = 0;
  virtual Result<stack::Owner> twin(stack::SocketId socket) const = 0;

 protected:
  ~Protocols() = default;
};

}  // namespace ferry::server
