// A socket that is connected to the fake server, and what is done with it.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "client/socket.h"
#include "fake_server.h"

namespace ferry::client::test {

inline long send(Socket& s, int k, const std::string& data, int flags = 0) {
  const iovec v{const_cast<char*>(data.data()), data.size()};
  SendRequest request;
  request.data = {&v, 1};
  request.flags = flags;
  return s.send(k, request);
}

inline std::string receive(Socket& s, int k, size_t size, int flags = 0) {
  std::string out(size, '?');
  const iovec v{out.data(), size};
  ReceiveRequest request;
  request.data = {&v, 1};
  request.flags = flags;
  const long r = s.receive(k, request);
  if (r < 0) return "error " + std::to_string(-r);
  out.resize(static_cast<size_t>(r));
  return out;
}

class Connection : public testing::Test {
 protected:
  int connected(Socket& s, bool echo = true) {
    const int k = s.open(abi::kKindTcp, false, false, true);
    EXPECT_GE(k, 0);
    EXPECT_EQ(s.connect(k, make_address(0x0a090002, 80), false), 0);
    server_.with([&] { server_.last().echo = echo; });
    return k;
  }
  FakeServer server_;
  Socket socket_;
};

}  // namespace ferry::client::test
