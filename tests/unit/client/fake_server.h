// A ferryd without network for tests of src/client: it speaks the control protocol and drives the shared memory with the server's
// half of src/ipc. A stream socket is "connected" to the test itself: what the client sends collects in `received`, what the test
// (or, with `echo`, the socket itself) puts into `pending` is delivered. One thread; state is touched under `mutex`.
//
// Files: fake_server.h what tests see of it, and its thread; fake_server_rings.h sockets in shared memory; fake_server_control.h
// answers to requests; fake_socket.h what it knows of a client and of a socket. All are headers: who includes this one needs no source
// beside it.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "client/channel.h"
#include "fake_socket.h"
#include "ipc/abi.h"
#include "ipc/control.h"
#include "ipc/control_socket.h"
#include "ipc/doorbell.h"
#include "ipc/owned_fd.h"

namespace ferry::client::test {

class FakeServer {
 public:
  explicit FakeServer(uint64_t pool_bytes = 4 << 20) : pool_bytes_(pool_bytes) {
    char name[] = "/tmp/ferry-client-XXXXXX";
    directory_ = mkdtemp(name);
    listener_ = ipc::OwnedFd(static_cast<int>(ipc::listen_control(path(), 8)));
    wake_ = ipc::OwnedFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    thread_ = std::thread([this] { loop(); });
    Config config;
    config.path = path();
    Channel::configure(config);
    Channel::renew();
  }
  ~FakeServer() { stop(); }
  // As if ferryd had been killed.
  void stop() {
    if (!thread_.joinable()) return;
    stopping_ = true;
    poke();
    thread_.join();
    connections_.clear();
    sockets.clear();
    channels.clear();
    listener_.reset();
    unlink(path().c_str());
    rmdir(directory_.c_str());
  }
  std::string path() const { return directory_ + "/s"; }

  // Runs `f` while the server stands still, then lets it look at every socket.
  template <typename F>
  auto with(F&& f) {
    struct After {
      FakeServer* server;
      ~After() { server->poke(); }
    } after{this};
    std::lock_guard lock(mutex);
    look_at_all_ = true;
    return f();
  }
  FakeSocket& last() { return *sockets.back(); }
  // Delivers a datagram or message to the last socket; returns when it is in the ring.
  template <typename Header>
  void deliver(const Header& header, const std::string& payload) {
    with([&] { last().pending.push_back(std::string(reinterpret_cast<const char*>(&header), sizeof header) + payload); });
    for (bool there = false; !there;) {
      std::lock_guard lock(mutex);
      there = last().pending.empty();
    }
  }

  uint32_t hello_version_error = 0;
  bool has_stock = false;  // else descriptors come one by one, with the sockets
  std::mutex mutex;
  std::vector<std::unique_ptr<FakeChannel>> channels;
  std::vector<std::unique_ptr<FakeSocket>> sockets;
  std::deque<std::unique_ptr<FakeSocket>> acceptable;
  std::function<Errc(const control::Request&)> on_connect = [](const control::Request&) { return Errc::ok; };
  std::vector<control::Request> requests;
  std::vector<abi::Descriptor> calls;   // that came through rings
  std::atomic<uint32_t> kicks{0}, turns{0};

  // The only region with another client; the test plays that client, and opens and ends passages (passage_test.cc).
  ipc::OwnedFd peer_memfd;
  uint32_t peer_serial = 1;
  ipc::OwnedFd peer_memory;  // region 1 of that client
  std::atomic<uint32_t> peer_memory_asked{0};

  uint32_t send_buffer = 256 * 1024;
  std::atomic<uint32_t> violations{0}, given_back{0};
  uint64_t region_bytes = 64 << 20, swap_bytes = 0;

