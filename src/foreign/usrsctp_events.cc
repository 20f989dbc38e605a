// What usrsctp tells. An upcall only marks the socket, because it comes with usrsctp's locks held; afterwards look_at() asks. See
// usrsctp_server.h.
#include <usrsctp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "foreign/usrsctp_server.h"
#include "foreign/usrsctp_values.h"

namespace ferry::foreign {
namespace {

using stack::bit;
using stack::Event;
using stack::MessageInfo;

constexpr size_t kPiece = 64 * 1024;   // of a message, at most so much at once

}  // namespace

void UsrsctpServer::upcall(usrsctp_socket_t*, void* arg, int) {
  auto* s = static_cast<SctpSocket*>(arg);
  if (s == nullptr || s->marked) return;
  s->marked = true;
  static_cast<UsrsctpServer*>(s->server)->marked_.push_back(s);
}

void UsrsctpServer::look_at_marked() {
  while (!marked_.empty()) {
    SctpSocket* s = marked_.back();
    marked_.pop_back();
    s->marked = false;
    look_at(*s);
  }
}

void UsrsctpServer::look_at(SctpSocket& s) {
  if (s.listening && !s.many()) {
    while (s.waiting.size() <= s.backlog) {  // more wait in usrsctp's own queue
      sockaddr_conn remote{};
      socklen_t length = sizeof remote;
      usrsctp_socket_t* so = usrsctp_accept(s.so, reinterpret_cast<sockaddr*>(&remote), &length);
      if (so == nullptr) return;
      Path* path = known(remote.sconn_addr);
      if (path != nullptr) take_child(s, so, *path, ntohs(remote.sconn_port));
      else usrsctp_close(so);
    }
    return;
  }
  if (deliver_pending(s)) receive(s);
  if (s.so == nullptr || !s.blocked) return;
  if ((usrsctp_get_events(s.so) & SCTP_EVENT_WRITE) == 0) return;
  s.blocked = false;
  up().on_events(s.owner, bit(Event::writable));
}

// An association that a listener got. Without room, or for an address that it is not bound to, it is aborted.
void UsrsctpServer::take_child(SctpSocket& listener, usrsctp_socket_t* so, Path& path, uint16_t remote_port) {
  const bool wanted = listener.local.address.is_any() || listener.local.address == wire::IpAddress::from(path.local);
  SctpSocket* child = adopt(listener, so, {&path, remote_port}, wanted);
  if (child == nullptr) return;
  usrsctp_set_non_blocking(so, 1);
  child->parent = &listener;
  listener.waiting.push_back(child);
  up().on_acceptable(listener.owner);
  up().on_events(child->owner, bit(Event::established) | bit(Event::writable));
}

// A socket for an association that has come out of another's. nullptr: nobody has room for it, or it is not wanted, and it was aborted.
SctpSocket* UsrsctpServer::adopt(SctpSocket& parent, usrsctp_socket_t* so, const Peer& peer, bool wanted) {
  auto* child = new SctpSocket(stack::SocketType::sctp);
  ++sockets_;
  ++associations_;
  child->server = this;
  child->so = so;
  child->established = true;
  child->path = peer.path;
  ++peer.path->sockets;
  child->local = {wire::IpAddress::from(peer.path->local), parent.local.port};
  child->remote = peer.endpoint();
  child->linger_s = parent.linger_s;
  child->subscriptions = parent.subscriptions;
  child->wants_receive_info = parent.wants_receive_info;
  child->defaults = parent.defaults;
  keep_ticking();
  const bool room = wanted && !services().is_full() && services().add(*child).ok();
  if (room) child->owner = up().on_incoming(parent.owner, child->id, child->local, child->remote);
  if (child->owner == 0) return destroy(*child, true), nullptr;
  usrsctp_set_upcall(so, upcall, child);
  upcall(so, child, 0);  // what has come already
  return child;
}

// Takes what usrsctp has, until the host refuses.
void UsrsctpServer::receive(SctpSocket& s) {
  std::byte buffer[kPiece];
  while (s.so != nullptr && !s.has_pending && (!s.listening || s.many())) {
    sockaddr_conn from{};
    socklen_t from_length = sizeof from;
    sctp_recvv_rn info{};
    socklen_t info_length = sizeof info;
    unsigned info_type = 0;
    int flags = 0;
    const ssize_t n = usrsctp_recvv(s.so, buffer, sizeof buffer, reinterpret_cast<sockaddr*>(&from), &from_length, &info, &info_length,
                                    &info_type, &flags);
    if (n < 0) {
      if (errno == EAGAIN || s.many() || (!s.established && errno == ENOTCONN)) return;
      return fail(s, to_errc(errno));
    }
    if (n == 0) return s.many() ? void() : s.parent != nullptr ? on_end_in_queue(s) : on_peer_closed(s);
    const ByteSpan bytes(buffer, static_cast<size_t>(n));
    Peer peer{s.path, s.remote.port};
    if (s.many()) peer = {known(from.sconn_addr), ntohs(from.sconn_port)};
    if (peer.path == nullptr) continue;  // of one that is long gone
    if ((flags & MSG_NOTIFICATION) != 0) {
      on_notification(s, peer, bytes, (flags & MSG_EOR) != 0);
      continue;
    }
    MessageInfo message;
    message.remote = peer.endpoint();
    if ((flags & MSG_EOR) != 0) message.flags |= MessageInfo::kEnd;
    if (info_type == SCTP_RECVV_RCVINFO) {  // libferry gives it to a program that has asked
      sctp_rcvinfo r;
      std::memcpy(&r, &info, sizeof r);
      sctp_linux::ReceiveInfo given;
      given.stream = r.rcv_sid;
      given.sequence = r.rcv_ssn;
      given.unordered = (r.rcv_flags & SCTP_UNORDERED) != 0;
      given.protocol = r.rcv_ppid;
      given.context = r.rcv_context;
      given.tsn = r.rcv_tsn;
      given.cumulative_tsn = r.rcv_cumtsn;
      given.association = r.rcv_assoc_id;
      if (s.many()) {
        const auto it = s.associations.find(r.rcv_assoc_id);
        if (it == s.associations.end() || it->second.unwanted) continue;
      }
      message.control_type = s.wants_receive_info ? sctp_linux::kReceive : sctp_linux::kSendReceive;
      message.control_length = static_cast<uint16_t>(sctp_linux::write_receive_info(
          message.control_type, given, MutableByteSpan(reinterpret_cast<std::byte*>(message.control), sizeof message.control)));
    }
    (void)deliver(s, message, bytes);
  }
}

// False: it waits here until the host has room.
bool UsrsctpServer::deliver(SctpSocket& s, const MessageInfo& info, ByteSpan bytes) {
  if (s.owner == 0 || up().deliver_message(s.owner, info, bytes).error() != Errc::no_buffers) return true;
  s.has_pending = true;
  s.pending_info = info;
  s.pending.assign(bytes.begin(), bytes.end());
  return false;
}

bool UsrsctpServer::deliver_pending(SctpSocket& s) {
  if (!s.has_pending) return true;
  if (up().deliver_message(s.owner, s.pending_info, s.pending).error() == Errc::no_buffers) return false;
  s.has_pending = false;
  s.pending = {};
  return true;
}

// The peer has ended the association, and everything of it was delivered.
void UsrsctpServer::on_peer_closed(SctpSocket& s) {
  s.peer_closed = true;
  release(s, false);
  services().tell_closed(s, bit(Event::peer_closed) | bit(Event::closed));
}

// The same while nobody has accepted it: it stays, so that accept(2) can pick it up with what came, as on Linux.
void UsrsctpServer::on_end_in_queue(SctpSocket& s) {
  if (std::exchange(s.peer_closed, true)) return;
  up().on_events(s.owner, bit(Event::peer_closed));
}

void UsrsctpServer::fail(SctpSocket& s, Errc error) {
  if (s.so == nullptr) return;
  int pending = 0;
  socklen_t length = sizeof pending;
  if (usrsctp_getsockopt(s.so, SOL_SOCKET, SO_ERROR, &pending, &length) == 0 && pending != 0) error = to_errc(pending);
  s.error = error;
  s.failed = true;
  const bool again = s.connecting;
  release(s, true);
  if (again) open_again(s);
  if (s.parent != nullptr) return up().on_events(s.owner, bit(Event::failed));  // it waits for accept still
  services().tell_closed(s, bit(Event::failed) | bit(Event::closed));
}

}  // namespace ferry::foreign
