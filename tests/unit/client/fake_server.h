// A ferryd without network for tests of src/client: it speaks the control protocol and drives the shared memory with the server's
// half of src/ipc. A stream socket is "connected" to the test itself: what the client sends collects in `received`, what the test
// (or, with `echo`, the socket itself) puts into `pending` is delivered. One thread; state is touched under `mutex`.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/address.h"
#include "client/channel.h"
#include "fake_socket.h"
#include "ipc/channel_layout.h"
#include "ipc/control_socket.h"
#include "ipc/doorbell.h"
#include "ipc/event_queue.h"
#include "ipc/lock.h"
#include "ipc/pool.h"

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

 public:
  void signal(FakeSocket& s) {
    for (auto& p : s.places)
      ipc::signal_socket(p.channel->map.socket(p.slot), p.slot, p.channel->map.queues(),
                         static_cast<uint32_t>(p.channel->queue_pipes.size()), [&](uint32_t q) {
                           [[maybe_unused]] ssize_t n = write(p.channel->queue_pipes[q].get(), "x", 1);
                         });
  }
  void publish(FakeSocket& s) {
    for (size_t i = 0; i < s.places.size(); ++i) {
      abi::SocketShared& w = s.places[i].channel->map.socket(s.places[i].slot);
      store_relaxed(w.kind, s.kind);
      store_relaxed(w.send_buffer, send_buffer);
      store_relaxed(w.rx_report_at, s.rx_freed + 1);
      store_release(w.ready, s.ready);
      const bool here = s.home == static_cast<int>(i) || s.kind == abi::kKindListener;
      store_release(w.mode, uint32_t{s.home == -2 ? abi::kModeKernel : here ? abi::kModeShared : abi::kModeMoved});
    }
  }
  void set_ready(FakeSocket& s, uint32_t ready) {
    s.ready = ready;
    publish(s);
    signal(s);
  }
  void fail(FakeSocket& s, Errc error) {
    store_release(s.shared().error, static_cast<uint32_t>(error));
    set_ready(s, s.ready | abi::kReadClosed | abi::kWriteClosed | abi::kHangUp | abi::kErrorPending);
  }

  // A socket that is open already, around a pair whose K the client keeps.
  void offer_spare(FakeChannel& c, ipc::OwnedFd pair, uint64_t cookie, uint32_t number) {
    sockets.push_back(std::make_unique<FakeSocket>());
    FakeSocket& s = *sockets.back();
    s.pair = std::move(pair);
    s.cookie = cookie;
    s.number = number;
    auto& p = place_in(s, c, true);
    abi::SpareRing& ring = c.map.header().spares[0][0];
    ring.entries[ring.produced % abi::kMaxPairs] = {p.slot, p.generation, number, 0};
    store_release(ring.produced, ring.produced + 1);
  }

  // Of a listener, which has no home.
  static abi::SocketShared& words_of(FakeSocket& listener) { return listener.places[0].channel->map.socket(listener.places[0].slot); }
  // A connection at `listener`, around the pair of this number, which the client keeps.
  void offer_connection(FakeSocket& listener, uint32_t number, std::string early) {
    for (auto& s : sockets) {
      if (s->number != number || s->home < 0) continue;
      s->ready = abi::kConnected | abi::kWritable;
      s->pending.push_back(std::move(early));
      s->shared().remote_port = 1234;
      publish(*s);
      run(*s);
      abi::SocketShared& l = words_of(listener);
      l.rx[l.rx_produced % abi::kRingEntries] = abi::offer_of(s->places[0].slot, s->places[0].generation, number);
      store_release(l.rx_produced, l.rx_produced + 1);
      signal(listener);
    }
  }

  void take_call(FakeSocket& s, const abi::Descriptor& d) {
    calls.push_back(d);
    if (d.region != abi::kCallConnect) return;
    control::Request q;
    q.address = make_address(static_cast<uint32_t>(d.offset), static_cast<uint16_t>(d.offset >> 32));
    const Errc e = on_connect(q);
    if (e == Errc::in_progress) {
      s.ready = abi::kConnecting;
    } else if (e == Errc::ok) {
      s.ready = abi::kConnected | abi::kWritable;
    } else {
      s.ready = abi::kReadClosed | abi::kWriteClosed | abi::kHangUp | abi::kErrorPending;
      store_release(s.shared().error, static_cast<uint32_t>(e));
    }
  }

  // Ring → received; pending → ring; what the client consumed → pool.
  void run(FakeSocket& s) {
    if (s.home < 0) return;
    abi::SocketShared& w = s.shared();
    FakeChannel& c = *s.places[static_cast<size_t>(s.home)].channel;
    if ((load_relaxed(w.wants) & abi::kWantGiveBack) != 0) {
      atomic_and(w.wants, ~uint32_t{abi::kWantGiveBack});
      given_back.fetch_add(1);
      s.home = -1;
      store_release(w.mode, uint32_t{abi::kModeFree});
      return offer_spare(c, std::move(s.pair), s.cookie, s.number);
    }
    bool event = false;
    const auto available = s.tx.available(w.tx_produced);
    for (uint32_t i = 0; s.take && available && i < *available; ++i) {
      const abi::Descriptor d = s.tx.peek(w.tx);
      if ((d.flags & abi::kCall) != 0) {
        take_call(s, d);
        publish(s);
        s.tx.advance(w.tx_taken);
        event = true;
        continue;
      }
      const ByteSpan named = c.find(d);
      if (named.size() != d.length) {
        violations.fetch_add(1);
        break;
      }
      const std::string bytes(reinterpret_cast<const char*>(named.data()), d.length);
      if (d.region != 0) s.referenced += d.length;
      s.received += bytes;
      s.flags.push_back(d.flags);
      if (s.echo && !bytes.empty()) s.pending.push_back(bytes);
      if ((d.flags & abi::kShutdown) != 0) s.output_shut = true;
      if (s.output_shut && s.echo) s.peer_closed = true;
      s.taken_bytes += d.length;
      s.tx.advance(w.tx_taken);
    }
    if (!available) violations.fetch_add(1);
    if (s.complete && s.completed != s.taken_bytes) {
      s.completed = s.taken_bytes;
      store_release(w.tx_completed, s.completed);
    }
    if ((load_relaxed(w.wants) & abi::kWantWrite) != 0 && s.taken_bytes - s.completed <= uint64_t{send_buffer} * 2 / 3 && s.take) {
      atomic_and(w.wants, ~uint32_t{abi::kWantWrite});
      event = true;
    }
    const uint32_t consumed = load_acquire(w.rx_consumed);
    while (!s.runs.empty() && s.rx.next() - static_cast<uint32_t>(s.runs.size()) != consumed &&
           consumed - (s.rx.next() - static_cast<uint32_t>(s.runs.size())) <= s.runs.size()) {
      s.rx_freed += s.runs.front().second;
      if (s.runs.front().first != FakeSocket::kLent) c.input->release(s.runs.front().first);
      s.runs.pop_front();
    }
    store_relaxed(w.rx_report_at, s.rx_freed + 1);
    finish_lent(s, w);
    while (!s.pending.empty() && s.runs.size() < abi::kRingEntries) {
      if (fill_lent(s, c, w)) {
        event = true;
        continue;
      }
      std::string bytes = s.pending.front().substr(0, ipc::Pool::kMaxRun);
      auto run = c.input->allocate(static_cast<uint32_t>(bytes.size()));
      if (!run) break;
      s.pending.pop_front();
      std::memcpy(c.map.bytes(run->offset, bytes.size()).data(), bytes.data(), bytes.size());
      s.runs.push_back({run->offset, static_cast<uint32_t>(bytes.size())});
      s.rx_delivered += bytes.size();
      s.rx.push(w.rx, w.rx_produced, {run->offset, static_cast<uint32_t>(bytes.size()), 0, 0});
      event = true;
    }
    if (s.peer_closed && s.pending.empty() && (s.ready & abi::kReadClosed) == 0) {
      s.ready |= abi::kReadClosed;
      publish(s);
      event = true;
    }
    if (event) signal(s);
  }

  static bool is_withdrawn(const abi::SocketShared& w, uint16_t i) { return static_cast<int16_t>(load_relaxed(w.input_withdrawn) - i) > 0; }
  // The first of what is pending goes to lent memory, or as much of it as has room in a piece.
  bool fill_lent(FakeSocket& s, FakeChannel& c, abi::SocketShared& w) {
    if (!s.fill_lent || s.kind != abi::kKindTcp) return false;
    std::string& bytes = s.pending.front();
    for (uint16_t i = s.input_done; i != load_acquire(w.input_produced); ++i) {
      const abi::InputPiece piece = w.input[i % abi::kInputPieces];
      const uint64_t at = s.rx_delivered - piece.position;
      if (at >= piece.length || is_withdrawn(w, i)) continue;
      const auto n = static_cast<uint32_t>(std::min<uint64_t>(bytes.size(), piece.length - at));
      const FakeChannel::Region& r = c.regions[piece.region - 1];
      if (piece.offset + piece.length > r.size) return violations.fetch_add(1), false;
      std::memcpy(r.base + piece.offset + at, bytes.data(), n);
      s.rx.push(w.rx, w.rx_produced, {piece.offset + at, n, piece.region, 0});
      s.runs.push_back({FakeSocket::kLent, n});
      s.rx_delivered += n;
      s.filled_lent += n;
      bytes.erase(0, n);
      if (bytes.empty()) s.pending.pop_front();
      return true;
    }
    return false;
  }
  void finish_lent(FakeSocket& s, abi::SocketShared& w) {
    for (; s.input_done != load_acquire(w.input_produced); ++s.input_done) {
      const abi::InputPiece piece = w.input[s.input_done % abi::kInputPieces];
      const uint64_t end = std::min(piece.position + piece.length, s.rx_delivered);
      if (end < piece.position + piece.length && !is_withdrawn(w, s.input_done)) break;
      if (load_acquire(w.rx_consumed_bytes) < end) break;
    }
    store_release(w.input_done, uint32_t{s.input_done});
  }

  std::unique_ptr<FakeSocket> make_socket(uint32_t kind, ipc::OwnedFd& k) {
    int ends[2];
    auto s = std::make_unique<FakeSocket>();
    if (socketpair(AF_UNIX, (kind == abi::kKindTcp ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC, 0, ends) != 0) return s;
    s->kind = kind;
    s->pair = ipc::OwnedFd(ends[0]);
    k = ipc::OwnedFd(ends[1]);
    socklen_t length = sizeof s->cookie;
    getsockopt(ends[1], SOL_SOCKET, SO_COOKIE, &s->cookie, &length);
    return s;
  }
  // A slot for the socket in the channel; home there if it has none.
  FakeSocket::Place& place_in(FakeSocket& s, FakeChannel& c, bool as_home) {
    uint32_t slot = next_slot_++;
    abi::SocketShared& w = c.map.socket(slot);
    std::memset(static_cast<void*>(&w), 0, sizeof w);
    store_release(w.generation, ++c.generations[slot]);
    s.places.push_back({&c, slot, c.generations[slot]});
    if (as_home) {
      s.home = static_cast<int>(s.places.size()) - 1;
      s.tx.start_at(0);
      s.rx.start_at(0);
      s.completed = s.taken_bytes = s.rx_delivered = s.rx_freed = 0;
      s.input_done = 0;
      s.runs.clear();
    }
    publish(s);
    return s.places.back();
  }
  // Takes the rings away from the home, as socket_move.cc of the server does. What was not read goes back in front of `pending`.
  void leave_home(FakeSocket& s) {
    abi::SocketShared& w = s.shared();
    FakeChannel& c = *s.places[static_cast<size_t>(s.home)].channel;
    ipc::revoke(w.tx_lock);
    ipc::revoke(w.rx_lock);
    while (!ipc::is_released(w.tx_lock) || !ipc::is_released(w.rx_lock)) std::this_thread::yield();
    run(s);
    uint64_t skip = load_acquire(w.rx_consumed_bytes) - s.rx_freed;
    std::deque<std::string> unread;
    uint32_t index = s.rx.next() - static_cast<uint32_t>(s.runs.size());
    for (auto& [offset, length] : s.runs) {
      const auto n = static_cast<uint32_t>(std::min<uint64_t>(skip, length));
      skip -= n;
      if (offset == FakeSocket::kLent) {
        const abi::Descriptor& d = w.rx[index % abi::kRingEntries];
        if (n < length) unread.emplace_back(reinterpret_cast<char*>(c.regions[d.region - 1].base + d.offset + n), length - n);
      } else {
        if (n < length) unread.emplace_back(reinterpret_cast<char*>(c.map.bytes(offset + n, length - n).data()), length - n);
        c.input->release(offset);
      }
      ++index;
    }
    s.runs.clear();
    s.pending.insert(s.pending.begin(), unread.begin(), unread.end());
  }
  void finish_leaving(FakeSocket& s, abi::SocketShared& w) {
    publish(s);
    ipc::end_revocation(w.tx_lock, false);
    ipc::end_revocation(w.rx_lock, false);
    signal(s);
  }
  void demote(FakeSocket& s) {
    abi::SocketShared& w = s.shared();
    leave_home(s);
    s.home = -2;
    for (auto& bytes : s.pending) [[maybe_unused]] ssize_t n = write(s.pair.get(), bytes.data(), bytes.size());
    s.pending.clear();
    finish_leaving(s, w);
  }

  // The only region with another client; the test plays that client, and opens and ends passages (passage_test.cc).
  ipc::OwnedFd peer_memfd;
  uint32_t peer_serial = 1;
  ipc::OwnedFd peer_memory;  // region 1 of that client
  std::atomic<uint32_t> peer_memory_asked{0};

  uint32_t send_buffer = 256 * 1024;
  std::atomic<uint32_t> violations{0}, given_back{0};
  uint64_t region_bytes = 64 << 20, swap_bytes = 0;

 private:
  FakeSocket* find(FakeChannel* c, uint32_t slot) {
    for (auto& s : sockets)
      for (auto& p : s->places)
        if (p.channel == c && p.slot == slot) return s.get();
    return nullptr;
  }

  bool serve(Connection& connection) {
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

  Errc answer(Connection& connection, const control::Request& q, ipc::DescriptorList& fds, control::Reply& reply,
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

  uint64_t pool_bytes_;
  std::string directory_;
  ipc::OwnedFd listener_, wake_;
  std::vector<std::unique_ptr<Connection>> connections_;
  uint32_t next_slot_ = 0;
  bool look_at_all_ = false;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace ferry::client::test
