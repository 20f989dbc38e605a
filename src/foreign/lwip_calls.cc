// Calls of the sockets API on lwIP's pcbs. See lwip_server.h.
#include <lwip/priv/tcp_priv.h>

#include <algorithm>

#include "foreign/lwip_values.h"
#include "foreign/lwip_server.h"
#include "port/api/log.h"

namespace ferry::foreign {
namespace {

using stack::bit;
using stack::CallOp;
using stack::CallResult;
using stack::failure;
using stack::Option;

constexpr stack::Service kOffers[] = {{stack::SocketType::tcp, stack::Style::stream, wire::kProtocolTcp, "tcp (lwIP)"}};
constexpr uint32_t kMaxBacklog = 4096;

LwipSocket& mine(stack::Socket& s) { return static_cast<LwipSocket&>(s); }

}  // namespace

std::span<const stack::Service> LwipServer::offers() const { return kOffers; }

Result<stack::Socket*> LwipServer::make_socket(const stack::Call&) {
  ++sockets_;
  return new LwipSocket;
}

void LwipServer::destroy(stack::Socket& any, bool) {
  LwipSocket& s = mine(any);
  services().forget(s);
  let_go(s);
  drop_late(s);
  if (s.listener != nullptr) {
    tcp_arg(s.listener, nullptr);
    tcp_close(s.listener);
  }
  if (s.parent != nullptr) std::erase(s.parent->waiting, &s);
  for (LwipSocket* child : s.waiting) child->parent = nullptr;  // only when the whole stack goes
  std::erase(closing_, &s);
  --sockets_;
  delete &s;
}

CallResult LwipServer::call(stack::Socket& any, const stack::Call& call) {
  LwipSocket& s = mine(any);
  if (s.parent != nullptr) return failure(Errc::bad_socket);  // not accepted yet
  switch (call.op) {
    case CallOp::bind: return bind(s, call);
    case CallOp::connect: return connect(s, call);
    case CallOp::accept: return accept(s);
    case CallOp::listen: return failure(listen(s, call.number));
    case CallOp::send: return failure(send(s, call));
    case CallOp::consumed: return failure(consumed(s, call.number));
    case CallOp::shutdown: return failure(shutdown(s, call.number));
    case CallOp::set_option: return failure(set_option(s, call.option, call.number));
    case CallOp::close: return close(s, false), CallResult{};
    case CallOp::abort: return close(s, true), CallResult{};
    default: return failure(Errc::not_supported);
  }
}

// A pcb with the socket's options.
Errc LwipServer::need_pcb(LwipSocket& s) {
  if (s.pcb != nullptr) return Errc::ok;
  s.pcb = tcp_new();
  if (s.pcb == nullptr) return Errc::no_memory;
  apply_options(s);
  watch(s);
  return Errc::ok;
}

CallResult LwipServer::bind(LwipSocket& s, const stack::Call& call) {
  if (s.local.port != 0 || s.listener != nullptr || s.established) return failure(Errc::invalid);
  const wire::IpAddress& address = call.local.address;
  if (!address.is_any()) {
    if (!address.is_v4() || !services().network().is_local(address.v4())) return failure(Errc::address_not_available);
    if (const Errc e = serve_address(address.v4()); e != Errc::ok) return failure(e);
  }
  if (const Errc e = need_pcb(s); e != Errc::ok) return failure(e);
  const ip_addr_t ip = to_lwip(address.is_any() ? wire::Ipv4Address{} : address.v4());
  if (const err_t e = tcp_bind(s.pcb, &ip, call.local.port); e != ERR_OK) return failure(to_errc(e));
  s.local = {address, s.pcb->local_port};
  CallResult result;
  result.local = s.local;
  return result;
}

CallResult LwipServer::connect(LwipSocket& s, const stack::Call& call) {
  if (call.remote.address.is_any() && call.remote.port == 0) return disconnect(s), CallResult{};
  if (s.listener != nullptr || s.established) return failure(Errc::is_connected);
  if (s.pcb != nullptr && s.pcb->state != CLOSED) return failure(Errc::already);
  const wire::IpAddress destination = services().reachable(call.remote.address);
  if (!destination.is_v4()) return failure(Errc::net_unreachable);
  auto path = services().network().find_path(destination.v4(), s.local.address.is_any() ? wire::Ipv4Address{} : s.local.address.v4());
  if (!path) return failure(path.error());
  if (path->broadcast || path->multicast) return failure(Errc::net_unreachable);
  if (call.remote.port == 0) return failure(Errc::address_not_available);
  if (destination.v4().is_loopback()) {
    port::log(port::LogLevel::warning, "a connection to 127.0.0.0/8 is refused: lwIP cannot serve it");
    return failure(Errc::net_unreachable);
  }
  if (const Errc e = serve_address(path->source); e != Errc::ok) return failure(e);
  if (const Errc e = need_pcb(s); e != Errc::ok) return failure(e);
  // The source is Ferry's choice: lwIP would take the address of the netif that packets leave by.
  const ip_addr_t source = to_lwip(path->source), to = to_lwip(destination.v4());
  if (s.local.port == 0) {
    if (const err_t e = tcp_bind(s.pcb, &source, 0); e != ERR_OK) return failure(to_errc(e));
  }
  s.pcb->local_ip = source;
  s.remote = {destination, call.remote.port};
  s.error = Errc::ok;
  s.failed = s.told_closed = false;
  if (const err_t e = tcp_connect(s.pcb, &to, call.remote.port, connected_callback); e != ERR_OK) return failure(to_errc(e));
  if (tick_.is_never()) tick_ = services().now() + Duration::ms(TCP_TMR_INTERVAL);
  s.local = {wire::IpAddress::from(path->source), s.pcb->local_port};
  CallResult result;
  result.error = Errc::in_progress;
  result.local = s.local;
  result.remote = s.remote;
  return result;
}

// connect(AF_UNSPEC): the connection is reset, a listener stops.
void LwipServer::disconnect(LwipSocket& s) {
  if (s.listener != nullptr) stop_listening(s);
  if (tcp_pcb* pcb = s.pcb; pcb != nullptr) {
    let_go(s);
    tcp_abort(pcb);
  }
  drop_late(s);
  uint32_t dropped = 0;
  for (const buf::IoDesc& d : s.output) dropped += d.length;
  s.output.clear();
  if (dropped > 0) up().on_completed(s.owner, dropped);
  s.established = s.failed = s.write_shut = s.read_shut = false;
  s.error = Errc::ok;
  s.local = s.remote = {};
  s.unread = 0;
}

Errc LwipServer::listen(LwipSocket& s, int64_t backlog) {
  s.backlog = static_cast<uint32_t>(std::clamp<int64_t>(backlog, 0, kMaxBacklog));
  if (s.listener != nullptr) return Errc::ok;
  if (s.established || (s.pcb != nullptr && s.pcb->state != CLOSED)) return Errc::invalid;
  if (const Errc e = need_pcb(s); e != Errc::ok) return e;
  if (s.local.port == 0) {
    if (const err_t e = tcp_bind(s.pcb, IP4_ADDR_ANY, 0); e != ERR_OK) return to_errc(e);
  }
  err_t error = ERR_OK;
  tcp_pcb* listener = tcp_listen_with_backlog_and_err(s.pcb, 255, &error);
  if (listener == nullptr) return to_errc(error);
  s.pcb = nullptr;  // freed by lwIP
  s.listener = listener;
  s.local.port = listener->local_port;
  tcp_arg(listener, &s);
  tcp_accept(listener, accept_callback);
  return Errc::ok;
}

void LwipServer::stop_listening(LwipSocket& s) {
  tcp_arg(s.listener, nullptr);
  tcp_close(s.listener);
  s.listener = nullptr;
  const std::deque<LwipSocket*> waiting = std::move(s.waiting);
  s.waiting.clear();
  for (LwipSocket* child : waiting) {
    child->parent = nullptr;
    if (tcp_pcb* pcb = child->pcb; pcb != nullptr) {
      let_go(*child);
      tcp_abort(pcb);
    }
    end(*child, bit(stack::Event::failed));
    services().doom(*child);
  }
}

CallResult LwipServer::accept(LwipSocket& s) {
  if (s.listener == nullptr) return failure(Errc::invalid);
  if (s.waiting.empty()) return failure(Errc::again);
  LwipSocket* child = s.waiting.front();
  s.waiting.pop_front();
  child->parent = nullptr;
  CallResult result;
  result.socket = child->id;
  result.local = child->local;
  result.remote = child->remote;
  return result;
}

Errc LwipServer::send(LwipSocket& s, const stack::Call& call) {
  if (s.pcb == nullptr || s.write_shut) return s.established ? Errc::broken_pipe : Errc::not_connected;
  if (!s.established) return Errc::not_connected;
  if (!s.output.empty()) return Errc::again;
  s.output.push_back(call.data);
  pump(s);
  return Errc::ok;
}

uint32_t LwipServer::send_space(const stack::Socket& any) const {
  const auto& s = static_cast<const LwipSocket&>(any);
  return s.pcb == nullptr || !s.established || !s.output.empty() ? 0 : UINT32_MAX;  // what lwIP has no room for waits here
}

Errc LwipServer::consumed(LwipSocket& s, int64_t bytes) {
  if (bytes < 0 || bytes > s.unread) return Errc::invalid;
  s.unread -= static_cast<uint32_t>(bytes);
  for (int64_t left = bytes; left > 0 && s.pcb != nullptr;) {
    const auto n = static_cast<u16_t>(std::min<int64_t>(left, UINT16_MAX));
    tcp_recved(s.pcb, n);
    left -= n;
  }
  return Errc::ok;
}

Errc LwipServer::shutdown(LwipSocket& s, int64_t how) {
  if (how < 1 || how > 3) return Errc::invalid;
  if (s.listener != nullptr && (how & 1) != 0) return stop_listening(s), Errc::ok;
  if (s.pcb == nullptr || !s.established) return s.established ? Errc::ok : Errc::not_connected;
  if ((how & 1) != 0) s.read_shut = true;
  if ((how & 2) != 0 && !s.write_shut) {
    s.write_shut = true;
    pump(s);
  }
  return Errc::ok;
}

void LwipServer::close(LwipSocket& s, bool abort) {
  if (s.listener != nullptr) stop_listening(s);
  services().forget(s);
  s.closing = true;
  tcp_pcb* pcb = s.pcb;
  if (pcb != nullptr && (abort || s.linger_s == 0)) {
    let_go(s);
    tcp_abort(pcb);
  }
  if (s.pcb == nullptr) {
    end(s, 0);
    return services().doom(s);
  }
  closing_.push_back(&s);
  pump(s);
}

Errc LwipServer::set_option(LwipSocket& s, Option option, int64_t value) {
  switch (option) {
    case Option::no_delay: s.no_delay = value != 0; break;
    case Option::keep_alive: s.keep_alive = value != 0; break;
    case Option::reuse_address: s.reuse_address = value != 0; break;
    case Option::keep_idle: s.keep_idle_s = static_cast<uint32_t>(value); break;
    case Option::keep_interval: s.keep_interval_s = static_cast<uint32_t>(value); break;
    case Option::keep_count: s.keep_count = static_cast<uint32_t>(value); break;
    case Option::linger: s.linger_s = static_cast<int32_t>(value); break;
    case Option::tos:
      if (value < 0 || value > 255) return Errc::invalid;
      s.tos = static_cast<uint8_t>(value);
      break;
    case Option::ttl:
      if (value < 1 || value > 255) return Errc::invalid;
      s.ttl = static_cast<uint8_t>(value);
      break;
    // lwIP's sizes were chosen when it was built. Programs that ask for others read what they asked for.
    case Option::receive_buffer: s.receive_buffer = static_cast<uint32_t>(value); break;
    case Option::send_buffer: s.send_buffer = static_cast<uint32_t>(value); break;
    case Option::quick_ack: break;
    default: return Errc::no_protocol_option;
  }
  apply_options(s);
  return Errc::ok;
}

void LwipServer::apply_options(LwipSocket& s) {
  if (s.pcb == nullptr) return;
  if (s.no_delay) tcp_nagle_disable(s.pcb);
  else tcp_nagle_enable(s.pcb);
  s.keep_alive ? ip_set_option(s.pcb, SOF_KEEPALIVE) : ip_reset_option(s.pcb, SOF_KEEPALIVE);
  s.reuse_address ? ip_set_option(s.pcb, SOF_REUSEADDR) : ip_reset_option(s.pcb, SOF_REUSEADDR);
  s.pcb->keep_idle = s.keep_idle_s * 1000;
  s.pcb->keep_intvl = s.keep_interval_s * 1000;
  s.pcb->keep_cnt = s.keep_count;
  s.pcb->tos = s.tos;
  s.pcb->ttl = s.ttl;
}

Result<int64_t> LwipServer::option(const stack::Socket& any, Option option) const {
  const auto& s = static_cast<const LwipSocket&>(any);
  switch (option) {
    case Option::no_delay: return int64_t{s.no_delay};
    case Option::keep_alive: return int64_t{s.keep_alive};
    case Option::reuse_address: return int64_t{s.reuse_address};
    case Option::keep_idle: return int64_t{s.keep_idle_s};
    case Option::keep_interval: return int64_t{s.keep_interval_s};
    case Option::keep_count: return int64_t{s.keep_count};
    case Option::linger: return int64_t{s.linger_s};
    case Option::tos: return int64_t{s.tos};
    case Option::ttl: return int64_t{s.ttl};
    case Option::receive_buffer: return int64_t{s.receive_buffer};
    case Option::send_buffer: return int64_t{s.send_buffer};
    case Option::max_segment: return int64_t{s.pcb != nullptr ? tcp_mss(s.pcb) : TCP_MSS};
    default: return Errc::no_protocol_option;
  }
}

}  // namespace ferry::foreign
