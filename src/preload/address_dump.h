// Dumps of addresses as programs ask a NETLINK_ROUTE socket for them, and Ferry's part of the answer. Bytes in, bytes out: whose
// socket it is and when the answer is given is in netlink.h. netlink(7), rtnetlink(7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/control.h"

namespace ferry::preload {

// A request for all IPv4 addresses (RTM_GETADDR with NLM_F_DUMP).
struct AddressDump {
  uint32_t sequence = 0;    // nlmsg_seq, which every message of the answer repeats
  uint32_t only_index = 0;  // of this interface alone, 0: of all
};

// Finds such requests among the messages that a program sends in one call; how many are in `out`. `strict`: the socket has
// NETLINK_GET_STRICT_CHK, without which the kernel looks at no more than the family.
size_t find_address_dumps(std::span<const std::byte> sent, bool strict, std::span<AddressDump> out);

// What the kernel's next datagram, of which `head` is the beginning, is to the dump with this number.
enum class Answer : uint8_t { unrelated, part, refusal };
inline constexpr size_t kAnswerHead = 20;  // bytes of it that tell: a header, and the error behind NLMSG_DONE and NLMSG_ERROR
Answer classify_answer(std::span<const std::byte> head, uint32_t sequence);

// Writes one RTM_NEWADDR per interface that the dump asks for, as the kernel would for an address that never expires, and returns
// their length. `index` of the interfaces is what the kernel of this namespace calls them; those without one are left out, as are
// those that `out` has no room for.
size_t build_addresses(std::span<const ipc::control::InterfaceInfo> interfaces, const AddressDump& dump, std::span<std::byte> out);

// Gives messages of build_addresses() the port and the flags that the kernel's answer has, which `head` is the beginning of.
void match_answer(std::span<std::byte> messages, std::span<const std::byte> head);

}  // namespace ferry::preload
