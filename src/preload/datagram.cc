// Interposes sendmsg, recvmsg, sendmmsg and recvmmsg. Control messages: IP_PKTINFO, IPV6_PKTINFO, IP_TOS, IP_TTL and their IPv6
// namesakes, SO_TIMESTAMP(NS), IP_RECVERR, IP_RECVORIGDSTADDR. ip(7), ipv6(7), cmsg(3).
#include "preload/datagram.h"

#include <errno.h>
#include <limits.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <string.h>
#include <time.h>

#include <algorithm>

#include "client/guarded_copy.h"
#include "preload/cancel.h"
#include "preload/control_messages.h"
#include "preload/destinations.h"
#include "preload/handover.h"
#include "preload/hooks_socket.h"
#include "preload/io.h"
#include "preload/log.h"
#include "preload/netlink.h"
#include "preload/real.h"
#include "preload/remaining_time.h"
#include "preload/rights.h"

namespace ferry::preload {
namespace {

// What a program asked for by control messages of a send.
struct SendControl {
  client::Address source{};
  bool has_source = false;
  int tos = -1;
  int ttl = 0;
  client::MessageControl message;
};

template <typename T>
bool read_control(const char* data, size_t size, T& value) {
  if (size < sizeof(T)) return false;
  memcpy(&value, data, sizeof(T));
  return true;
}

int read_one(const cmsghdr& header, const char* data, size_t size, bool to_protocol, SendControl& out) {
  const int level = header.cmsg_level, type = header.cmsg_type;
  if (level == SOL_SOCKET) {
    // Meaningless here, ignored by the kernel too.
    return type == SCM_RIGHTS || type == SCM_CREDENTIALS ? 0 : -EINVAL;
  }
  if (level == IPPROTO_SCTP && to_protocol) {
    if (size > sizeof out.message.bytes || out.message.length != 0) return -EINVAL;
    out.message.type = static_cast<uint16_t>(type);
    out.message.length = static_cast<uint16_t>(size);
    memcpy(out.message.bytes, data, size);
    return 0;
  }
  int number = 0;
  in_pktinfo info4{};
  in6_pktinfo info6{};
  if (level == IPPROTO_IP && type == IP_PKTINFO && read_control(data, size, info4)) {
    out.source = client::make_address(ntohl(info4.ipi_spec_dst.s_addr), 0);
    out.has_source = info4.ipi_spec_dst.s_addr != 0;
  } else if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO && read_control(data, size, info6)) {
    if (!IN6_IS_ADDR_V4MAPPED(&info6.ipi6_addr) && !IN6_IS_ADDR_UNSPECIFIED(&info6.ipi6_addr)) return -EINVAL;
    uint32_t v4 = 0;
    memcpy(&v4, &info6.ipi6_addr.s6_addr[12], 4);
    out.source = client::make_address(ntohl(v4), 0);
    out.has_source = v4 != 0;
  } else if ((level == IPPROTO_IP && type == IP_TOS) || (level == IPPROTO_IPV6 && type == IPV6_TCLASS)) {
    uint8_t byte = 0;
    if (read_control(data, size, number)) out.tos = number;
    else if (read_control(data, size, byte)) out.tos = byte;  // ip(7): one byte is accepted too
    else return -EINVAL;
    if (out.tos < 0 || out.tos > 255) return -EINVAL;
  } else if (((level == IPPROTO_IP && type == IP_TTL) || (level == IPPROTO_IPV6 && type == IPV6_HOPLIMIT)) && read_control(data, size, number)) {
    if (number < 1 || number > 255) return -EINVAL;
    out.ttl = number;
  } else {
    return -EINVAL;
  }
  return 0;
}

int parse_control(const msghdr& message, bool to_protocol, SendControl& out) {
  return for_each_control(message, [&](const cmsghdr& header, const char* data, size_t size) { return read_one(header, data, size, to_protocol, out); });
}

// Appends control messages to the program's buffer; what does not fit is cut off with MSG_CTRUNC, as the kernel does.
class ControlWriter {
 public:
  explicit ControlWriter(msghdr& message)
      : message_(message), at_(static_cast<char*>(message.msg_control)), left_(at_ == nullptr ? 0 : message.msg_controllen) {}

