// Requests for address dumps are found in what programs send, and our messages are what the kernel's would be.
#include "preload/address_dump.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include <rapidcheck/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace ferry::preload {
namespace {

using ipc::control::InterfaceInfo;
using Bytes = std::vector<std::byte>;

Bytes message(uint16_t type, uint16_t flags, uint32_t sequence, const void* body, size_t size) {
  nlmsghdr h{};
  h.nlmsg_len = static_cast<uint32_t>(NLMSG_LENGTH(size));
  h.nlmsg_type = type;
  h.nlmsg_flags = flags;
  h.nlmsg_seq = sequence;
  h.nlmsg_pid = 4711;
  Bytes out(NLMSG_SPACE(size));
  memcpy(out.data(), &h, sizeof h);
  if (size != 0) memcpy(&out[NLMSG_HDRLEN], body, size);
  return out;
}

Bytes request(uint8_t family, uint32_t sequence, uint32_t index = 0, uint16_t flags = NLM_F_REQUEST | NLM_F_DUMP) {
  ifaddrmsg body{};
  body.ifa_family = family;
  body.ifa_index = index;
  return message(RTM_GETADDR, flags, sequence, &body, sizeof body);
}

std::vector<AddressDump> find(const Bytes& sent, bool strict = false) {
  AddressDump out[4];
  return {out, out + find_address_dumps(sent, strict, out)};
}

InterfaceInfo interface(const char* name, uint32_t address, uint8_t prefix, uint32_t index) {
  InterfaceInfo i{};
  strcpy(i.name, name);
  i.address = address;
  i.prefix_length = prefix;
  i.index = index;
  return i;
}

constexpr uint32_t kTenNine = 10u << 24 | 9u << 16 | 2;

struct Address {
  nlmsghdr header{};
  ifaddrmsg about{};
  std::map<int, std::string> attributes;
  std::string ip(int type) const {
    char text[INET_ADDRSTRLEN] = "none";
    if (attributes.contains(type)) inet_ntop(AF_INET, attributes.at(type).data(), text, sizeof text);
    return text;
  }
};

// By the kernel's own macros, as programs read them.
std::vector<Address> parse(Bytes bytes) {
  std::vector<Address> all;
  int left = static_cast<int>(bytes.size());
  for (auto* h = reinterpret_cast<nlmsghdr*>(bytes.data()); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
    Address a;
    a.header = *h;
    a.about = *static_cast<ifaddrmsg*>(NLMSG_DATA(h));
    int rest = static_cast<int>(IFA_PAYLOAD(h));
    for (rtattr* t = IFA_RTA(NLMSG_DATA(h)); RTA_OK(t, rest); t = RTA_NEXT(t, rest))
      a.attributes[t->rta_type] = std::string(static_cast<char*>(RTA_DATA(t)), RTA_PAYLOAD(t));
    EXPECT_EQ(rest, 0);
    all.push_back(a);
  }
  EXPECT_EQ(left, 0);
  return all;
}

Bytes build(std::initializer_list<InterfaceInfo> interfaces, AddressDump dump = {5, 0}, size_t room = 1024) {
  Bytes out(room);
  out.resize(build_addresses(interfaces, dump, out));
  return out;
}

TEST(AddressDump, DumpsThatListIpv4AreFound) {
  EXPECT_EQ(find(request(AF_INET, 77)).at(0).sequence, 77u);
  EXPECT_EQ(find(request(AF_UNSPEC, 78)).at(0).sequence, 78u);
  EXPECT_EQ(find(request(AF_INET, 79, 0, NLM_F_REQUEST | NLM_F_ROOT)).size(), 1u);
  rtgenmsg shortest{AF_INET};
  EXPECT_EQ(find(message(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, &shortest, sizeof shortest)).size(), 1u) << "dnsmasq's";
}

TEST(AddressDump, OtherRequestsAreNot) {
  EXPECT_TRUE(find(request(AF_INET6, 1)).empty());
  EXPECT_TRUE(find(request(AF_INET, 1, 0, NLM_F_REQUEST)).empty());
  EXPECT_TRUE(find(request(AF_INET, 1, 0, NLM_F_DUMP)).empty());
  ifaddrmsg body{};
  for (uint16_t type : {RTM_GETLINK, RTM_GETROUTE, RTM_NEWADDR, RTM_DELADDR})
    EXPECT_TRUE(find(message(type, NLM_F_REQUEST | NLM_F_DUMP, 1, &body, sizeof body)).empty());
  EXPECT_TRUE(find(message(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, nullptr, 0)).empty());
}

TEST(AddressDump, OnlyStrictSocketsHaveFilters) {
  EXPECT_EQ(find(request(AF_INET, 1, 3), false).at(0).only_index, 0u);
  EXPECT_EQ(find(request(AF_INET, 1, 3), true).at(0).only_index, 3u);
  struct {
    ifaddrmsg about{AF_INET, 0, 0, 0, 0};
    rtattr attribute{RTA_LENGTH(4), IFA_TARGET_NETNSID};
    int namespace_id = 1;
  } elsewhere;
  EXPECT_TRUE(find(message(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, &elsewhere, sizeof elsewhere), true).empty());
}

TEST(AddressDump, SeveralMessagesOfOneCallAreSeen) {
  ifaddrmsg body{};
  Bytes sent = message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, &body, sizeof body);
  for (uint32_t sequence = 2; sequence < 9; ++sequence) {
    Bytes more = request(AF_INET, sequence);
    sent.insert(sent.end(), more.begin(), more.end());
  }
  std::vector<AddressDump> found = find(sent);
  ASSERT_EQ(found.size(), 4u) << "no more than there is room for";
  EXPECT_EQ(found[0].sequence, 2u);
  EXPECT_EQ(found[3].sequence, 5u);
}

