// Calls of the sockets API on usrsctp's sockets. See usrsctp_server.h.
#include <usrsctp.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "foreign/usrsctp_server.h"
#include "foreign/usrsctp_values.h"

namespace ferry::foreign {
namespace {

using stack::bit;
using stack::CallOp;
using stack::CallResult;
using stack::Event;
using stack::failure;

constexpr stack::Service kOffers[] = {
    {stack::SocketType::sctp, stack::Style::message, IPPROTO_SCTP, "sctp (usrsctp)"},
    {stack::SocketType::sctp_many, stack::Style::message, 0, "sctp, one-to-many (usrsctp)", true},
};
constexpr uint32_t kMaxBacklog = 4096;
constexpr uint32_t kOwnQueue = 128;   // of usrsctp, which aborts what does not fit
constexpr int kPortsToTry = 64;

SctpSocket& mine(stack::Socket& s) { return static_cast<SctpSocket&>(s); }

}  // namespace

std::span<const stack::Service> UsrsctpServer::offers() const { return kOffers; }

Result<stack::Socket*> UsrsctpServer::make_socket(const stack::Call& call) {
  auto s = std::make_unique<SctpSocket>(call.type);
  if (!open(*s)) return Errc::no_memory;
  ++sockets_;
  return s.release();
}

bool UsrsctpServer::open(SctpSocket& s) {
  usrsctp_socket_t* so = usrsctp_socket(AF_CONN, s.many() ? SOCK_SEQPACKET : SOCK_STREAM, IPPROTO_SCTP, nullptr, nullptr, 0, nullptr);
  if (so == nullptr) return false;
  if (!set_up(so, least_mtu())) return usrsctp_close(so), false;
  usrsctp_set_upcall(so, upcall, &s);
  s.so = so;
  return true;
}

// usrsctp lets a socket connect once; Linux lets it try again. So it gets another with the same name and options. One that cannot be had
// leaves it closed.
void UsrsctpServer::open_again(SctpSocket& s) {
  if (!open(s)) return;
  if (bind_port(s, s.local.port) != Errc::ok) return release(s, true);
  const sctp_linux::Subscriptions wanted = std::exchange(s.subscriptions, {});
  for (size_t kind = 0; kind < sctp_linux::Subscriptions::kBytes; ++kind)
    if (wanted.on[kind] != 0) (void)subscribe(s, {sctp_linux::kAll, static_cast<sctp_linux::Kind>(kind), true});
  for (const auto& [name, value] : s.chosen) (void)set_protocol_option(s, name, value);
}

void UsrsctpServer::destroy(stack::Socket& any, bool) {
  SctpSocket& s = mine(any);
  services().forget(s);
  release(s, true);
  if (s.parent != nullptr) std::erase(s.parent->waiting, &s);
  for (SctpSocket* child : s.waiting) child->parent = nullptr;  // only when the whole stack goes
  if (s.path != nullptr) --s.path->sockets;
  std::erase(marked_, &s);
  std::erase(peeled_, &s);
  --sockets_;
  delete &s;
}

CallResult UsrsctpServer::call(stack::Socket& any, const stack::Call& call) {
  SctpSocket& s = mine(any);
  if (s.parent != nullptr) return failure(Errc::bad_socket);  // not accepted yet
  CallResult result;
  switch (call.op) {
    case CallOp::bind: result = bind(s, call); break;
    case CallOp::connect: result = s.many() ? connect_one(s, call) : connect(s, call); break;
    case CallOp::accept: result = s.many() ? peel_off(s, static_cast<uint32_t>(call.number)) : accept(s); break;
    case CallOp::listen: result.error = listen(s, call.number); break;
    case CallOp::send_message: result.error = s.many() ? send_to(s, call) : send(s, call); break;
    case CallOp::consumed:  // there is room again
      if (deliver_pending(s)) receive(s);
      break;
    case CallOp::shutdown: result.error = shutdown(s, call.number); break;
    case CallOp::set_option: return failure(set_option(s, call.option, call.number));
    case CallOp::set_protocol_option: return failure(choose(s, static_cast<int>(call.number), call.value));
    case CallOp::close: close(s, false); break;
    case CallOp::abort: close(s, true); break;
    default: return failure(Errc::not_supported);
  }
  look_at_marked();
  return result;
}

// Port 0: one of the ephemeral ports that is free.
Errc UsrsctpServer::bind_port(SctpSocket& s, uint16_t port) {
  const stack::Config& config = services().config();
  const uint32_t range = uint32_t{config.ephemeral_last} - config.ephemeral_first + 1;
  for (int i = 0; i < (port == 0 ? kPortsToTry : 1); ++i) {
    const uint16_t wanted = port != 0 ? port : static_cast<uint16_t>(config.ephemeral_first + services().rng().below(range));
    sockaddr_conn address = conn_address(wanted, nullptr);
    if (usrsctp_bind(s.so, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
      s.local.port = wanted;
      return Errc::ok;
    }
    if (errno != EADDRINUSE) return to_errc(errno);
  }
  return Errc::address_in_use;
}

CallResult UsrsctpServer::bind(SctpSocket& s, const stack::Call& call) {
  if (s.local.port != 0 || s.so == nullptr) return failure(Errc::invalid);
  const wire::IpAddress& address = call.local.address;
  if (!address.is_any() && (!address.is_v4() || !services().network().is_local(address.v4())))
    return failure(Errc::address_not_available);
  if (const Errc e = bind_port(s, call.local.port); e != Errc::ok) return failure(e);
  s.local.address = address;
  CallResult result;
  result.local = s.local;
  return result;
}

CallResult UsrsctpServer::connect(SctpSocket& s, const stack::Call& call) {
  if (call.remote.address.is_any() && call.remote.port == 0) return failure(Errc::not_supported);
  if (s.listening || s.established) return failure(Errc::is_connected);
  if (s.connecting) return failure(Errc::already);
  if (s.so == nullptr) return failure(Errc::invalid);
  const wire::IpAddress destination = services().reachable(call.remote.address);
  if (!destination.is_v4()) return failure(Errc::net_unreachable);
  auto way = services().network().find_path(destination.v4(), s.local.address.is_any() ? wire::Ipv4Address{} : s.local.address.v4());
  if (!way) return failure(way.error());
  if (way->broadcast || way->multicast) return failure(Errc::net_unreachable);
  if (call.remote.port == 0) return failure(Errc::address_not_available);
  Path* path = path_between(way->source, destination.v4());
  if (path == nullptr) return failure(Errc::no_buffers);
  if (s.local.port == 0) {
    if (const Errc e = bind_port(s, 0); e != Errc::ok) return failure(e);
  }
  if (s.path != nullptr) --s.path->sockets;
  s.path = path;
  ++path->sockets;
  sockaddr_conn to = conn_address(call.remote.port, path);
  keep_ticking();
  if (usrsctp_connect(s.so, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) return failure(to_errc(errno));
  ++associations_;
  s.connecting = true;
  s.error = Errc::ok;
  s.failed = s.told_closed = false;
  s.local.address = wire::IpAddress::from(way->source);
  s.remote = {destination, call.remote.port};
  CallResult result;
  result.error = Errc::in_progress;
  result.local = s.local;
  result.remote = s.remote;
  return result;
}

Errc UsrsctpServer::listen(SctpSocket& s, int64_t backlog) {
  if (s.established || s.connecting || s.so == nullptr) return Errc::invalid;
  s.backlog = static_cast<uint32_t>(std::clamp<int64_t>(backlog, 0, kMaxBacklog));
  if (s.listening && !s.many()) return Errc::ok;
  if (s.local.port == 0) {
    if (const Errc e = bind_port(s, 0); e != Errc::ok) return e;
  }
  if (usrsctp_listen(s.so, s.many() ? static_cast<int>(s.backlog) : static_cast<int>(std::max(s.backlog, kOwnQueue))) != 0)
    return to_errc(errno);
  s.listening = !s.many() || s.backlog > 0;  // 0: no new associations, sctp(7)
  return Errc::ok;
}

CallResult UsrsctpServer::accept(SctpSocket& s) {
  if (!s.listening) return failure(Errc::invalid);
  if (s.waiting.empty()) return failure(Errc::again);
  SctpSocket* child = s.waiting.front();
  s.waiting.pop_front();
  child->parent = nullptr;
  upcall(s.so, &s, 0);  // usrsctp's queue may have another
  look_at_marked();
  CallResult result;
  result.socket = child->id;
  result.local = child->local;
  result.remote = child->remote;
  return result;
}

uint32_t UsrsctpServer::send_space(const stack::Socket& any) const {
  const auto& s = static_cast<const SctpSocket&>(any);
  return s.so != nullptr && (s.established || s.many()) && !s.blocked && !s.write_shut && !s.peer_closed ? UINT32_MAX : 0;
}

Result<sctp_linux::SendInfo> UsrsctpServer::send_info(const SctpSocket& s, const stack::Call& call) const {
  if (call.message == nullptr || call.message->control_length == 0) return s.defaults;
  return sctp_linux::read_send_info(call.message->control_type,
                                    ByteSpan(reinterpret_cast<const std::byte*>(call.message->control), call.message->control_length));
}

Errc UsrsctpServer::send(SctpSocket& s, const stack::Call& call) {
  if (s.connecting) return Errc::again;
  if (s.so == nullptr || !s.established || s.write_shut || s.peer_closed) return s.established ? Errc::broken_pipe : Errc::not_connected;
  auto info = send_info(s, call);
  if (!info) return info.error();
  info->association = 0;  // means nothing here
  return hand_on(s, call, *info, nullptr);
}

// Gives usrsctp the message, which it copies, all of it or nothing. `to`: nullptr for the connected peer, or the association of `info`.
Errc UsrsctpServer::hand_on(SctpSocket& s, const stack::Call& call, const sctp_linux::SendInfo& info, const Peer* to) {
  sctp_sendv_spa spa{};
  spa.sendv_flags = SCTP_SEND_SNDINFO_VALID;
  spa.sendv_sndinfo.snd_sid = info.stream;
  spa.sendv_sndinfo.snd_flags = static_cast<uint16_t>((info.unordered ? SCTP_UNORDERED : 0) | (info.end ? SCTP_EOF : 0) |
                                                      (info.abort ? SCTP_ABORT : 0));
  spa.sendv_sndinfo.snd_ppid = info.protocol;
  spa.sendv_sndinfo.snd_context = info.context;
  spa.sendv_sndinfo.snd_assoc_id = info.association;
  if (info.lifetime_ms > 0) {
    spa.sendv_flags |= SCTP_SEND_PRINFO_VALID;
    spa.sendv_prinfo.pr_policy = SCTP_PR_SCTP_TTL;
    spa.sendv_prinfo.pr_value = info.lifetime_ms;
  }
  const ByteSpan bytes = up().read(call.data);
  if (bytes.size() != call.data.length) return Errc::invalid;
  sockaddr_conn address = to != nullptr ? conn_address(to->port, to->path) : sockaddr_conn{};
  const void* data = bytes.empty() ? "" : static_cast<const void*>(bytes.data());  // nullptr would be refused
  sockaddr* const addresses = to != nullptr ? reinterpret_cast<sockaddr*>(&address) : nullptr;
  if (usrsctp_sendv(s.so, data, bytes.size(), addresses, to != nullptr, &spa, sizeof spa, SCTP_SENDV_SPA, 0) >= 0) {
    services().counters().payload_bytes_copied += bytes.size();
    return Errc::ok;
  }
  const Errc error = to_errc(errno);
  if (error == Errc::again) s.blocked = true;
  return error;
}

Errc UsrsctpServer::shutdown(SctpSocket& s, int64_t how) {
  if (how < 1 || how > 3) return Errc::invalid;
  if (s.many()) return Errc::not_supported;
  if (s.listening && (how & 1) != 0) return stop_listening(s), Errc::ok;
  if (s.so == nullptr || !s.established || s.peer_closed) return s.established ? Errc::ok : Errc::not_connected;
  if ((how & 2) != 0 && !s.write_shut) {  // as sctp(7): it ends both directions once everything was sent
    s.write_shut = true;
    if (!s.peeled) return (void)usrsctp_shutdown(s.so, SHUT_WR), Errc::ok;
    order(s.so, 0, SCTP_EOF);
  }
  return Errc::ok;
}

// Gives the socket back to usrsctp, which ends the association on its own.
void UsrsctpServer::release(SctpSocket& s, bool abort) {
  if (s.so == nullptr) return;
  usrsctp_set_upcall(s.so, nullptr, nullptr);
  if (abort) {
    const linger now{1, 0};
    (void)usrsctp_setsockopt(s.so, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }
  usrsctp_close(s.so);
  s.so = nullptr;
  if (s.many()) leave_all(s);
  else if (s.established || s.connecting) --associations_;
  s.connecting = false;
  linger_until_ = services().now() + kLinger;
  keep_ticking();
}

void UsrsctpServer::stop_listening(SctpSocket& s) {
  s.listening = false;
  const std::deque<SctpSocket*> waiting = std::move(s.waiting);
  s.waiting.clear();
  for (SctpSocket* child : waiting) {
    child->parent = nullptr;
    release(*child, true);
    services().tell_closed(*child, bit(Event::failed) | bit(Event::closed));
    services().doom(*child);
  }
}

void UsrsctpServer::close(SctpSocket& s, bool abort) {
  if (s.listening) stop_listening(s);
  services().forget(s);
  release(s, abort || s.linger_s == 0 || s.has_pending);
  services().tell_closed(s, bit(Event::closed));
  services().doom(s);
}

void UsrsctpServer::describe(const stack::Socket& any, Instant, stack::SocketInfo& info) const {
  const auto& s = static_cast<const SctpSocket&>(any);
  info.local = s.local;
  info.remote = s.remote;
  info.error = s.error;
  info.send_buffer = usrsctp_sysctl_get_sctp_sendspace();
  info.receive_buffer = usrsctp_sysctl_get_sctp_recvspace();
  const tcp::State state = s.listening ? tcp::State::listen : s.connecting ? tcp::State::syn_sent
                           : (s.established || !s.associations.empty()) && s.so != nullptr ? tcp::State::established
                                                                                          : tcp::State::closed;
  info.tcp_state = static_cast<uint8_t>(state);
  if (!s.listening || s.many()) return;
  info.receive_queue = static_cast<uint32_t>(s.waiting.size());
  info.send_queue = s.backlog;
}

void UsrsctpServer::for_each_counter(stack::CounterVisitor& visitor) const {
  visitor.on_counter("sctp_sockets", sockets_);
  visitor.on_counter("sctp_associations", associations_);
  visitor.on_counter("sctp_paths", paths_.size());
  visitor.on_counter("drop_sctp_no_association", lost_);
}

}  // namespace ferry::foreign
