// One-to-many sockets (RFC 6458 section 3): associations that begin with the first message to a peer, or by connecting, or by the peer;
// sending to one of them; peeling one off. See usrsctp_server.h.
//
//   send_to, connect_one, COMM_UP --enter--> associations --leave--> COMM_LOST, SHUTDOWN_COMP, peel_off, close
#include <usrsctp.h>

#include <cerrno>

#include "foreign/usrsctp_server.h"
#include "foreign/usrsctp_values.h"

namespace ferry::foreign {
namespace {

using sctp_linux::Change;
using stack::bit;
using stack::CallResult;
using stack::Event;
using stack::failure;

}  // namespace

// How to get to `remote`. The socket is bound afterwards, since whoever asks is about to send.
Result<Peer> UsrsctpServer::peer_at(SctpSocket& s, const wire::Endpoint& remote) {
  const wire::IpAddress destination = services().reachable(remote.address);
  if (!destination.is_v4()) return Errc::net_unreachable;
  auto way = services().network().find_path(destination.v4(), s.local.address.is_any() ? wire::Ipv4Address{} : s.local.address.v4());
  if (!way) return way.error();
  if (way->broadcast || way->multicast || remote.port == 0) return Errc::invalid;
  Path* path = path_between(way->source, destination.v4());
  if (path == nullptr) return Errc::no_buffers;
  if (s.local.port == 0) {
    if (const Errc e = bind_port(s, 0); e != Errc::ok) return e;
  }
  return Peer{path, remote.port};
}

// 0: there is none.
uint32_t UsrsctpServer::association_with(const SctpSocket& s, const Peer& peer) {
  sockaddr_conn to = conn_address(peer.port, peer.path);
  return usrsctp_getassocid(s.so, reinterpret_cast<sockaddr*>(&to));
}

// An association that was peeled off has its addresses and ports for itself as long as its socket is there.
Errc UsrsctpServer::may_begin(const SctpSocket& s, const Peer& peer) const {
  if (associations_ >= services().config().max_sockets) return Errc::no_buffers;
  for (const SctpSocket* other : peeled_)
    if (other->local.port == s.local.port && other->path == peer.path && other->remote.port == peer.port && other->so != nullptr)
      return Errc::address_not_available;
  return Errc::ok;
}

Association& UsrsctpServer::enter(SctpSocket& s, uint32_t id, const Peer& peer) {
  auto [it, is_new] = s.associations.try_emplace(id);
  if (is_new) {
    it->second.peer = peer;
    it->second.subscriptions = s.subscriptions;
    ++peer.path->sockets;
    ++associations_;
    keep_ticking();
  }
  return it->second;
}

void UsrsctpServer::leave(SctpSocket& s, uint32_t id) {
  auto it = s.associations.find(id);
  if (it == s.associations.end()) return;
  --it->second.peer.path->sockets;
  --associations_;
  linger_until_ = services().now() + kLinger;
  s.associations.erase(it);
}

void UsrsctpServer::leave_all(SctpSocket& s) {
  while (!s.associations.empty()) leave(s, s.associations.begin()->first);
}

CallResult UsrsctpServer::connect_one(SctpSocket& s, const stack::Call& call) {
  if (s.so == nullptr) return failure(Errc::invalid);
  auto peer = peer_at(s, call.remote);
  if (!peer) return failure(peer.error());
  if (const uint32_t id = association_with(s, *peer); id != 0) {
    const auto it = s.associations.find(id);
    return failure(it != s.associations.end() && it->second.up ? Errc::is_connected : Errc::already);
  }
  if (const Errc e = may_begin(s, *peer); e != Errc::ok) return failure(e);
  sockaddr_conn to = conn_address(peer->port, peer->path);
  keep_ticking();
  if (usrsctp_connect(s.so, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) return failure(to_errc(errno));
  s.association = association_with(s, *peer);
  s.error = Errc::ok;
  if (s.association != 0) enter(s, s.association, *peer);
  CallResult result;
  result.error = Errc::in_progress;
  result.local = s.local;
  return result;
}

// To an address, whose association is begun if there is none, or to an association by its number.
Errc UsrsctpServer::send_to(SctpSocket& s, const stack::Call& call) {
  if (s.so == nullptr) return Errc::invalid;
  auto info = send_info(s, call);
  if (!info) return info.error();
  const bool addressed = call.message != nullptr && !(call.message->remote == wire::Endpoint{});
  if (!addressed) {
    // It may have ended since the program sent this: lost, as on the way. The program is told of the end, not of every message.
    if (!s.associations.contains(info->association)) return ++lost_, Errc::ok;
    return hand_on(s, call, *info, nullptr);
  }
  auto peer = peer_at(s, call.message->remote);
  if (!peer) return peer.error();
  info->association = association_with(s, *peer);
  if (info->association != 0) return hand_on(s, call, *info, nullptr);
  if (info->end || info->abort) return Errc::invalid;
  if (const Errc e = may_begin(s, *peer); e != Errc::ok) return e;
  keep_ticking();
  if (const Errc e = hand_on(s, call, *info, &*peer); e != Errc::ok) return e;
  if (const uint32_t id = association_with(s, *peer); id != 0) enter(s, id, *peer);
  return Errc::ok;
}

// The association becomes a socket of its own, which the caller has at once.
CallResult UsrsctpServer::peel_off(SctpSocket& s, uint32_t id) {
  const auto it = s.associations.find(id);
  if (s.so == nullptr || it == s.associations.end()) return failure(Errc::invalid);
  if (!it->second.up) return failure(Errc::not_connected);
  if (services().is_full()) return failure(Errc::too_many);
  usrsctp_socket_t* so = usrsctp_peeloff(s.so, id);
  if (so == nullptr) return failure(to_errc(errno));
  const Association association = it->second;
  leave(s, id);
  SctpSocket* child = adopt(s, so, association.peer);
  if (child == nullptr) return failure(Errc::no_buffers);
  child->subscriptions = association.subscriptions;
  child->association = id;
  child->peeled = true;
  peeled_.push_back(child);
  CallResult result;
  result.socket = child->id;
  result.local = child->local;
  result.remote = child->remote;
  return result;
}

void UsrsctpServer::on_association(SctpSocket& s, const sctp_linux::Notification& change, const Peer& peer) {
  const bool ends = change.change == Change::lost || change.change == Change::not_started || change.change == Change::shut_down;
  const bool awaited = change.association == s.association;
  if (change.change == Change::up) {
    const bool room = s.associations.contains(change.association) || associations_ < services().config().max_sockets;
    const bool wanted = s.local.address.is_any() || s.local.address == wire::IpAddress::from(peer.path->local);
    Association& association = enter(s, change.association, peer);
    association.up = true;
    association.unwanted = !room || !wanted;
    if (association.unwanted) return order(s.so, change.association, SCTP_ABORT);
  }
  notify(s, change, peer, {}, true);
  if (ends) leave(s, change.association);
  if (!awaited || change.change == Change::restart) return;
  s.association = 0;
  if (change.change == Change::up) return up().on_events(s.owner, bit(Event::established) | bit(Event::writable));
  s.error = change.by_peer ? Errc::refused : Errc::timed_out;
  up().on_events(s.owner, bit(Event::failed));
}

}  // namespace ferry::foreign