TEST(AddressDump, CutAndWildMessagesEndTheSearch) {
  Bytes sent = request(AF_INET, 1);
  sent.pop_back();
  EXPECT_TRUE(find(sent).empty());
  for (uint32_t length : {0u, 15u, 25u, ~0u}) {
    sent = request(AF_INET, 1);
    memcpy(sent.data(), &length, sizeof length);
    EXPECT_TRUE(find(sent).empty());
  }
}

RC_GTEST_PROP(AddressDump, AnyBytesAreLookedAtSafely, (const std::vector<uint8_t>& bytes, bool strict)) {
  Bytes copy(bytes.size());
  if (!bytes.empty()) memcpy(copy.data(), bytes.data(), bytes.size());
  RC_ASSERT(find(copy, strict).size() <= 4u);
  classify_answer(copy, 0);
  match_answer(copy, copy);
}

TEST(AddressDump, AnAddressIsToldAsTheKernelTellsOne) {
  std::vector<Address> all = parse(build({interface("eth0", kTenNine, 24, 2)}));
  ASSERT_EQ(all.size(), 1u);
  const Address& a = all[0];
  EXPECT_EQ(a.header.nlmsg_type, RTM_NEWADDR);
  EXPECT_EQ(a.header.nlmsg_seq, 5u);
  EXPECT_EQ(a.about.ifa_family, AF_INET);
  EXPECT_EQ(a.about.ifa_prefixlen, 24);
  EXPECT_EQ(a.about.ifa_flags, IFA_F_PERMANENT);
  EXPECT_EQ(a.about.ifa_scope, RT_SCOPE_UNIVERSE);
  EXPECT_EQ(a.about.ifa_index, 2u);
  EXPECT_EQ(a.ip(IFA_ADDRESS), "10.9.0.2");
  EXPECT_EQ(a.ip(IFA_LOCAL), "10.9.0.2");
  EXPECT_EQ(a.ip(IFA_BROADCAST), "10.9.0.255");
  EXPECT_EQ(a.attributes.at(IFA_LABEL), std::string("eth0", 5));
  EXPECT_EQ(a.attributes.at(IFA_CACHEINFO).substr(0, 8), std::string(8, '\xff')) << "it never expires";
}

