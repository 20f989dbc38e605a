// What a FakeServer (fake_server.h) answers to the requests of src/ipc/control.h. What they do to a socket's shared memory is in
// fake_server_rings.h.
#pragma once

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/result.h"
#include "fake_server.h"
#include "fake_socket.h"
#include "ipc/abi.h"
#include "ipc/channel_layout.h"
#include "ipc/control.h"
#include "ipc/control_socket.h"
#include "ipc/owned_fd.h"
#include "ipc/pool.h"

namespace ferry::client::test {

inline FakeSocket* FakeServer::find(FakeChannel* c, uint32_t slot) {
  for (auto& s : sockets)
    for (auto& p : s->places)
      if (p.channel == c && p.slot == slot) return s.get();
  return nullptr;
}

inline bool FakeServer::serve(Connection& connection) {
  for (;;) {
    control::Request request;
    ipc::DescriptorList fds;
    ipc::Credentials who;
    const long r = ipc::receive_request(connection.fd.get(), request, fds, who);
    if (r == -EAGAIN) return true;
    if (r != 0) return false;
    requests.push_back(request);
    control::Reply reply;
    reply.op = request.op;
    reply.sequence = request.sequence;
    std::vector<ipc::OwnedFd> out;
    reply.error = static_cast<uint32_t>(answer(connection, request, fds, reply, out));
    std::vector<int> numbers;
    for (auto& fd : out) numbers.push_back(fd.get());
    ipc::send_reply(connection.fd.get(), reply, numbers.data(), static_cast<uint32_t>(numbers.size()));
  }
}

inline Errc FakeServer::answer(Connection& connection, const control::Request& q, ipc::DescriptorList& fds, control::Reply& reply,
                               std::vector<ipc::OwnedFd>& out) {
  using control::Op;
  FakeChannel* c = connection.channel;
  FakeSocket* s = find(c, q.slot);
  switch (static_cast<Op>(q.op)) {
    case Op::hello: {
      if (hello_version_error != 0 || q.value != abi::kVersion) return Errc::version_mismatch;
      ipc::ChannelConfig config;
      config.max_sockets = 512;
      config.max_queues = 8;
      config.output_size = config.input_size = pool_bytes_;
      auto channel = std::make_unique<FakeChannel>();
      channel->map = std::move(*ipc::ChannelMap::create(config));
      channel->kick = ipc::OwnedFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
      channel->input = std::make_unique<ipc::Pool>(std::move(*ipc::Pool::create(channel->map.layout().input)));
      channel->generations.resize(512);
      channel->queue_pipes.resize(8);
      int ends[2];
      if (pipe2(ends, O_CLOEXEC) != 0) return Errc::too_many;
      channel->lifeline_write = ipc::OwnedFd(ends[1]);
      out.emplace_back(fcntl(channel->map.fd(), F_DUPFD_CLOEXEC, 0));
      out.emplace_back(fcntl(channel->kick.get(), F_DUPFD_CLOEXEC, 0));
      out.emplace_back(ends[0]);
      control::ServerInfo info{};
      info.client_spin_ns = 20'000;
      info.region_bytes = region_bytes;
      info.reference_bytes = 256 * 1024;
      info.swap_bytes = swap_bytes;
      info.server_pid = static_cast<uint32_t>(getpid());
      reply.data_length = sizeof info;
      std::memcpy(reply.data, &info, sizeof info);
      connection.channel = channel.get();
      channels.push_back(std::move(channel));
      return Errc::ok;
    }
    case Op::stock: {
      if (!has_stock) return Errc::not_supported;
      for (int32_t i = 0; i < q.level; ++i, ++reply.value) {
        ipc::OwnedFd k;
        auto made = make_socket(abi::kKindTcp, k);
        const uint32_t number = c->pairs++;
        std::memcpy(reply.data + reply.data_length, &number, sizeof number);
        reply.data_length += sizeof number;
        out.push_back(std::move(k));
        offer_spare(*c, std::move(made->pair), made->cookie, number);
      }
      return Errc::ok;
    }
    case Op::open_socket: {
      ipc::OwnedFd k;
      sockets.push_back(make_socket(q.value, k));
      FakeSocket& n = *sockets.back();
      if (q.value != abi::kKindTcp) n.ready = abi::kWritable;
      auto& p = place_in(n, *c, true);
      if ((q.flags & control::kOpenKernelMode) != 0) n.home = -2, publish(n);
      reply.slot = p.slot;
      reply.generation = p.generation;
      out.push_back(std::move(k));
      return Errc::ok;
    }
    case Op::attach: {
      uint64_t cookie = 0;
      socklen_t length = sizeof cookie;
      if (fds.count != 1 || getsockopt(fds.fds[0].get(), SOL_SOCKET, SO_COOKIE, &cookie, &length) != 0) return Errc::bad_socket;
      for (auto& candidate : sockets) {
        if (candidate->cookie != cookie) continue;
        for (auto& p : candidate->places)
          if (p.channel == c) return reply.slot = p.slot, reply.generation = p.generation, Errc::ok;
        auto& p = place_in(*candidate, *c, false);
        reply.slot = p.slot;
        reply.generation = p.generation;
        return Errc::ok;
      }
      return Errc::bad_socket;
    }
    case Op::region: {
      struct stat status;
      if (q.value == 0 || q.value > abi::kMaxRegions || fds.count != 1 || fstat(fds.fds[0].get(), &status) != 0) return Errc::invalid;
      if (region_bytes == 0) return Errc::invalid;
      void* p = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ | PROT_WRITE, MAP_SHARED, fds.fds[0].get(), 0);
      if (p == MAP_FAILED) return Errc::no_memory;
      c->regions[q.value - 1] = {static_cast<std::byte*>(p), static_cast<uint64_t>(status.st_size)};
      return Errc::ok;
    }
    case Op::peer_memory:
      ++peer_memory_asked;
      if (!peer_memory.valid() || q.value != 0 || q.flags != 1) return Errc::not_permitted;
      out.emplace_back(fcntl(peer_memory.get(), F_DUPFD_CLOEXEC, 0));
      return Errc::ok;
    case Op::event_queue: {
      if (q.flags == control::kQueueWake) {
        [[maybe_unused]] ssize_t n = write(c->queue_pipes[q.value].get(), "x", 1);
        return Errc::ok;
      }
      int ends[2];
      if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return Errc::too_many;
      c->queue_pipes[q.value] = ipc::OwnedFd(ends[1]);
      out.emplace_back(ends[0]);
      return Errc::ok;
    }
    default: break;
  }
  if (s == nullptr) return Errc::bad_socket;
  switch (static_cast<Op>(q.op)) {
    case Op::peer_region:
      if (!peer_memfd.valid() || q.value != 0) return Errc::invalid;
      reply.value = peer_serial;
      out.emplace_back(fcntl(peer_memfd.get(), F_DUPFD_CLOEXEC, 0));
      return Errc::ok;
    case Op::bind:
    case Op::set_option: return Errc::ok;
    case Op::get_option: return reply.data_length = 4, reply.data[0] = 42, Errc::ok;
    case Op::shutdown: return set_ready(*s, s->ready | abi::kReadClosed), Errc::ok;
    case Op::listen:
      s->kind = abi::kKindListener;
      s->home = -1;
      return set_ready(*s, 0), Errc::ok;
    case Op::connect: {
      const Errc e = on_connect(q);
      if (e == Errc::in_progress) set_ready(*s, abi::kConnecting);
      if (e == Errc::ok) set_ready(*s, abi::kConnected | abi::kWritable);
      return e == Errc::ok && s->kind == abi::kKindTcp ? Errc::in_progress : e;
    }
    case Op::accept: {
      if (acceptable.empty()) return Errc::again;
      ipc::OwnedFd k;
      sockets.push_back(std::move(acceptable.front()));
      acceptable.pop_front();
      FakeSocket& n = *sockets.back();
      auto fresh = make_socket(abi::kKindTcp, k);
      n.kind = abi::kKindTcp;
      n.pair = std::move(fresh->pair);
      n.cookie = fresh->cookie;
      n.ready = abi::kConnected | abi::kWritable;
      auto& p = place_in(n, *c, true);
      reply.slot = p.slot;
      reply.generation = p.generation;
      reply.remote.port = 1234;
      out.push_back(std::move(k));
      run(n);
      FakeSocket* l = find(c, q.slot);
      if (acceptable.empty()) l->ready &= ~uint32_t{abi::kAcceptable}, publish(*l);
      return Errc::ok;
    }
    case Op::rehome: {
      abi::SocketShared& old = s->shared();
      leave_home(*s);
      auto& p = place_in(*s, *c, true);
      reply.slot = p.slot;
      reply.generation = p.generation;
      finish_leaving(*s, old);
      run(*s);
      return Errc::ok;
    }
    case Op::demote: return demote(*s), Errc::ok;
    default: return Errc::not_supported;
  }
}

}  // namespace ferry::client::test