  // Sockets in shared memory: fake_server_rings.h.
  void signal(FakeSocket& s);
  void publish(FakeSocket& s);
  void set_ready(FakeSocket& s, uint32_t ready);
  void fail(FakeSocket& s, Errc error);
  // A socket that is open already, around a pair whose K the client keeps.
  void offer_spare(FakeChannel& c, ipc::OwnedFd pair, uint64_t cookie, uint32_t number);
  // Of a listener, which has no home.
  static abi::SocketShared& words_of(FakeSocket& listener) { return listener.places[0].channel->map.socket(listener.places[0].slot); }
  // A connection at `listener`, around the pair of this number, which the client keeps.
  void offer_connection(FakeSocket& listener, uint32_t number, std::string early);
  void take_call(FakeSocket& s, const abi::Descriptor& d);
  // Ring → received; pending → ring; what the client consumed → pool.
  void run(FakeSocket& s);
  static bool is_withdrawn(const abi::SocketShared& w, uint16_t i);
  // The first of what is pending goes to lent memory, or as much of it as has room in a piece.
  bool fill_lent(FakeSocket& s, FakeChannel& c, abi::SocketShared& w);
  void finish_lent(FakeSocket& s, abi::SocketShared& w);
  std::unique_ptr<FakeSocket> make_socket(uint32_t kind, ipc::OwnedFd& k);
  // A slot for the socket in the channel; home there if it has none.
  FakeSocket::Place& place_in(FakeSocket& s, FakeChannel& c, bool as_home);
  // Takes the rings away from the home, as socket_move.cc of the server does. What was not read goes back in front of `pending`.
  void leave_home(FakeSocket& s);
  void finish_leaving(FakeSocket& s, abi::SocketShared& w);
  void demote(FakeSocket& s);

 private:
  struct Connection {
    ipc::OwnedFd fd;
    FakeChannel* channel = nullptr;
  };

  void poke() {
    const uint64_t one = 1;
    [[maybe_unused]] ssize_t n = write(wake_.get(), &one, sizeof one);
  }

  void loop() {
    while (!stopping_) {
      std::vector<pollfd> fds{{wake_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
      {
        std::lock_guard lock(mutex);
        for (auto& c : connections_) fds.push_back({c->fd.get(), POLLIN, 0});
        for (auto& c : channels) fds.push_back({c->kick.get(), POLLIN, 0});
      }
      if (may_sleep()) poll(fds.data(), fds.size(), -1);
      turns.fetch_add(1);
      std::lock_guard lock(mutex);
      for (auto& c : channels) ipc::end_idle(c->map.header(), 0);
      uint64_t count;
      if (read(wake_.get(), &count, sizeof count) < 0) count = 0;
      if (const long fd = ipc::accept_control(listener_.get()); fd >= 0) {
        connections_.push_back(std::make_unique<Connection>());
        connections_.back()->fd = ipc::OwnedFd(static_cast<int>(fd));
      }
      for (size_t i = 0; i < connections_.size(); ++i)
        if (!serve(*connections_[i])) connections_.erase(connections_.begin() + static_cast<long>(i--));
      for (auto& c : channels) {
        if (read(c->kick.get(), &count, sizeof count) > 0) kicks += static_cast<uint32_t>(count);
        ipc::take_slots(c->map.header().doorbell[0], c->map.layout().max_sockets, [&](uint32_t slot) {
          for (size_t i = 0; i < sockets.size(); ++i) {  // grows meanwhile
            FakeSocket& s = *sockets[i];
            if (s.home < 0) continue;
            const auto& p = s.places[static_cast<size_t>(s.home)];
            if (p.channel == c.get() && p.slot == slot) run(s);
          }
        });
      }
      if (look_at_all_)
        for (size_t i = 0; i < sockets.size(); ++i) run(*sockets[i]);
      look_at_all_ = false;
    }
  }

  bool may_sleep() {
    std::lock_guard lock(mutex);
    bool may = true;
    for (auto& c : channels) may = ipc::prepare_idle(c->map.header(), 0) && may;
    return may;
  }

  // Requests: fake_server_control.h.
  FakeSocket* find(FakeChannel* c, uint32_t slot);
  bool serve(Connection& connection);
  Errc answer(Connection& connection, const control::Request& q, ipc::DescriptorList& fds, control::Reply& reply,
              std::vector<ipc::OwnedFd>& out);

  uint64_t pool_bytes_;
  std::string directory_;
  ipc::OwnedFd listener_, wake_;
  std::vector<std::unique_ptr<Connection>> connections_;
  uint32_t next_slot_ = 0;
  uint32_t event_time_ = 0;
  bool look_at_all_ = false;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace ferry::client::test

// The members that are only declared above.
#include "fake_server_control.h"
#include "fake_server_rings.h"
