#include "server/listener_parts.h"

#include "server/options.h"

namespace ferry::server {
namespace {

using stack::Option;

constexpr Option kOptions[] = {
    Option::reuse_address, Option::reuse_port,  Option::no_delay,      Option::cork,         Option::keep_alive,   Option::keep_idle,
    Option::keep_interval, Option::keep_count,  Option::linger,        Option::user_timeout, Option::max_segment,  Option::quick_ack,
    Option::receive_buffer, Option::send_buffer, Option::tos,          Option::ttl,          Option::defer_accept, Option::syn_count,
    Option::congestion,    Option::oob_inline,  Option::linger2,       Option::window_clamp, Option::not_sent_low_water};

Socket* find_part(Context& context, uint64_t cookie) {
  Socket* s = context.sockets->find_by_cookie(cookie);
  return s != nullptr && s->is_part() ? s : nullptr;
}

stack::CallResult call(Context& context, const Socket& socket, stack::CallOp op, const stack::Endpoint& local, int64_t number,
                       uint32_t flags = 0) {
  stack::Call c;
  c.op = op;
  c.socket = socket.id();
  c.local = local;
  c.number = number;
  c.flags = flags;
  return context.protocols.call(c);
}

}  // namespace

ListenerPart ListenerPart::of(Protocols& protocols, const Socket& listener, int64_t backlog) {
  ListenerPart part;
  part.cookie = listener.cookie();
  part.local = listener.local();
  part.backlog = backlog;
  part.uid = listener.uid();
  for (const Option option : kOptions)
    if (auto value = protocols.option(listener.id(), option)) part.options.emplace_back(option, *value);
  return part;
}

Errc open_part(Context& context, const ListenerPart& part) {
  if (Socket* existing = find_part(context, part.cookie)) return call(context, *existing, stack::CallOp::listen, {}, part.backlog).error;
  Socket& socket = context.sockets->create(stack::SocketType::tcp);
  Errc error = context.sockets->charge(socket, part.uid) ? socket.come_to_use() : Errc::too_many;
  for (const auto& [option, value] : part.options) {
    if (error != Errc::ok) break;
    if (auto now = context.protocols.option(socket.id(), option); now && *now == value) continue;
    stack::Call c;
    c.op = stack::CallOp::set_option;
    c.socket = socket.id();
    c.option = option;
    c.number = value;
    (void)context.protocols.call(c);
  }
  if (error == Errc::ok) error = call(context, socket, stack::CallOp::bind, part.local, 0, stack::kBindGranted).error;
  if (error == Errc::ok) error = call(context, socket, stack::CallOp::listen, {}, part.backlog).error;
  if (error != Errc::ok) {
    socket.abandon();
    return error;
  }
  socket.set_part(part.cookie);
  socket.set_addresses(part.local, {});
  socket.on_listening();
  return Errc::ok;
}

void close_part(Context& context, uint64_t cookie) {
  Socket* part = find_part(context, cookie);
  if (part == nullptr) return;
  part->abandon();
  part->run();  // its port is free at once
}

void set_part_option(Context& context, uint64_t cookie, const ipc::control::Request& request) {
  if (Socket* part = find_part(context, cookie)) (void)set_option(context.protocols, *part, request);
}

}  // namespace ferry::server