  template <typename T>
  void put(int level, int type, const T& value) {
    put(level, type, &value, sizeof(T));
  }
  void put(int level, int type, const void* value, size_t size) {
    if (left_ < sizeof(cmsghdr)) {
      message_.msg_flags |= MSG_CTRUNC;
      return;
    }
    size_t length = CMSG_LEN(size);
    if (length > left_) {
      message_.msg_flags |= MSG_CTRUNC;
      length = left_;
    }
    cmsghdr header{};
    header.cmsg_len = length;
    header.cmsg_level = level;
    header.cmsg_type = type;
    memcpy(at_, &header, sizeof(header));
    memcpy(at_ + CMSG_LEN(0), value, length - CMSG_LEN(0));
    size_t space = CMSG_SPACE(size) < left_ ? CMSG_SPACE(size) : left_;
    at_ += space;
    left_ -= space;
    used_ += space;
  }
  void finish() { message_.msg_controllen = used_; }

 private:
  msghdr& message_;
  char* at_;
  size_t left_;
  size_t used_ = 0;
};

void put_timestamp(ControlWriter& out, uint32_t options, uint64_t ns) {
  if ((options & client::kOptTimestampNs) != 0) {
    out.put(SOL_SOCKET, SO_TIMESTAMPNS, timespec{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)});
  } else if ((options & client::kOptTimestamp) != 0) {
    out.put(SOL_SOCKET, SO_TIMESTAMP,
            timeval{static_cast<time_t>(ns / 1'000'000'000), static_cast<suseconds_t>(ns % 1'000'000'000 / 1000)});
  }
}

void put_error(ControlWriter& out, const SocketFile& file, const client::QueuedError& e) {
  struct {
    sock_extended_err error;
    sockaddr_storage offender;
  } value{};
  value.error.ee_errno = static_cast<uint32_t>(e.error);
  value.error.ee_origin = SO_EE_ORIGIN_ICMP;
  value.error.ee_type = e.type;
  value.error.ee_code = e.code;
  socklen_t length = client::write_address(e.offender, file.v6(), &value.offender, sizeof(value.offender));
  out.put(file.v6() ? static_cast<int>(IPPROTO_IPV6) : static_cast<int>(IPPROTO_IP), file.v6() ? IPV6_RECVERR : IP_RECVERR,
          &value, sizeof(value.error) + length);
}

void put_control(const SocketFile& file, const client::ReceiveRequest& r, msghdr& message) {
  const uint32_t options = file.socket.local_options();
  ControlWriter out(message);
  if (r.has_source && options != 0) {
    if (r.timestamp_ns != 0) put_timestamp(out, options, r.timestamp_ns);
    if ((options & client::kOptPktinfo) != 0) {
      in_pktinfo info{};
      info.ipi_ifindex = static_cast<int>(r.interface_index);
      info.ipi_addr.s_addr = htonl(client::ipv4_of(r.destination));
      info.ipi_spec_dst = info.ipi_addr;
      out.put(IPPROTO_IP, IP_PKTINFO, info);
    }
    if ((options & client::kOptRecvPktinfo6) != 0) {
      in6_pktinfo info{};
      memcpy(&info.ipi6_addr, r.destination.ip, 16);
      info.ipi6_ifindex = r.interface_index;
      out.put(IPPROTO_IPV6, IPV6_PKTINFO, info);
    }
    if ((options & client::kOptRecvTtl) != 0) out.put(IPPROTO_IP, IP_TTL, static_cast<int>(r.ttl));
    if ((options & client::kOptRecvTos) != 0) out.put(IPPROTO_IP, IP_TOS, r.tos);
    if ((options & client::kOptOrigDst) != 0) {
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(r.destination.port);
      address.sin_addr.s_addr = htonl(client::ipv4_of(r.destination));
      out.put(IPPROTO_IP, IP_ORIGDSTADDR, address);
    }
  }
  if (r.control.length != 0) out.put(IPPROTO_SCTP, r.control.type, r.control.bytes, r.control.length);
  if ((r.out_flags & MSG_ERRQUEUE) != 0) put_error(out, file, r.queued_error);
  out.finish();
}

ssize_t send_on_kernel(int fd, const msghdr* message, int flags) {
  if (!netlink_used() || !client::is_readable(message, sizeof(*message))) [[likely]] return real().sendmsg(fd, message, flags);
  return send_with_netlink(fd, {message->msg_iov, message->msg_iovlen}, [=] { return real().sendmsg(fd, message, flags); });
}

