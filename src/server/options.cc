#include "server/options.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace ferry::server {
namespace control = ipc::control;
using stack::Option;
namespace {

enum class Form : uint8_t { number, flag, doubled };  // doubled: the kernel doubles what is asked for (socket(7), SO_RCVBUF)

struct Mapping {
  int level, name;
  Option option;
  Form form;
};

constexpr Mapping kMappings[] = {
    {SOL_SOCKET, SO_KEEPALIVE, Option::keep_alive, Form::flag},
    {SOL_SOCKET, SO_REUSEADDR, Option::reuse_address, Form::flag},
    {SOL_SOCKET, SO_REUSEPORT, Option::reuse_port, Form::flag},
    {SOL_SOCKET, SO_BROADCAST, Option::broadcast, Form::flag},
    {SOL_SOCKET, SO_OOBINLINE, Option::oob_inline, Form::flag},
    {SOL_SOCKET, SO_RCVBUF, Option::receive_buffer, Form::doubled},
    {SOL_SOCKET, SO_SNDBUF, Option::send_buffer, Form::doubled},
    {IPPROTO_IP, IP_TOS, Option::tos, Form::number},
    {IPPROTO_IP, IP_TTL, Option::ttl, Form::number},
    {IPPROTO_IP, IP_RECVERR, Option::receive_errors, Form::flag},
    {IPPROTO_IPV6, IPV6_TCLASS, Option::tos, Form::number},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, Option::ttl, Form::number},
    {IPPROTO_IPV6, IPV6_RECVERR, Option::receive_errors, Form::flag},
    {IPPROTO_TCP, TCP_NODELAY, Option::no_delay, Form::flag},
    {IPPROTO_TCP, TCP_CORK, Option::cork, Form::flag},
    {IPPROTO_TCP, TCP_MAXSEG, Option::max_segment, Form::number},
    {IPPROTO_TCP, TCP_KEEPIDLE, Option::keep_idle, Form::number},
    {IPPROTO_TCP, TCP_KEEPINTVL, Option::keep_interval, Form::number},
    {IPPROTO_TCP, TCP_KEEPCNT, Option::keep_count, Form::number},
    {IPPROTO_TCP, TCP_SYNCNT, Option::syn_count, Form::number},
    {IPPROTO_TCP, TCP_LINGER2, Option::linger2, Form::number},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, Option::defer_accept, Form::number},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, Option::window_clamp, Form::number},
    {IPPROTO_TCP, TCP_QUICKACK, Option::quick_ack, Form::flag},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, Option::user_timeout, Form::number},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, Option::not_sent_low_water, Form::number},
};

constexpr std::string_view kAlgorithms[] = {"", "reno", "cubic"};  // by tcp::cc::Algorithm

const Mapping* find(int level, int name) {
  for (const Mapping& m : kMappings)
    if (m.level == level && m.name == name) return &m;
  return nullptr;
}

// The int that an option value is; also a single byte, which IP_TOS and IP_TTL allow (ip(7)).
bool read_int(const control::Request& r, int& value) {
  if (r.data_length >= sizeof value) {
    std::memcpy(&value, r.data, sizeof value);
    return true;
  }
  if (r.data_length >= 1 && r.level == IPPROTO_IP) {
    value = r.data[0];
    return true;
  }
  return false;
}

Status apply(Protocols& protocols, Socket& socket, Option option, int64_t value) {
  stack::Call call;
  call.op = stack::CallOp::set_option;
  call.socket = socket.id();
  call.option = option;
  call.number = value;
  return protocols.call(call).error;
}

template <typename T>
void put(control::Reply& reply, const T& value) {
  std::memcpy(reply.data, &value, sizeof value);
  reply.data_length = reply.value = sizeof value;
}

// Options of a level that the IPC does not know: their names and bytes are the protocol's.
bool is_of_protocol(const Socket& socket, int level) {
  return level == IPPROTO_SCTP && (socket.type() == stack::SocketType::sctp || socket.type() == stack::SocketType::sctp_many);
}

