// src/client/address.cc and errno.cc.
#include "client/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <string>

#include "client/errno.h"

namespace ferry::client {
namespace {

sockaddr_in in(const char* ip, uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, ip, &a.sin_addr);
  return a;
}

sockaddr_in6 in6(const char* ip, uint16_t port) {
  sockaddr_in6 a{};
  a.sin6_family = AF_INET6;
  a.sin6_port = htons(port);
  inet_pton(AF_INET6, ip, &a.sin6_addr);
  return a;
}

template <typename T>
int parse(const T& a, bool v6, Address& out, socklen_t length = sizeof(T)) {
  return parse_address(reinterpret_cast<const sockaddr*>(&a), length, v6, out);
}

TEST(Address, Ipv4ThereAndBack) {
  Address a{};
  ASSERT_EQ(parse(in("10.9.0.2", 80), false, a), 0);
  EXPECT_EQ(ipv4_of(a), 0x0a090002u);
  EXPECT_EQ(a.port, 80);
  EXPECT_FALSE(is_unspecified(a));
  sockaddr_in back{};
  EXPECT_EQ(write_address(a, false, &back, sizeof back), sizeof back);
  const sockaddr_in expected = in("10.9.0.2", 80);
  EXPECT_EQ(std::memcmp(&back, &expected, sizeof back), 0);
}

TEST(Address, MappedIpv6ThereAndBack) {
  Address a{}, b{};
  ASSERT_EQ(parse(in6("::ffff:10.9.0.2", 80), true, a), 0);
  ASSERT_EQ(parse(in("10.9.0.2", 80), false, b), 0);
  EXPECT_EQ(std::memcmp(&a, &b, sizeof a), 0);
  sockaddr_in6 back{};
  EXPECT_EQ(write_address(a, true, &back, sizeof back), sizeof back);
  const sockaddr_in6 expected = in6("::ffff:10.9.0.2", 80);
  EXPECT_EQ(std::memcmp(&back, &expected, sizeof back), 0);
}

TEST(Address, UnspecifiedInAllItsForms) {
  Address a{};
  ASSERT_EQ(parse(in("0.0.0.0", 5), false, a), 0);
  EXPECT_TRUE(is_unspecified(a));
  ASSERT_EQ(parse(in6("::", 5), true, a), 0);
  EXPECT_TRUE(is_unspecified(a));
  ASSERT_EQ(parse(in6("::ffff:0.0.0.0", 5), true, a), 0);
  EXPECT_TRUE(is_unspecified(a));
  EXPECT_EQ(a.port, 5);
}

TEST(Address, WhatLinuxRefuses) {
  Address a{};
  EXPECT_EQ(parse(in("1.2.3.4", 5), false, a, 15), -EINVAL);
  EXPECT_EQ(parse(in6("::1", 5), true, a, 23), -EINVAL);
  EXPECT_EQ(parse(in6("::1", 5), true, a), -ENETUNREACH);
  EXPECT_EQ(parse(in6("::1", 5), false, a), -EAFNOSUPPORT);
  EXPECT_EQ(parse(in("1.2.3.4", 5), true, a), -EAFNOSUPPORT);
  EXPECT_EQ(parse_address(nullptr, 16, false, a), -EINVAL);
  sockaddr_in unspecified = in("0.0.0.0", 5);
  unspecified.sin_family = AF_UNSPEC;
  EXPECT_EQ(parse(unspecified, false, a), 0);
  unspecified = in("1.2.3.4", 5);
  unspecified.sin_family = AF_UNSPEC;
  EXPECT_EQ(parse(unspecified, false, a), -EAFNOSUPPORT);
}

TEST(Address, ShortBuffersAreFilledAsFarAsTheyGo) {
  unsigned char bytes[9];
  std::memset(bytes, 0xee, sizeof bytes);
  EXPECT_EQ(write_address(make_address(0x01020304, 5), false, bytes, 8), sizeof(sockaddr_in));
  EXPECT_EQ(bytes[7], 4);
  EXPECT_EQ(bytes[8], 0xee);
}

TEST(Errno, EveryCodeHasOne) {
  EXPECT_EQ(to_errno(Errc::ok), 0);
  for (uint32_t code = 1; std::string(errc_name(static_cast<Errc>(code))) != "unknown"; ++code) {
    EXPECT_GT(to_errno(code), 0) << errc_name(static_cast<Errc>(code));
    EXPECT_NE(to_errno(code), EIO) << errc_name(static_cast<Errc>(code));
  }
  EXPECT_EQ(to_errno(uint32_t{0xffffffff}), EIO);
  EXPECT_EQ(to_errno(uint32_t{256}), EIO);
}

}  // namespace
}  // namespace ferry::client
