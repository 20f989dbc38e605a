#include "link/gso_limit.h"

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace ferry::link {
namespace {

constexpr uint16_t kGsoIpv4MaxSize = 63;    // IFLA_GSO_IPV4_MAX_SIZE, newer than Debian's headers (Linux 6.3)
constexpr size_t kAnswerBytes = 32 * 1024;  // what the kernel says of an interface fits into one message

struct Request {
  nlmsghdr head{};
  ifinfomsg link{};
  rtattr attribute{};
  uint32_t value = 0;
};
static_assert(sizeof(Request) == NLMSG_LENGTH(sizeof(ifinfomsg)) + RTA_LENGTH(sizeof(uint32_t)));

Request make_request(uint16_t type, uint16_t flags, const Interface& interface, uint16_t attribute, uint32_t value) {
  Request r;
  r.head.nlmsg_len = sizeof r;
  r.head.nlmsg_type = type;
  r.head.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  r.link.ifi_family = AF_UNSPEC;
  r.link.ifi_index = interface.index;
  r.attribute.rta_type = attribute;
  r.attribute.rta_len = RTA_LENGTH(sizeof value);
  r.value = value;
  return r;
}

// Asks the kernel; `answer` gets its one message. 0, or an errno value: of the sockets, or what the kernel answered.
int ask(const Request& request, std::vector<char>& answer) {
  const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) return errno;
  answer.resize(kAnswerBytes);
  ssize_t got = ::send(fd, &request, sizeof request, 0);
  if (got >= 0) got = ::recv(fd, answer.data(), answer.size(), MSG_TRUNC);
  const int error = got < 0 ? errno : 0;
  ::close(fd);
  if (error != 0) return error;
  if (static_cast<size_t>(got) < sizeof(nlmsghdr) || static_cast<size_t>(got) > answer.size()) return EPROTO;
  answer.resize(static_cast<size_t>(got));
  nlmsghdr head;
  std::memcpy(&head, answer.data(), sizeof head);
  if (head.nlmsg_len < sizeof head || head.nlmsg_len > answer.size()) return EPROTO;
  if (head.nlmsg_type != NLMSG_ERROR) return 0;
  if (head.nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) return EPROTO;
  nlmsgerr said;
  std::memcpy(&said, answer.data() + NLMSG_HDRLEN, sizeof said);
  return -said.error;
}

// A 32-bit attribute of the answer to RTM_GETLINK; 0: it is not there.
uint32_t find_number(const std::vector<char>& answer, uint16_t type) {
  size_t at = NLMSG_LENGTH(sizeof(ifinfomsg));
  while (at + sizeof(rtattr) <= answer.size()) {
    rtattr a;
    std::memcpy(&a, answer.data() + at, sizeof a);
    if (a.rta_len < sizeof a || a.rta_len > answer.size() - at) return 0;
    if (a.rta_type == type && a.rta_len == RTA_LENGTH(sizeof(uint32_t))) {
      uint32_t value;
      std::memcpy(&value, answer.data() + at + RTA_LENGTH(0), sizeof value);
      return value;
    }
    at += RTA_ALIGN(a.rta_len);
  }
  return 0;
}

}  // namespace

Outcome<uint32_t> gso_limit(const Interface& interface) {
  std::vector<char> answer;
  const int error = ask(make_request(RTM_GETLINK, 0, interface, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS), answer);
  if (error != 0)
    return Outcome<uint32_t>::failure("cannot ask for gso_ipv4_max_size of " + interface.name + ": " + std::strerror(error));
  if (const uint32_t own = find_number(answer, kGsoIpv4MaxSize); own != 0) return Outcome<uint32_t>(own);
  const uint32_t all = find_number(answer, IFLA_GSO_MAX_SIZE);
  return Outcome<uint32_t>(all == 0 ? kUsualGsoLimit : std::min(all, kUsualGsoLimit));
}

std::string raise_gso_limit(const Interface& interface, uint32_t bytes) {
  std::vector<char> answer;
  const int error = ask(make_request(RTM_SETLINK, NLM_F_ACK, interface, kGsoIpv4MaxSize, bytes), answer);
  if (error == 0) {
    auto limit = gso_limit(interface);  // kernels that do not know the attribute pass over it
    if (limit && *limit == bytes) return {};
  }
  const char* why = error == 0 ? "it needs Linux 6.3" : error == EINVAL ? "the device does not take so much" : std::strerror(error);
  return "cannot set gso_ipv4_max_size of " + interface.name + " to " + std::to_string(bytes) + ": " + why;
}

uint32_t gso_payload(uint32_t limit) {
  constexpr uint32_t kHeaders = wire::kEthernetHeaderBytes + wire::kIpv4HeaderBytes + wire::kTcpMaxHeaderBytes;
  return limit > kHeaders ? limit - 1 - kHeaders : 0;
}

}  // namespace ferry::link