TEST(AddressDump, BroadcastAndScopeFollowTheAddress) {
  std::vector<Address> all = parse(build({interface("lo", 127u << 24 | 1, 8, 1), interface("p2p", kTenNine, 31, 3),
                                          interface("all", kTenNine, 0, 4)}));
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].about.ifa_scope, RT_SCOPE_HOST);
  EXPECT_EQ(all[0].ip(IFA_BROADCAST), "none");
  EXPECT_EQ(all[1].ip(IFA_BROADCAST), "none");
  EXPECT_EQ(all[2].ip(IFA_BROADCAST), "255.255.255.255");
}

TEST(AddressDump, InterfacesWithoutANumberOrNotAskedForAreLeftOut) {
  EXPECT_TRUE(build({interface("far", kTenNine, 24, 0)}).empty());
  std::vector<Address> all = parse(build({interface("a", kTenNine, 24, 2), interface("b", kTenNine + 1, 24, 3)}, {5, 3}));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].about.ifa_index, 3u);
}

TEST(AddressDump, WhatDoesNotFitIsLeftOut) {
  InterfaceInfo longest = interface("fifteen-letters", kTenNine, 24, 2);
  size_t one = build({longest}).size();
  for (size_t room = 0; room < 3 * one; ++room) {
    Bytes out = build({longest, longest, longest}, {5, 0}, room);
    EXPECT_EQ(out.size() % one, 0u);
    EXPECT_LE(out.size(), room);
    parse(out);
  }
  EXPECT_EQ(build({longest, longest, longest}, {5, 0}, 3 * one).size(), 3 * one);
}

TEST(AddressDump, TheKernelsDatagramTellsWhetherItIsOurTurn) {
  ifaddrmsg body{};
  int fine = 0, bad = -EINVAL;
  auto of = [](const Bytes& b, uint32_t sequence = 5) {
    return classify_answer(std::span(b).first(std::min(b.size(), kAnswerHead)), sequence);
  };
  EXPECT_EQ(of(message(RTM_NEWADDR, NLM_F_MULTI, 5, &body, sizeof body)), Answer::part);
  EXPECT_EQ(of(message(NLMSG_DONE, NLM_F_MULTI, 5, &fine, 4)), Answer::part);
  EXPECT_EQ(of(message(NLMSG_DONE, NLM_F_MULTI, 5, &bad, 4)), Answer::refusal);
  EXPECT_EQ(of(message(NLMSG_ERROR, 0, 5, &bad, 4)), Answer::refusal);
  EXPECT_EQ(of(message(NLMSG_ERROR, 0, 5, &fine, 4)), Answer::unrelated) << "an acknowledgement";
  EXPECT_EQ(of(message(RTM_NEWADDR, NLM_F_MULTI, 5, &body, sizeof body), 6), Answer::unrelated);
  EXPECT_EQ(of(message(RTM_NEWADDR, 0, 5, &body, sizeof body)), Answer::unrelated) << "news of a change";
  EXPECT_EQ(of(message(RTM_NEWLINK, NLM_F_MULTI, 5, &body, sizeof body)), Answer::unrelated);
  EXPECT_EQ(of({}), Answer::unrelated);
}

TEST(AddressDump, OursHasThePortAndTheFlagsOfTheKernels) {
  Bytes ours = build({interface("a", kTenNine, 24, 2), interface("b", kTenNine + 1, 24, 3)});
  match_answer(ours, message(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_FILTERED | NLM_F_DUMP_INTR, 5, nullptr, 0));
  for (const Address& a : parse(ours)) {
    EXPECT_EQ(a.header.nlmsg_pid, 4711u);
    EXPECT_EQ(a.header.nlmsg_flags, NLM_F_MULTI | NLM_F_DUMP_FILTERED);
  }
}

}  // namespace
}  // namespace ferry::preload
