// Socket options: those that only concern how this process reads and waits are kept here, all others are the server's
// (socket(7), ip(7), tcp(7), udp(7); numbers are Linux's).
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "base/atomics.h"
#include "client/socket.h"

namespace ferry::client {

namespace abi = ipc::abi;
namespace control = ipc::control;

namespace {

struct LocalFlag {
  int level, name;
  LocalOption bit;
  bool tell_server;  // the server has to know as well
};

constexpr LocalFlag kLocalFlags[] = {
    {SOL_SOCKET, SO_TIMESTAMP, kOptTimestamp, false},
    {SOL_SOCKET, SO_TIMESTAMPNS, kOptTimestampNs, false},
    {SOL_SOCKET, SO_OOBINLINE, kOptOobInline, true},
    {IPPROTO_IP, IP_PKTINFO, kOptPktinfo, false},
    {IPPROTO_IP, IP_RECVTOS, kOptRecvTos, false},
    {IPPROTO_IP, IP_RECVTTL, kOptRecvTtl, false},
    {IPPROTO_IP, IP_RECVERR, kOptRecvErr, true},
    {IPPROTO_IP, IP_RECVORIGDSTADDR, kOptOrigDst, false},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, kOptRecvPktinfo6, false},
    {IPPROTO_UDP, UDP_CORK, kOptCork, false},
};

const LocalFlag* find_flag(uint32_t kind, int level, int name) {
  if (level == IPPROTO_UDP && kind != abi::kKindUdp) return nullptr;
  for (const LocalFlag& f : kLocalFlags)
    if (f.level == level && f.name == name) return &f;
  return nullptr;
}

// A flag as programs give it: an int, or for level IP a single byte.
int read_flag(int level, const void* value, socklen_t length, bool& on) {
  int number = 0;
  if (length >= sizeof number) std::memcpy(&number, value, sizeof number);
  else if (level == IPPROTO_IP && length >= 1) number = *static_cast<const uint8_t*>(value);
  else return -EINVAL;
  on = number != 0;
  return 0;
}

int read_timeout(const void* value, socklen_t length, int64_t& ns) {
  timeval t;
  if (length < sizeof t) return -EINVAL;
  std::memcpy(&t, value, sizeof t);
  if (t.tv_usec < 0 || t.tv_usec >= 1'000'000) return -EDOM;
  constexpr int64_t kForever = INT64_MAX / 1'000'000'000 - 1;
  if (t.tv_sec < 0) ns = 1;  // as Linux: a negative time-out is over at once
  else if (t.tv_sec >= kForever) ns = 0;
  else ns = int64_t{t.tv_sec} * 1'000'000'000 + int64_t{t.tv_usec} * 1000;
  return 0;
}

int give(void* value, socklen_t* length, const void* from, size_t size) {
  if (static_cast<int>(*length) < 0) return -EINVAL;
  const size_t n = std::min<size_t>(*length, size);
  std::memcpy(value, from, n);
  *length = static_cast<socklen_t>(n);
  return 0;
}

int give_int(void* value, socklen_t* length, int number) { return give(value, length, &number, sizeof number); }

int give_timeout(void* value, socklen_t* length, int64_t ns) {
  const timeval t{static_cast<time_t>(ns / 1'000'000'000), static_cast<suseconds_t>(ns / 1000 % 1'000'000)};
  return give(value, length, &t, sizeof t);
}

}  // namespace

// Whether the program wants what comes along with messages: the server tells it with each, but messages may be here before the program
// asks.
void Socket::note_message_option(int name, const void* value, socklen_t length) {
  constexpr int kEvents = 11, kReceiveInfo = 32;  // SCTP_EVENTS, SCTP_RECVRCVINFO of linux/sctp.h
  if ((name != kEvents && name != kReceiveInfo) || length == 0) return;
  const uint32_t bit = name == kEvents ? kOptMessageInfo : kOptReceiveInfo;
  if (*static_cast<const uint8_t*>(value) != 0) atomic_or(local_options_, bit);
  else atomic_and(local_options_, ~bit);
}

int Socket::set_option(int k, int level, int name, const void* value, socklen_t length) {
  if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
    const int error = read_timeout(value, length, name == SO_RCVTIMEO ? receive_timeout_ns_ : send_timeout_ns_);
    // K has it too, for the time in kernel mode.
    if (error == 0) ipc::raw_syscall(SYS_setsockopt, k, level, name, ipc::arg(value), static_cast<long>(length));
    return error;
  }
  if (level == SOL_SOCKET && name == SO_RCVLOWAT) {
    int bytes;
    if (length < sizeof bytes) return -EINVAL;
    std::memcpy(&bytes, value, sizeof bytes);
    receive_low_water_ = bytes < 0 ? INT_MAX : std::max(bytes, 1);
    return 0;
  }
  const LocalFlag* flag = find_flag(kind_, level, name);
  if (flag != nullptr) {
    bool on = false;
    if (const int error = read_flag(level, value, length, on); error != 0) return error;
    if (on) atomic_or(local_options_, uint32_t{flag->bit});
    else atomic_and(local_options_, ~uint32_t{flag->bit});
    if (flag->bit == kOptCork && !on) send_corked(k, true);  // what waited leaves; udp(7)
    if (!flag->tell_server) return 0;
  }
  if (level == IPPROTO_SCTP) note_message_option(name, value, length);
  if (length > control::kMaxData) return -EINVAL;
  if (post_option(k, level, name, value, length)) return 0;
  control::Request request;
  control::Reply reply;
  request.level = level;
  request.name = name;
  request.data_length = length;
  if (length > 0) std::memcpy(request.data, value, length);
  const int error = control(k, control::Op::set_option, request, reply);
  return flag != nullptr && error == -ENOPROTOOPT ? 0 : error;
}

int Socket::get_option(int k, int level, int name, void* value, socklen_t* length) {
  if (level == SOL_SOCKET) {
    switch (name) {
      case SO_ERROR: return give_int(value, length, take_error(k));
      case SO_TYPE: return give_int(value, length, is_stream() ? SOCK_STREAM : has_many_peers() ? SOCK_SEQPACKET : SOCK_DGRAM);
      case SO_DOMAIN: return give_int(value, length, v6_ ? AF_INET6 : AF_INET);
      case SO_PROTOCOL:
        if (is_message()) return give_int(value, length, IPPROTO_SCTP);
        return give_int(value, length, is_stream() ? IPPROTO_TCP : kind_ == abi::kKindUdp ? IPPROTO_UDP : IPPROTO_ICMP);
      case SO_ACCEPTCONN: return give_int(value, length, is_listening() ? 1 : 0);
      case SO_RCVLOWAT: return give_int(value, length, receive_low_water_);
      case SO_RCVTIMEO: return give_timeout(value, length, receive_timeout_ns_);
      case SO_SNDTIMEO: return give_timeout(value, length, send_timeout_ns_);
      default: break;
    }
  }
  if (const LocalFlag* flag = find_flag(kind_, level, name); flag != nullptr)
    return give_int(value, length, (local_options() & flag->bit) != 0 ? 1 : 0);
  control::Request request;
  control::Reply reply;
  request.level = level;
  request.name = name;
  request.value = *length;
  if (level == IPPROTO_SCTP) {  // its options are asked for with what they are about
    request.data_length = std::min<uint32_t>(*length, control::kMaxData);
    std::memcpy(request.data, value, request.data_length);
  }
  if (const int error = control(k, control::Op::get_option, request, reply); error != 0) return error;
  return give(value, length, reply.data, reply.data_length);
}

}  // namespace ferry::client
