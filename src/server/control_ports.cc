// bind and listen among the control requests. With one engine they are calls of the stack. With several, a TCP port is held among all of them
// first (shared_ports.h), and a listener has a part in each (listener_parts.h); the answer waits for what other engines have to do:
//
//   bind:    claim_port --in use--> the others look whether a program has closed its socket --> again --> bind_here
//   listen:  prepare_listen, likewise --> open_part in the others --all did--> listen_here
#include "server/control.h"
#include "server/control_values.h"
#include "server/credentials.h"
#include "server/engine.h"
#include "server/listener_parts.h"

namespace ferry::server {

namespace {

constexpr int kMostTries = 64;
constexpr uint32_t kPortStep = 7919;  // between searches for any free port: a prime, so that they do not follow each other

// A program that has closed its listener expects the port to be free when close() returns.
void look_for_hang_ups(Sockets& sockets, uint16_t port) {
  sockets.for_each([port](Socket& other) {
    if (other.local().port == port) other.look_for_hang_up();
  });
}

}  // namespace

bool Control::shares_ports(const Socket& socket) const { return ctx_.engines != nullptr && socket.type() == stack::SocketType::tcp; }

Errc Control::call_for_port(const stack::Call& call, uint16_t port) {
  const Errc error = ctx_.protocols.call(call).error;
  if (error != Errc::address_in_use) return error;
  look_for_hang_ups(sockets_, port);
  return ctx_.protocols.call(call).error;
}

// On return `local` has a port.
Errc Control::claim_port(Socket& socket, stack::Endpoint& local) {
  if (socket.claim() != nullptr) return Errc::invalid;  // it is bound
  const auto option = [&](stack::Option o) {
    auto value = ctx_.protocols.option(socket.id(), o);
    return value && *value != 0;
  };
  SharedPorts::Request wanted;
  wanted.local = local;
  wanted.start = ++port_turn_ * kPortStep;
  wanted.uid = socket.uid();
  wanted.reuse_address = option(stack::Option::reuse_address);
  wanted.reuse_port = option(stack::Option::reuse_port);
  auto claim = ctx_.engines->ports().claim(wanted);
  if (!claim) return claim.error();
  local.port = (*claim)->port();
  socket.set_claim(std::move(*claim));
  return Errc::ok;
}

Errc Control::bind_here(Socket& socket, const stack::Endpoint& local, Reply& reply) {
  stack::Call call = make_call(stack::CallOp::bind, socket);
  Errc error;
  int tries = shares_ports(socket) && local.port == 0 ? kMostTries : 1;  // any port: one that this stack has no connection on, either
  do {
    call.local = local;
    if (shares_ports(socket))
      if (error = claim_port(socket, call.local); error != Errc::ok) return error;
    error = call_for_port(call, call.local.port);
    if (error != Errc::ok) socket.set_claim(nullptr);
  } while (error == Errc::address_in_use && --tries > 0);
  if (error == Errc::ok) refresh_addresses(socket, reply);
  return error;
}

Errc Control::bind(Client& client, Socket& socket, const Request& request, Reply& reply) {
  const stack::Endpoint local = to_endpoint(request.address);
  const ipc::Credentials& who = client.credentials();
  if (local.port != 0 && local.port < 1024 && !may_bind_privileged_ports(who.pid, who.uid)) return Errc::access;
  const Errc error = bind_here(socket, local, reply);
  if (error != Errc::address_in_use || !shares_ports(socket)) return error;
  ask_for_port(client, socket, local.port, [this, local](Engine& engine, Socket& s, uint64_t asker) {
    Reply answer;
    answer.error = static_cast<uint32_t>(bind_here(s, local, answer));
    finish_later(engine, asker, answer);
  });
  return Errc::ok;
}

Errc Control::listen_here(Socket& socket, int64_t backlog, Reply& reply) {
  stack::Call call = make_call(stack::CallOp::listen, socket);
  call.number = backlog;
  if (const Errc error = call_for_port(call, socket.local().port); error != Errc::ok) return error;
  if (!socket.has_many_peers()) socket.on_listening();
  refresh_addresses(socket, reply);
  return Errc::ok;
}

// The port that all parts are going to have is this socket's among all engines.
Errc Control::prepare_listen(Socket& socket) {
  Reply ignored;
  if (socket.cookie() == 0) return Errc::bad_socket;  // closed by another thread meanwhile: there is nothing to know its parts by
  if (socket.is_listener()) return Errc::ok;
  if (socket.claim() == nullptr)  // not bound: any port will do
    if (const Errc error = bind_here(socket, {}, ignored); error != Errc::ok) return error;
  return ctx_.engines->ports().listen(*socket.claim()).error();
}

Errc Control::listen(Client& client, Socket& socket, const Request& request, Reply& reply) {
  if (!socket.connects() && !socket.has_many_peers()) return Errc::not_supported;
  const auto backlog = static_cast<int32_t>(request.value);
  if (!shares_ports(socket)) return listen_here(socket, backlog, reply);
  if (socket.connected()) return Errc::invalid;
  const Errc error = prepare_listen(socket);
  if (error == Errc::ok) {
    open_parts(client.serial(), socket, backlog);
  } else if (error == Errc::address_in_use) {
    ask_for_port(client, socket, socket.local().port, [this, backlog](Engine& engine, Socket& s, uint64_t asker) {
      Reply answer;
      const Errc outcome = prepare_listen(s);
      if (outcome == Errc::ok) return open_parts(asker, s, backlog);
      answer.error = static_cast<uint32_t>(outcome);
      finish_later(engine, asker, answer);
    });
  } else {
    return error;
  }
  return Errc::ok;
}

// Listens when every other engine does: the program may tell its peers at once.
void Control::open_parts(uint64_t asker, Socket& socket, int64_t backlog) {
  deferred_ = true;
  socket.set_has_parts();
  auto worst = std::make_shared<uint32_t>(0);
  ctx_.engines->ask_others(
      ctx_.engine,
      [part = ListenerPart::of(ctx_.protocols, socket, backlog), worst](Engine& engine) {
        if (const Errc error = open_part(engine.context(), part); error != Errc::ok) store_release(*worst, static_cast<uint32_t>(error));
      },
      [this, owner = socket.owner(), asker, backlog, worst](Engine& engine) {
        Reply answer;
        Socket* s = sockets_.find(owner);
        Errc error = static_cast<Errc>(load_acquire(*worst));
        if (s == nullptr) error = Errc::bad_socket;
        if (error == Errc::ok) error = listen_here(*s, backlog, answer);
        if (s != nullptr && error != Errc::ok && !s->is_listener()) s->close_parts();
        if (s != nullptr) s->publish();
        answer.error = static_cast<uint32_t>(error);
        finish_later(engine, asker, answer);
      });
}

// Has every other engine look for closed sockets with that port, then does `again`, which answers.
template <typename Again>
void Control::ask_for_port(Client& client, Socket& socket, uint16_t port, Again again) {
  deferred_ = true;
  look_for_hang_ups(sockets_, port);
  ctx_.engines->ask_others(
      ctx_.engine, [port](Engine& engine) { look_for_hang_ups(engine.sockets(), port); },
      [this, owner = socket.owner(), asker = client.serial(), again](Engine& engine) {
        Socket* s = sockets_.find(owner);
        if (s != nullptr) return again(engine, *s, asker);
        Reply answer;
        answer.error = static_cast<uint32_t>(Errc::bad_socket);
        finish_later(engine, asker, answer);
      });
}

void Control::finish_later(Engine& engine, uint64_t asker, Reply& reply) {
  ipc::DescriptorList none;
  if (Client* client = engine.find_client(asker)) client->finish(reply, none);
}

}  // namespace ferry::server
