// Owns the form of address dumps (address_dump.h). netlink(7), rtnetlink(7).
#include "preload/address_dump.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

namespace ferry::preload {
namespace {

using ipc::control::InterfaceInfo;

// A header, an ifaddrmsg and all attributes, the longest label included.
constexpr size_t kMessageRoom = NLMSG_SPACE(sizeof(ifaddrmsg)) + 3 * RTA_SPACE(4) + RTA_SPACE(sizeof(InterfaceInfo::name)) +
                                RTA_SPACE(4) + RTA_SPACE(sizeof(ifa_cacheinfo));

template <typename T>
bool load(std::span<const std::byte> bytes, T& value) {
  if (bytes.size() < sizeof(T)) return false;
  memcpy(&value, bytes.data(), sizeof(T));
  return true;
}

// Calls visit(header, offset) for each whole message.
template <typename Visit>
void for_each_message(std::span<const std::byte> bytes, Visit visit) {
  nlmsghdr header;
  for (size_t at = 0; at < bytes.size() && load(bytes.subspan(at), header);) {
    if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > bytes.size() - at) return;
    visit(header, at);
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
}

bool is_address_dump(const nlmsghdr& header, std::span<const std::byte> body, bool strict, AddressDump& out) {
  if (header.nlmsg_type != RTM_GETADDR || (header.nlmsg_flags & NLM_F_REQUEST) == 0) return false;
  if ((header.nlmsg_flags & NLM_F_DUMP) == 0) return false;  // one of its two bits is enough for the kernel as well
  rtgenmsg general{};
  if (!load(body, general) || (general.rtgen_family != AF_UNSPEC && general.rtgen_family != AF_INET)) return false;
  out = {header.nlmsg_seq, 0};
  if (!strict) return true;
  ifaddrmsg filter{};
  if (!load(body, filter)) return false;
  out.only_index = filter.ifa_index;
  return body.size() <= NLMSG_ALIGN(sizeof(filter));  // an attribute names another network namespace (IFA_TARGET_NETNSID)
}

// One message after the other into a buffer that has room for it.
class Writer {
 public:
  explicit Writer(std::span<std::byte> out) : out_(out) {}

  size_t used() const { return used_; }
  bool has_room() const { return out_.size() - used_ >= kMessageRoom; }

  void put_address(const InterfaceInfo& i, uint32_t sequence) {
    const size_t start = used_;
    used_ += NLMSG_HDRLEN;
    const bool local = i.address >> 24 == 127;
    ifaddrmsg about{};
    about.ifa_family = AF_INET;
    about.ifa_prefixlen = i.prefix_length;
    about.ifa_flags = IFA_F_PERMANENT;
    about.ifa_scope = local ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    about.ifa_index = i.index;
    append(&about, sizeof(about));
    put_ipv4(IFA_ADDRESS, i.address);
    put_ipv4(IFA_LOCAL, i.address);
    if (!local && i.prefix_length < 31) put_ipv4(IFA_BROADCAST, i.address | ~uint32_t{0} >> i.prefix_length);  // RFC 3021
    put(IFA_LABEL, i.name, strnlen(i.name, sizeof(i.name) - 1) + 1);
    constexpr uint32_t kFlags = IFA_F_PERMANENT;
    put(IFA_FLAGS, &kFlags, sizeof(kFlags));
    constexpr ifa_cacheinfo kForever{~0u, ~0u, 0, 0};
    put(IFA_CACHEINFO, &kForever, sizeof(kForever));
    nlmsghdr header{};
    header.nlmsg_len = static_cast<uint32_t>(used_ - start);
    header.nlmsg_type = RTM_NEWADDR;
    header.nlmsg_flags = NLM_F_MULTI;
    header.nlmsg_seq = sequence;
    memcpy(&out_[start], &header, sizeof(header));
  }

 private:
  void append(const void* bytes, size_t size) {
    memcpy(&out_[used_], bytes, size);
    const size_t padded = NLMSG_ALIGN(size);
    memset(&out_[used_] + size, 0, padded - size);
    used_ += padded;
  }
  void put(uint16_t type, const void* value, size_t size) {
    const rtattr attribute{static_cast<uint16_t>(RTA_LENGTH(size)), type};
    append(&attribute, sizeof(attribute));
    append(value, size);
  }
  void put_ipv4(uint16_t type, uint32_t host_order) {
    const uint32_t value = htonl(host_order);
    put(type, &value, sizeof(value));
  }

  std::span<std::byte> out_;
  size_t used_ = 0;
};

}  // namespace

size_t find_address_dumps(std::span<const std::byte> sent, bool strict, std::span<AddressDump> out) {
  size_t found = 0;
  for_each_message(sent, [&](const nlmsghdr& header, size_t at) {
    auto body = sent.subspan(at + NLMSG_HDRLEN, header.nlmsg_len - NLMSG_HDRLEN);
    AddressDump dump;
    if (found < out.size() && is_address_dump(header, body, strict, dump)) out[found++] = dump;
  });
  return found;
}

Answer classify_answer(std::span<const std::byte> head, uint32_t sequence) {
  nlmsghdr header;
  if (!load(head, header) || header.nlmsg_seq != sequence) return Answer::unrelated;
  int error = 0;
  if (header.nlmsg_len >= NLMSG_LENGTH(sizeof(error))) load(head.subspan(NLMSG_HDRLEN), error);
  switch (header.nlmsg_type) {
    case NLMSG_ERROR: return error != 0 ? Answer::refusal : Answer::unrelated;
    case NLMSG_DONE: return error < 0 ? Answer::refusal : Answer::part;
    case RTM_NEWADDR: return (header.nlmsg_flags & NLM_F_MULTI) != 0 ? Answer::part : Answer::unrelated;
  }
  return Answer::unrelated;
}

size_t build_addresses(std::span<const InterfaceInfo> interfaces, const AddressDump& dump, std::span<std::byte> out) {
  Writer writer(out);
  for (const InterfaceInfo& i : interfaces) {
    if (i.index == 0 || i.prefix_length > 32 || (dump.only_index != 0 && dump.only_index != i.index)) continue;
    if (!writer.has_room()) break;
    writer.put_address(i, dump.sequence);
  }
  return writer.used();
}

void match_answer(std::span<std::byte> messages, std::span<const std::byte> head) {
  nlmsghdr like;
  if (!load(head, like)) return;
  for_each_message(messages, [&](nlmsghdr header, size_t at) {
    header.nlmsg_pid = like.nlmsg_pid;
    header.nlmsg_flags = static_cast<uint16_t>(NLM_F_MULTI | (like.nlmsg_flags & NLM_F_DUMP_FILTERED));
    memcpy(&messages[at], &header, sizeof(header));
  });
}

}  // namespace ferry::preload