tcp_info to_linux(const tcp::TcpInfo& t) {
  tcp_info i{};
  i.tcpi_state = static_cast<uint8_t>(t.state);
  i.tcpi_ca_state = t.recovery;
  i.tcpi_retransmits = t.retransmits;
  i.tcpi_probes = t.probes;
  i.tcpi_backoff = t.backoff;
  i.tcpi_options = static_cast<uint8_t>((t.timestamps ? TCPI_OPT_TIMESTAMPS : 0) | (t.sack ? TCPI_OPT_SACK : 0) |
                                        (t.scaling ? TCPI_OPT_WSCALE : 0));
  i.tcpi_snd_wscale = t.snd_wscale & 15;
  i.tcpi_rcv_wscale = t.rcv_wscale & 15;
  i.tcpi_rto = t.rto_us;
  i.tcpi_ato = t.ato_us;
  i.tcpi_snd_mss = t.snd_mss;
  i.tcpi_rcv_mss = t.rcv_mss;
  i.tcpi_unacked = t.unacked;
  i.tcpi_sacked = t.sacked;
  i.tcpi_lost = t.lost;
  i.tcpi_retrans = t.retrans;
  i.tcpi_last_data_sent = t.last_data_sent_ms;
  i.tcpi_last_data_recv = t.last_data_recv_ms;
  i.tcpi_last_ack_recv = t.last_ack_recv_ms;
  i.tcpi_pmtu = t.advmss + 40;
  i.tcpi_rcv_ssthresh = t.rcv_ssthresh;
  i.tcpi_rtt = t.rtt_us;
  i.tcpi_rttvar = t.rttvar_us;
  i.tcpi_snd_ssthresh = t.snd_ssthresh;
  i.tcpi_snd_cwnd = t.snd_cwnd;
  i.tcpi_advmss = t.advmss;
  i.tcpi_reordering = t.reordering;
  i.tcpi_rcv_space = t.rcv_space;
  i.tcpi_total_retrans = t.total_retrans;
  i.tcpi_pacing_rate = i.tcpi_max_pacing_rate = ~uint64_t{0};
  i.tcpi_bytes_acked = t.bytes_acked;
  i.tcpi_bytes_received = t.bytes_received;
  i.tcpi_segs_out = t.segs_out;
  i.tcpi_segs_in = t.segs_in;
  i.tcpi_notsent_bytes = t.notsent_bytes;
  i.tcpi_min_rtt = t.min_rtt_us;
  i.tcpi_data_segs_in = t.data_segs_in;
  i.tcpi_data_segs_out = t.data_segs_out;
  i.tcpi_delivery_rate = t.delivery_rate;
  i.tcpi_bytes_sent = t.bytes_sent;
  i.tcpi_bytes_retrans = t.bytes_retrans;
  i.tcpi_dsack_dups = t.dsack_dups;
  i.tcpi_reord_seen = t.reord_seen;
  i.tcpi_rcv_ooopack = t.rcv_ooopack;
  i.tcpi_snd_wnd = t.snd_wnd;
  return i;
}
static_assert(sizeof(tcp_info) <= control::kMaxData);

}  // namespace