ssize_t receive_on_kernel(int fd, msghdr* message, int flags) {
  if (ssize_t received = 0; netlink_used() && client::is_writable(message, sizeof(*message)) && receive_netlink(fd, *message, flags, received)) return received;
  return real().recvmsg(fd, message, flags);
}

bool message_ok(const msghdr& message) {
  if (message.msg_iovlen > IOV_MAX) return errno = EMSGSIZE, false;
  if (!client::is_readable(message.msg_iov, message.msg_iovlen * sizeof(iovec))) return errno = EFAULT, false;
  return true;
}

// What recvmsg writes to: the sender's address and control messages.
bool results_ok(const msghdr& message) {
  const bool name = message.msg_name == nullptr || client::is_writable(message.msg_name, std::min<size_t>(message.msg_namelen, sizeof(sockaddr_in6)));
  if (name && (message.msg_control == nullptr || client::is_writable(message.msg_control, message.msg_controllen))) return true;
  return errno = EFAULT, false;
}

}  // namespace

ssize_t send_message(FileRef<SocketFile> file, int fd, const msghdr& message, int flags) {
  cancellation_point();
  if (!message_ok(message)) return -1;
  if ((message.msg_name != nullptr && !client::is_readable(message.msg_name, std::min<size_t>(message.msg_namelen, sizeof(sockaddr_storage)))) ||
      (message.msg_controllen != 0 && !client::is_readable(message.msg_control, message.msg_controllen)))
    return to_libc(-EFAULT);
  client::SendRequest request;
  request.data = {message.msg_iov, message.msg_iovlen};
  request.flags = flags;
  request.nonblocking = file->nonblocking.load(std::memory_order_relaxed);
  SendControl control;
  client::Address to{};
  if (message.msg_control != nullptr && message.msg_controllen != 0) {
    if (int error = parse_control(message, file->socket.is_message(), control); error != 0) return to_libc(error);
    request.source = control.has_source ? &control.source : nullptr;
    request.tos = control.tos;
    request.ttl = control.ttl;
    if (control.message.length != 0) request.control = &control.message;
  }
  if (message.msg_name != nullptr && message.msg_namelen != 0 && file->sends_anywhere()) {
    auto* name = static_cast<const sockaddr*>(message.msg_name);
    int error = client::parse_address(name, message.msg_namelen, file->v6(), to);
    bool to_kernel = error == -ENETUNREACH || (error == 0 && is_kernel_loopback(to));
    if (error != 0 && !to_kernel) return to_libc(error);
    if (to_kernel) {
      const char* reason = destination_name(error != 0 ? Destination::kernel_ipv6 : Destination::kernel_loopback);
      if (file->used || file->bound) {
        FERRY_LOG_WARN("a datagram of socket %d is not sent: it is Ferry's by now, and %s", fd, reason);
        return to_libc(-ENETUNREACH);
      }
      if (error = hand_over(*file, fd, reason); error != 0) return to_libc(error);
      file.reset();
      return real().sendmsg(fd, &message, flags);
    }
    request.to = &to;
  } else if (message.msg_name != nullptr && message.msg_namelen != 0 && file->socket.is_message()) {
    // One-to-one: the first message may connect; then the peer is the connection's, whatever is named (RFC 6458 section 4.1.8).
    if (!file->is_connected(fd)) {
      const int error = connect_ferry(file, fd, static_cast<const sockaddr*>(message.msg_name), message.msg_namelen);
      if (!file) return error == 0 ? real().sendmsg(fd, &message, flags) : to_libc(error);
      // Under way, or over for good: send() says so.
      if (error != 0 && error != -EINPROGRESS && error != -EALREADY && error != -EISCONN) return to_libc(error);
    }
  } else if (message.msg_name != nullptr && message.msg_namelen != 0 && file->type == SOCK_STREAM) {
    client::Address peer{};
    if (file->socket.remote_address(fd, peer) != 0 && (flags & MSG_FASTOPEN) == 0) return finish_send(*file, -EPIPE, flags);
  }
  file->mark_used();
  long result = file->socket.send(fd, request);
  if (is_stale(*file, fd, result)) return real().sendmsg(fd, &message, flags);
  return finish_send(*file, result, flags);
}

