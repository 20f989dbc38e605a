#include "link/fanout.h"

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iterator>

#include "wire/flow_share.h"
#include "wire/ipv4.h"

namespace ferry::link {
namespace {

constexpr uint32_t kNetwork = static_cast<uint32_t>(SKF_NET_OFF);  // offsets from the IP header, wherever the program's data begins
constexpr uint32_t kProtocol = static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL);
constexpr uint32_t kIgnoreOutgoing = 0x4000;  // PACKET_FANOUT_FLAG_IGNORE_OUTGOING, Linux 6.2
constexpr uint32_t kAnyFragment = 0x3fff;  // more fragments, or an offset

// wire::share_of_flow of a received frame; 0 for all that is no TCP segment in one piece. A load past the end ends the program with 0.
bool attach_program(int fd, uint32_t count) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kProtocol),    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 23),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kNetwork + 9), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, wire::kProtocolTcp, 0, 21),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, kNetwork + 6), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kAnyFragment, 19, 0),
      // the addresses, times their factor: in M[0]
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNetwork + 12), BPF_STMT(BPF_ST, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNetwork + 16), BPF_STMT(BPF_LDX | BPF_MEM, 0),
      BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),            BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, wire::kShareAddressFactor),
      BPF_STMT(BPF_ST, 0),
      // the ports, behind the IP header
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kNetwork),      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x0f),
      BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 2),            BPF_STMT(BPF_MISC | BPF_TAX, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_IND, kNetwork),      BPF_STMT(BPF_LDX | BPF_MEM, 0),
      BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),            BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, wire::kSharePortFactor),
      BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, wire::kShareShift), BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
      BPF_STMT(BPF_RET | BPF_A, 0),
      BPF_STMT(BPF_RET | BPF_K, 0),                      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  sock_fprog p{static_cast<unsigned short>(std::size(program)), program};
  return ::setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, &p, sizeof p) == 0;
}

// PACKET_IGNORE_OUTGOING of a socket does not count in a group. A kernel that cannot ignore shows every frame that leaves to a filter.
bool join(int fd, uint32_t group, bool first) {
  const uint32_t type = PACKET_FANOUT_CBPF | (first ? PACKET_FANOUT_FLAG_UNIQUEID : 0);
  for (const uint32_t ignore : {kIgnoreOutgoing, 0u}) {
    const uint32_t how = group | (type | ignore) << 16;
    if (::setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &how, sizeof how) == 0) return true;
  }
  return false;
}

}  // namespace

std::string join_fanout(std::span<const int> sockets) {
  const auto fail = [](const char* what) { return std::string("cannot ") + what + ": " + std::strerror(errno); };
  uint32_t group = 0;
  for (const int fd : sockets) {
    if (!join(fd, group, fd == sockets.front())) return fail("spread frames over packet sockets (PACKET_FANOUT)");
    if (fd != sockets.front()) continue;
    socklen_t length = sizeof group;
    if (::getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &group, &length) != 0) return fail("read PACKET_FANOUT");
    group &= 0xffff;
    if (!attach_program(fd, static_cast<uint32_t>(sockets.size()))) return fail("set PACKET_FANOUT_DATA");
  }
  return {};
}

}  // namespace ferry::link
