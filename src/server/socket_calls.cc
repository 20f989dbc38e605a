// Calls on a socket: connect, and those that its client puts into the output ring (abi::RingCall) instead of asking for them.
#include "server/engines.h"
#include "server/options.h"
#include "server/socket.h"

namespace ferry::server {
namespace abi = ipc::abi;

Errc Socket::connect(const stack::Endpoint& remote) {
  if (connects() && listener_) return Errc::is_connected;
  if (connects() && !begin_connecting()) return connected() ? Errc::is_connected : Errc::already;
  if (many_) {  // the state is that of the latest one
    ready_ = (ready_ | abi::kConnecting) & ~uint32_t{abi::kConnected};
    state_changed_ = true;
    mark();
  }
  stack::Call call;
  call.op = stack::CallOp::connect;
  call.socket = id_;
  call.remote = remote;
  stray(remote);
  Errc error = ctx_.protocols.call(call).error;
  const bool begun = error == Errc::ok || error == Errc::in_progress;
  if ((connects() || many_) && !begun) {
    cancel_connecting();
    stray_no_more();
  }
  if (style_ == stack::Style::datagram && begun) on_peer(true);
  return error;
}

// A program that chose the local port did not choose one whose flows come to this engine.
void Socket::stray(const stack::Endpoint& remote) {
  if (ctx_.engines == nullptr || claim_ == nullptr) return;
  stray_no_more();
  stray_to_ = remote;
  stray_ = true;
  ctx_.engines->strays().add(claim_->port(), remote, ctx_.engine);
}

void Socket::stray_no_more() {
  if (std::exchange(stray_, false)) ctx_.engines->strays().remove(claim_->port(), stray_to_);
}

void Socket::catch_up() {
  if (Attachment* h = home()) h->channel->answer_doorbells();
  if (Attachment* h = home(); h != nullptr && !kernel_mode_ && move_ == MoveKind::none) {
    // What the ring has comes behind everything in the passage, and its client looks at the ring to see where its next byte goes.
    if (in_passage()) {
      if (!wants_to_leave()) return;
      if (!leave_passage()) return mark();
    }
    take_output(*h);
  }
  if (many_) feed();  // a call may be about the connection that a message is for
}

// False: there is no such call. Listeners that the client has closed before a connect are out of the way by now: take_output().
bool Socket::take_call(const abi::Descriptor& d) {
  if (type_ != stack::SocketType::tcp || d.length != 0) return false;
  if (d.region == abi::kCallConnect) {
    stack::Endpoint remote;
    remote.address = wire::IpAddress::from(wire::Ipv4Address{static_cast<uint32_t>(d.offset)});
    remote.port = static_cast<uint16_t>(d.offset >> 32);
    const Errc error = connect(remote);
    const bool begun = error == Errc::ok || error == Errc::in_progress;
    if (auto info = ctx_.protocols.info(id_); begun && info) set_addresses(info->local, info->remote);
    if (begun || (ready_ & (abi::kConnected | abi::kConnecting)) != 0) return true;
    ready_ |= abi::kReadClosed | abi::kWriteClosed | abi::kHangUp;
    fail(error);
    state_changed_ = event_ = true;
    return true;
  }
  if (d.region != abi::kCallOption) return false;
  ipc::control::Request request;
  const auto value = static_cast<int32_t>(d.offset);
  request.level = static_cast<uint16_t>(d.offset >> 32);
  request.name = static_cast<uint16_t>(d.offset >> 48);
  request.data_length = sizeof value;
  __builtin_memcpy(request.data, &value, sizeof value);
  (void)set_option(ctx_.protocols, *this, request);
  return true;
}

}  // namespace ferry::server