Status set_option(Protocols& protocols, Socket& socket, const control::Request& r) {
  if (r.level == SOL_SOCKET && r.name == SO_LINGER) {
    linger value{};
    if (r.data_length < sizeof value) return Errc::invalid;
    std::memcpy(&value, r.data, sizeof value);
    return apply(protocols, socket, Option::linger, value.l_onoff == 0 ? -1 : std::clamp(value.l_linger, 0, 32767));
  }
  if (r.level == IPPROTO_TCP && r.name == TCP_CONGESTION) {
    std::string_view name(reinterpret_cast<const char*>(r.data), r.data_length);
    name = name.substr(0, name.find('\0'));
    for (size_t i = 1; i < std::size(kAlgorithms); ++i)
      if (name == kAlgorithms[i]) return apply(protocols, socket, Option::congestion, static_cast<int64_t>(i));
    return Errc::invalid;
  }
  int value = 0;
  if (r.level == IPPROTO_IP && r.name == IP_MTU_DISCOVER) {
    if (!read_int(r, value) || value < IP_PMTUDISC_DONT || value > IP_PMTUDISC_OMIT) return Errc::invalid;
    return apply(protocols, socket, Option::dont_fragment, value == IP_PMTUDISC_DO || value == IP_PMTUDISC_PROBE);
  }
  if (is_of_protocol(socket, r.level)) {
    stack::Call call;
    call.op = stack::CallOp::set_protocol_option;
    call.socket = socket.id();
    call.number = r.name;
    call.value = ByteSpan(reinterpret_cast<const std::byte*>(r.data), r.data_length);
    return protocols.call(call).error;
  }
  const Mapping* m = find(r.level, r.name);
  if (m == nullptr) return Errc::no_protocol_option;
  if (!read_int(r, value)) return Errc::invalid;
  int64_t number = value;
  if (m->form == Form::flag) number = value != 0;
  if (m->form == Form::doubled) number = int64_t{std::clamp(value, 0, INT32_MAX / 2)} * 2;
  FERRY_TRY(apply(protocols, socket, m->option, number));
  if (m->option == Option::receive_errors) socket.set_receive_errors(number != 0);
  if (m->form == Form::doubled) socket.refresh_buffers();
  return {};
}

Status get_option(Protocols& protocols, Socket& socket, const control::Request& r, control::Reply& reply) {
  const bool tcp = socket.type() == stack::SocketType::tcp;
  if (r.level == SOL_SOCKET) {
    switch (r.name) {
      case SO_ERROR: put(reply, static_cast<int>(socket.take_error())); return {};  // an Errc: only the client knows errno
      case SO_ACCEPTCONN: put(reply, static_cast<int>(socket.is_listener())); return {};
      case SO_TYPE: put(reply, int{tcp ? SOCK_STREAM : SOCK_DGRAM}); return {};
      case SO_LINGER: {
        auto seconds = protocols.option(socket.id(), Option::linger);
        if (!seconds) return seconds.error();
        put(reply, linger{*seconds >= 0, *seconds >= 0 ? static_cast<int>(*seconds) : 0});
        return {};
      }
      default: break;
    }
  }
  if (r.level == IPPROTO_TCP && r.name == TCP_INFO) {
    auto info = protocols.tcp_info(socket.id());
    if (!info && info.error() != Errc::not_supported) return info.error();
    tcp::TcpInfo unconnected;
    if (socket.is_listener()) unconnected.state = tcp::State::listen;
    put(reply, to_linux(info ? *info : unconnected));
    return {};
  }
  if (r.level == IPPROTO_TCP && r.name == TCP_CONGESTION) {
    auto number = protocols.option(socket.id(), Option::congestion);
    if (!number) return number.error();
    std::string_view name = *number >= 0 && *number < int64_t{std::size(kAlgorithms)} ? kAlgorithms[*number] : "";
    std::memset(reply.data, 0, 16);  // TCP_CA_NAME_MAX
    std::memcpy(reply.data, name.data(), name.size());
    reply.data_length = reply.value = 16;
    return {};
  }
  if (r.level == IPPROTO_IP && r.name == IP_MTU_DISCOVER) {
    auto on = protocols.option(socket.id(), Option::dont_fragment);
    if (!on) return on.error();
    put(reply, *on != 0 ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT);
    return {};
  }
  if (is_of_protocol(socket, r.level)) {
    std::memcpy(reply.data, r.data, r.data_length);
    auto length = protocols.protocol_option(socket.id(), r.name, MutableByteSpan(reinterpret_cast<std::byte*>(reply.data), sizeof reply.data),
                                            r.data_length);
    if (!length) return length.error();
    reply.data_length = reply.value = static_cast<uint32_t>(*length);
    return {};
  }
  const Mapping* m = find(r.level, r.name);
  if (m == nullptr) return Errc::no_protocol_option;
  auto value = protocols.option(socket.id(), m->option);
  if (!value) return value.error();
  put(reply, static_cast<int>(*value));
  return {};
}

}  // namespace ferry::server