ssize_t receive_message(SocketFile& file, int fd, msghdr& message, int flags) {
  cancellation_point();
  if (!message_ok(message) || !results_ok(message)) return -1;
  client::ReceiveRequest request;
  request.data = {message.msg_iov, message.msg_iovlen};
  request.flags = flags;
  request.nonblocking = file.nonblocking.load(std::memory_order_relaxed);
  long result = file.socket.receive(fd, request);
  if (is_stale(file, fd, result)) return real().recvmsg(fd, &message, flags);
  if (result < 0) return to_libc(result);
  message.msg_flags = request.out_flags | (flags & MSG_CMSG_CLOEXEC);
  if (message.msg_name != nullptr && request.has_source)
    message.msg_namelen = client::write_address(request.source, file.v6(), message.msg_name, message.msg_namelen);
  else
    message.msg_namelen = 0;
  if (message.msg_control != nullptr || message.msg_controllen != 0) put_control(file, request, message);
  return result;
}

FERRY_EXPORT ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  FileRef<SocketFile> file = data_socket_of(fd);
  if (!file) {
    if (client::is_readable(message, sizeof(*message)) && message->msg_controllen != 0) before_sending_rights(fd, *message);
    return send_on_kernel(fd, message, flags);
  }
  if (!client::is_readable(message, sizeof(*message))) return to_libc(-EFAULT);
  return send_message(std::move(file), fd, *message, flags);
}

FERRY_EXPORT ssize_t recvmsg(int fd, msghdr* message, int flags) {
  FileRef<SocketFile> file = data_socket_of(fd);
  if (!file) {
    ssize_t received = receive_on_kernel(fd, message, flags);
    if (received >= 0 && message->msg_controllen != 0) after_receiving_rights(*message);
    return received;
  }
  if (!client::is_writable(message, sizeof(*message))) return to_libc(-EFAULT);
  return receive_message(*file, fd, *message, flags);
}

FERRY_EXPORT int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  const bool there = client::is_writable(messages, std::min<size_t>(count, IOV_MAX) * sizeof(mmsghdr));
  if (!fd_table().contains(fd)) {
    for (unsigned i = 0; there && i < count && i < IOV_MAX; ++i)
      if (messages[i].msg_hdr.msg_controllen != 0) before_sending_rights(fd, messages[i].msg_hdr);
    return real().sendmmsg(fd, messages, count, flags);
  }
  if (!there) return static_cast<int>(to_libc(-EFAULT));
  if (count > IOV_MAX) count = IOV_MAX;
  for (unsigned i = 0; i < count; ++i) {
    FileRef<SocketFile> file = data_socket_of(fd);
    ssize_t sent = file ? send_message(std::move(file), fd, messages[i].msg_hdr, flags)
                        : send_on_kernel(fd, &messages[i].msg_hdr, flags);
    if (sent < 0) return i > 0 ? static_cast<int>(i) : -1;  // what was sent counts, sendmmsg(2)
    messages[i].msg_len = static_cast<unsigned>(sent);
  }
  return static_cast<int>(count);
}

FERRY_EXPORT int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  FileRef<SocketFile> file = data_socket_of(fd);
  if (!file && !is_netlink(fd)) {
    int received = real().recvmmsg(fd, messages, count, flags, timeout);
    for (int i = 0; i < received; ++i)
      if (messages[i].msg_hdr.msg_controllen != 0) after_receiving_rights(messages[i].msg_hdr);
    return received;
  }
  if (count > IOV_MAX) count = IOV_MAX;
  if (!client::is_writable(messages, count * sizeof(mmsghdr)) || (timeout != nullptr && !client::is_readable(timeout, sizeof(*timeout))))
    return static_cast<int>(to_libc(-EFAULT));
  RemainingTime remaining(timeout);
  int each = flags & ~MSG_WAITFORONE;
  for (unsigned i = 0; i < count; ++i) {
    ssize_t received = file ? receive_message(*file, fd, messages[i].msg_hdr, each)
                            : receive_on_kernel(fd, &messages[i].msg_hdr, each);
    if (received < 0) return i > 0 ? static_cast<int>(i) : -1;
    messages[i].msg_len = static_cast<unsigned>(received);
    if ((flags & MSG_WAITFORONE) != 0) each |= MSG_DONTWAIT;
    if (remaining.expired()) return static_cast<int>(i + 1);  // looked at after each datagram only, as the kernel does
  }
  return static_cast<int>(count);
}

}  // namespace ferry::preload
