// What lwIP tells: connections, data, room, ends; and the output that waits for room. See lwip_server.h.
#include <lwip/pbuf.h>
#include <lwip/priv/tcp_priv.h>

#include <algorithm>

#include "foreign/lwip_values.h"
#include "foreign/lwip_server.h"

namespace ferry::foreign {

using stack::bit;
using stack::Event;

void LwipServer::watch(LwipSocket& s) {
  tcp_arg(s.pcb, &s);
  tcp_recv(s.pcb, receive_callback);
  tcp_sent(s.pcb, sent_callback);
  tcp_err(s.pcb, error_callback);
}

// The pcb goes its own way, and tells us nothing any more.
void LwipServer::let_go(LwipSocket& s) {
  if (s.pcb == nullptr) return;
  tcp_arg(s.pcb, nullptr);
  if (s.pcb->state != LISTEN) {
    tcp_recv(s.pcb, nullptr);
    tcp_sent(s.pcb, nullptr);
    tcp_err(s.pcb, nullptr);
  }
  s.pcb = nullptr;
}

// Nothing more will happen: tells it, and what is left of the output is void.
void LwipServer::end(LwipSocket& s, uint32_t events) {
  if ((events & bit(Event::failed)) != 0) s.failed = true;
  s.output.clear();
  services().tell_closed(s, events | bit(Event::closed));
}

// Gives lwIP, which copies, as much as it takes; then the FIN or the end that waits behind it.
void LwipServer::pump(LwipSocket& s) {
  uint32_t taken = 0;
  while (s.pcb != nullptr && !s.output.empty()) {
    buf::IoDesc& first = s.output.front();
    const uint32_t n = std::min({first.length, uint32_t{tcp_sndbuf(s.pcb)}, uint32_t{TCP_SND_BUF / 2}});
    if (n == 0) break;
    const ByteSpan bytes = up().read(first.prefix(n));
    const u8_t more = s.output.size() > 1 || n < first.length ? TCP_WRITE_FLAG_MORE : 0;
    if (bytes.size() != n || tcp_write(s.pcb, bytes.data(), static_cast<u16_t>(n), TCP_WRITE_FLAG_COPY | more) != ERR_OK) break;
    services().counters().payload_bytes_copied += n;
    taken += n;
    first = first.without_prefix(n);
    if (first.empty()) s.output.pop_front();
  }
  if (taken > 0) up().on_completed(s.owner, taken);
  if (s.pcb == nullptr) return;
  if (s.output.empty() && s.closing) {
    // lwIP would lose what came in the segment that it is looking at.
    if (in_input_) close_waits_ = true;
    else return finish_close(s);
  }
  if (s.output.empty() && s.write_shut && (s.pcb->flags & TF_FIN) == 0) (void)tcp_shutdown(s.pcb, 0, 1);  // again with the next tick if it fails
  tcp_output(s.pcb);
}

// The host has closed it and lwIP has all of its output: from here on lwIP ends the connection alone.
void LwipServer::finish_close(LwipSocket& s) {
  tcp_pcb* pcb = s.pcb;
  let_go(s);  // with unread input tcp_close() resets the connection, and may free the pcb
  if (tcp_close(pcb) != ERR_OK) {  // no memory: the next tick tries again
    s.pcb = pcb;
    return watch(s);
  }
  std::erase(closing_, &s);
  end(s, 0);
  services().doom(s);
}

err_t LwipServer::sent_callback(void* arg, tcp_pcb*, u16_t) {
  if (arg == nullptr) return ERR_OK;
  LwipSocket& s = *static_cast<LwipSocket*>(arg);
  LwipServer& server = of(s);
  const bool full = !s.output.empty();
  server.pump(s);
  if (full && s.output.empty() && !s.closing) server.up().on_events(s.owner, bit(Event::writable));
  return ERR_OK;
}

err_t LwipServer::connected_callback(void* arg, tcp_pcb*, err_t) {
  if (arg != nullptr) of(*static_cast<LwipSocket*>(arg)).on_connected(*static_cast<LwipSocket*>(arg));
  return ERR_OK;
}

void LwipServer::on_connected(LwipSocket& s) {
  s.established = true;
  ++services().counters().tcp_connections_opened;
  up().on_events(s.owner, bit(Event::established) | bit(Event::writable));
}

err_t LwipServer::accept_callback(void* arg, tcp_pcb* pcb, err_t error) {
  if (arg == nullptr || pcb == nullptr || error != ERR_OK) return ERR_VAL;
  return of(*static_cast<LwipSocket*>(arg)).on_accept(*static_cast<LwipSocket*>(arg), pcb);
}

// A handshake is done. Anything but ERR_OK makes lwIP reset the connection.
err_t LwipServer::on_accept(LwipSocket& listener, tcp_pcb* pcb) {
  if (listener.waiting.size() > listener.backlog || services().is_full()) return ERR_MEM;
  auto* child = new LwipSocket;
  ++sockets_;
  child->server = this;
  child->pcb = pcb;
  child->established = true;
  child->local = {wire::IpAddress::from(from_lwip(pcb->local_ip)), pcb->local_port};
  child->remote = {wire::IpAddress::from(from_lwip(pcb->remote_ip)), pcb->remote_port};
  child->no_delay = listener.no_delay;
  child->keep_alive = listener.keep_alive;
  child->reuse_address = listener.reuse_address;
  child->linger_s = listener.linger_s;
  child->keep_idle_s = listener.keep_idle_s;
  child->keep_interval_s = listener.keep_interval_s;
  child->keep_count = listener.keep_count;
  child->tos = listener.tos;
  child->ttl = listener.ttl;
  const bool numbered = services().add(*child).ok();
  if (numbered) child->owner = up().on_incoming(listener.owner, child->id, child->local, child->remote);
  if (child->owner == 0) {
    child->pcb = nullptr;  // lwIP resets and frees it
    destroy(*child, true);
    return ERR_MEM;
  }
  apply_options(*child);
  watch(*child);
  child->parent = &listener;
  listener.waiting.push_back(child);
  ++services().counters().tcp_connections_accepted;
  up().on_acceptable(listener.owner);
  up().on_events(child->owner, bit(Event::established) | bit(Event::writable));
  return ERR_OK;
}

err_t LwipServer::receive_callback(void* arg, tcp_pcb* pcb, pbuf* p, err_t) {
  if (arg == nullptr) {  // nobody's any more
    if (p != nullptr) {
      tcp_recved(pcb, p->tot_len);
      pbuf_free(p);
    }
    return ERR_OK;
  }
  return of(*static_cast<LwipSocket*>(arg)).on_receive(*static_cast<LwipSocket*>(arg), p);
}

namespace {
// lwIP has nothing more to do with the connection than to wait.
bool is_over(const tcp_pcb& pcb) { return pcb.state == TIME_WAIT || pcb.state == CLOSING; }
}  // namespace

// What finds no room lwIP keeps, and offers it again; but not if the FIN came with it and was the end of both ways, so then we do.
err_t LwipServer::on_receive(LwipSocket& s, pbuf* p) {
  if (p == nullptr) return on_fin(s), ERR_OK;
  if (s.read_shut || s.closing) {
    tcp_recved(s.pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
  }
  if (deliver(s, p)) return ERR_OK;
  if (!is_over(*s.pcb)) return ERR_MEM;
  s.late = p;
  late_.push_back(&s);
  return ERR_OK;
}

void LwipServer::on_fin(LwipSocket& s) {
  const bool over = is_over(*s.pcb);
  if (over) let_go(s);
  if (over && s.closing) {
    std::erase(closing_, &s);
    end(s, 0);
    services().doom(s);
  } else if (over && s.late == nullptr) {
    end(s, bit(Event::peer_closed));
  } else if (!over && s.owner != 0) {
    up().on_events(s.owner, bit(Event::peer_closed));
  }
}

// Each piece is placed, then all are delivered. False: no room, and nothing has changed.
bool LwipServer::deliver(LwipSocket& s, pbuf* p) {
  std::vector<buf::IoDesc> placed;
  for (pbuf* q = p; q != nullptr; q = q->next) {
    if (q->len == 0) continue;
    auto d = up().place(s.owner, ByteSpan(static_cast<const std::byte*>(q->payload), q->len));
    if (!d) {
      for (const buf::IoDesc& earlier : placed) up().discard(s.owner, earlier);
      return false;
    }
    placed.push_back(*d);
  }
  for (const buf::IoDesc& d : placed) up().deliver(s.owner, d);
  s.unread += p->tot_len;
  pbuf_free(p);
  up().on_events(s.owner, bit(Event::readable));
  return true;
}

void LwipServer::offer_late(LwipSocket& s) {
  if (s.read_shut) pbuf_free(s.late);
  else if (!deliver(s, s.late)) return;
  s.late = nullptr;
  std::erase(late_, &s);
  end(s, bit(Event::peer_closed));
}

void LwipServer::drop_late(LwipSocket& s) {
  if (s.late != nullptr) pbuf_free(s.late);
  s.late = nullptr;
  std::erase(late_, &s);
}

void LwipServer::error_callback(void* arg, err_t error) {
  if (arg != nullptr) of(*static_cast<LwipSocket*>(arg)).on_error(*static_cast<LwipSocket*>(arg), error);
}

// lwIP has freed the pcb: reset, given up, or (ERR_CLSD) ended properly.
void LwipServer::on_error(LwipSocket& s, err_t error) {
  s.pcb = nullptr;
  std::erase(closing_, &s);
  uint32_t events = 0;
  if (error != ERR_CLSD) {
    s.error = error == ERR_RST && !s.established ? Errc::refused : to_errc(error);
    ++services().counters().tcp_connections_failed;
    events = bit(Event::failed);
    s.failed = true;
  }
  if (s.parent != nullptr) return up().on_events(s.owner, events);  // it waits for accept still, as on Linux
  end(s, events);
  if (s.closing) services().doom(s);
}

void LwipServer::describe(const stack::Socket& any, Instant, stack::SocketInfo& info) const {
  const auto& s = static_cast<const LwipSocket&>(any);
  info.local = s.local;
  info.remote = s.remote;
  info.error = s.error;
  info.tcp_state = static_cast<uint8_t>(tcp::State::closed);
  info.send_buffer = s.send_buffer;
  info.receive_buffer = s.receive_buffer;
  if (s.listener != nullptr) {
    info.tcp_state = static_cast<uint8_t>(tcp::State::listen);
    info.receive_queue = static_cast<uint32_t>(s.waiting.size());
    info.send_queue = s.backlog;
  }
  if (s.pcb == nullptr) return;
  info.tcp_state = static_cast<uint8_t>(to_state(s.pcb->state));
  info.receive_queue = s.unread;
  info.send_queue = TCP_SND_BUF - tcp_sndbuf(s.pcb);
  for (const buf::IoDesc& d : s.output) info.send_queue += d.length;
  info.mss = tcp_mss(s.pcb);
  info.retransmits = s.pcb->nrtx;
}

Result<tcp::TcpInfo> LwipServer::tcp_info(const stack::Socket& any, Instant) const {
  const auto& s = static_cast<const LwipSocket&>(any);
  tcp::TcpInfo info;
  if (s.listener != nullptr) info.state = tcp::State::listen;
  if (s.pcb == nullptr) return info;
  info.state = to_state(s.pcb->state);
  info.retransmits = s.pcb->nrtx;
  info.snd_mss = info.rcv_mss = info.advmss = tcp_mss(s.pcb);
  info.snd_cwnd = s.pcb->mss > 0 ? s.pcb->cwnd / s.pcb->mss : 0;
  info.snd_wnd = s.pcb->snd_wnd;
  return info;
}

void LwipServer::for_each_counter(stack::CounterVisitor& visitor) const {
  uint64_t connections = 0, time_waits = 0;
  for (const tcp_pcb* p = tcp_active_pcbs; p != nullptr; p = p->next) ++connections;
  for (const tcp_pcb* p = tcp_tw_pcbs; p != nullptr; p = p->next) ++time_waits;
  visitor.on_counter("tcp_connections", connections);
  visitor.on_counter("tcp_time_waits", time_waits);
}

}  // namespace ferry::foreign
