#include "server/control.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "port/api/log.h"
#include "server/engine.h"
#include "server/foreign_fd.h"
#include "server/peers.h"

namespace ferry::server {
namespace control = ipc::control;
using control::Op;
Control::Control(Context& context, Sockets& sockets, ServerIdentity identity, AdminHandler& admin)
    : ctx_(context), sockets_(sockets), identity_(std::move(identity)), admin_(admin) {}

bool Control::handle(Client& client, const Request& request, ipc::DescriptorList& received, Reply& reply,
                     ipc::DescriptorList& fds) {
  auto op = static_cast<Op>(request.op);
  Errc error = Errc::ok;
  bool answered = true;
  if (!client.greeted() && op != Op::hello) {
    error = Errc::protocol;
  } else if (op == Op::hello) {
    error = hello(client, request, reply, fds);
  } else if (op == Op::interfaces) {
    error = interfaces(request, reply);
  } else if (op == Op::admin) {
    answered = admin_.handle_admin(client, std::string(reinterpret_cast<const char*>(request.data), request.data_length),
                                   reply, fds);
    error = static_cast<Errc>(reply.error);
  } else if (client.channel() == nullptr) {
    error = Errc::invalid;
  } else if (op == Op::open_socket) {
    error = open_socket(client, request, reply, fds);
  } else if (op == Op::stock) {
    error = stock(client, request, reply, fds);
  } else if (op == Op::attach) {
    error = attach(client, received, reply);
  } else if (op == Op::engine) {
    error = connect_to_engine(client, request, fds);
  } else if (op == Op::event_queue) {
    error = event_queue(client, request, fds);
  } else if (op == Op::region) {
    error = region(*client.channel(), request, received);
  } else if (op == Op::peer_region || op == Op::peer_wake || op == Op::peer_memory) {
    error = peers(client, request, reply, fds);
  } else if (Socket* socket = client.channel()->find(request.slot, request.generation);
             socket == nullptr || !socket->is_claimed()) {
    error = Errc::bad_socket;
  } else if (op == Op::rehome || op == Op::demote) {
    Status started = socket->start_move(op == Op::rehome ? MoveKind::rehome : MoveKind::demote, *client.channel());
    error = started.error();
    answered = error != Errc::ok;  // on_move_done() has answered, or will
  } else {
    deferred_ = false;
    error = on_socket(client, *socket, request, reply, fds);
    answered = !deferred_;
    socket->publish();
  }
  for (uint32_t i = 0; i < received.count; ++i) close_foreign(received.fds[i].release());
  reply.error = static_cast<uint32_t>(error);
  return answered;
}

Errc Control::hello(Client& client, const Request& request, Reply& reply, ipc::DescriptorList& fds) {
  if (client.greeted()) return Errc::already;
  if (request.value != ipc::abi::kVersion) return Errc::version_mismatch;
  reply.data_length = sizeof identity_.info;
  std::memcpy(reply.data, &identity_.info, sizeof identity_.info);
  if ((request.flags & control::kHelloAdmin) != 0) {
    client.set_greeted();
    return Errc::ok;
  }
  uid_t uid = client.credentials().uid;
  if (admitted_.size() >= ctx_.limits.clients || clients_of_[uid] >= ctx_.limits.clients_per_uid) {
    ++ctx_.counters.clients_refused;
    port::log(port::LogLevel::warning, "client pid %d refused: user %d has %u clients, all together %u",
              static_cast<int>(client.credentials().pid), static_cast<int>(uid), clients_of_[uid],
              static_cast<unsigned>(admitted_.size()));
    return Errc::too_many;
  }
  ipc::ChannelConfig config;
  config.engines = ctx_.engines != nullptr ? ctx_.engines->count() : 1;
  config.max_sockets = ctx_.limits.sockets * config.engines;
  config.output_size = ctx_.limits.output_bytes;
  config.input_size = ctx_.limits.input_bytes;
  auto memory = ChannelMemory::create(config, {client.credentials().pid, uid});
  if (!memory) return memory.error();
  UniqueFd kick(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  ipc::OwnedFd kick_of_client(kick ? fcntl(kick.get(), F_DUPFD_CLOEXEC, 0) : -1);
  if (Status opened = client.open_channel(*memory, std::move(kick)); !opened) return opened.error();
  client.set_greeted();
  if ((request.flags & control::kHelloPeers) != 0) client.channel()->allow_peers();
  ++clients_of_[uid];
  admitted_.insert(&client);
  fds.add(ipc::OwnedFd(fcntl((*memory)->map().fd(), F_DUPFD_CLOEXEC, 0)));
  fds.add(std::move(kick_of_client));
  fds.add(client.open_lifeline());
  (*memory)->map().close_fd();  // the mapping does not need it
  for (const auto& fd : fds.fds)
    if (&fd < fds.fds + fds.count && !fd.valid()) return Errc::too_many;
  return Errc::ok;
}

void Control::forget(Client& client) {
  admin_.forget_admin(client);
  admitted_.erase(&client);
}

// Its user has one client less when nothing refers to it any more; at once, if nothing does: who ends a process may start the next one now.
void Control::adopt_orphan(std::unique_ptr<Channel> channel) {
  const bool counted = !channel->unreferenced();
  if (!counted) discount(*channel);
  orphans_.push_back({std::move(channel), counted});
}

void Control::discount(const Channel& channel) {  // other engines than the first count nothing
  if (auto of = clients_of_.find(channel.identity().uid); of != clients_of_.end() && --of->second == 0) clients_of_.erase(of);
}

void Control::reap() {
  std::erase_if(orphans_, [this](const Orphan& o) {
    if (!o.channel->unreferenced()) return false;
    if (o.counted) discount(*o.channel);
    return true;
  });
}

Errc Control::connect_to_engine(Client& client, const Request& request, ipc::DescriptorList& fds) {
  const uint32_t n = request.value;
  Channel& channel = *client.channel();
  if (ctx_.engines == nullptr || ctx_.engine != 0 || n == 0 || n >= ctx_.engines->count()) return Errc::invalid;
  if (!channel.memory()->join(n)) return Errc::already;
  ipc::OwnedFd server_end, client_end;
  UniqueFd kick(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  ipc::OwnedFd kick_of_client(kick ? fcntl(kick.get(), F_DUPFD_CLOEXEC, 0) : -1);
  if (ipc::pair_control(server_end, client_end) != 0 || !kick_of_client.valid()) {
    channel.memory()->leave(n);
    return Errc::too_many;
  }
  ctx_.engines->post(n, [connection = UniqueFd(server_end.release()), memory = channel.memory(), bell = std::move(kick),
                         peers = channel.peers_allowed()](Engine& engine) mutable {
    engine.add_client(std::move(connection), std::move(memory), std::move(bell), peers);
  });
  fds.add(std::move(client_end));
  fds.add(std::move(kick_of_client));
  return Errc::ok;
}

Errc Control::attach(Client& client, ipc::DescriptorList& received, Reply& reply) {
  if (received.count != 1) return Errc::invalid;
  // SO_COOKIE needs nothing of the descriptor but that it is a socket; no other call is made on it.
  Socket* socket = sockets_.find_by_cookie(socket_cookie(received.fds[0].get()));
  if (socket == nullptr || socket->finished() || !socket->is_claimed()) return Errc::bad_socket;
  reply.slot = socket->attach(*client.channel());
  if (reply.slot == Channel::kNoSlot) return Errc::too_many;
  reply.generation = client.channel()->generation(reply.slot);
  return Errc::ok;
}

Errc Control::stock(Client& client, const Request& request, Reply& reply, ipc::DescriptorList& fds) {
  if (request.value != ipc::abi::kKindTcp && request.value != ipc::abi::kKindUdp) return Errc::not_supported;
  const bool stream = request.value == ipc::abi::kKindTcp;
  Stock& stock = client.channel()->stock();
  uint32_t wanted = request.level < 0 ? 0 : static_cast<uint32_t>(request.level);
  for (; reply.value < wanted && reply.value < control::kMaxDescriptors; ++reply.value) {
    UniqueFd k;
    uint32_t number;
    if (!stock.make(stream, k, number)) break;
    fds.add(ipc::OwnedFd(k.release()));
    std::memcpy(reply.data + reply.value * sizeof number, &number, sizeof number);
  }
  reply.data_length = reply.value * static_cast<uint32_t>(sizeof(uint32_t));
  if ((request.flags & control::kStockSpares) != 0) stock.want_spares(stream);
  return Errc::ok;
}

Errc Control::event_queue(Client& client, const Request& request, ipc::DescriptorList& fds) {
  Channel& channel = *client.channel();
  if (ctx_.engine != 0) return Errc::invalid;
  if (request.flags == control::kQueueWake) {
    channel.wake_queue(request.value);
    return Errc::ok;
  }
  if (request.flags != control::kQueueOpen || request.value >= ipc::abi::kMaxQueues) return Errc::invalid;
  UniqueFd read_end = channel.memory()->open_queue(request.value);
  if (!read_end) return Errc::too_many;
  fds.add(ipc::OwnedFd(read_end.release()));
  return Errc::ok;
}

Errc Control::region(Channel& channel, const Request& request, ipc::DescriptorList& received) {
  if (received.count == 0) return channel.forget_region(request.value).error();
  if (received.count != 1) return Errc::invalid;
  return channel.add_region(request.value, received.fds[0].get(), ctx_.limits.region_bytes).error();
}

// A client asks for no more than what SocketShared has told it, or makes itself a nuisance to those who share a region with it only.
Errc Control::peers(Client& client, const Request& request, Reply& reply, ipc::DescriptorList& fds) {
  PeerRegion* region = ctx_.peers->find(*client.channel(), request.value);
  if (region == nullptr) return Errc::invalid;
  UniqueFd fd;
  if (static_cast<Op>(request.op) == Op::peer_region) {
    reply.value = region->serial();
    fd.reset(fcntl(region->memfd(), F_DUPFD_CLOEXEC, 0));
  } else if (static_cast<Op>(request.op) == Op::peer_memory) {
    if (!region->passes_pages()) return Errc::not_permitted;
    const int memfd = region->other(*client.channel())->regions().memfd(request.flags);
    if (memfd < 0) return Errc::invalid;
    fd.reset(fcntl(memfd, F_DUPFD_CLOEXEC, 0));
  } else if (Channel* other = region->other(*client.channel())) {
    other->wake_queue(request.flags);
    fd = other->memory()->open_wake_end(request.flags);
  }
  if (!fd) return Errc::too_many;
  fds.add(ipc::OwnedFd(fd.release()));
  return Errc::ok;
}

Errc Control::interfaces(const Request& request, Reply& reply) {
  if (request.value >= identity_.interfaces.size()) return Errc::invalid;
  reply.data_length = sizeof(control::InterfaceInfo);
  std::memcpy(reply.data, &identity_.interfaces[request.value], sizeof(control::InterfaceInfo));
  return Errc::ok;
}

}  // namespace ferry::server
