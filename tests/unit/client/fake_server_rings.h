// How a FakeServer (fake_server.h) drives its sockets in shared memory: their slots and the words that clients read, what goes through
// rings and lent memory, moves from one home to another or to none. Not which request asks for it (fake_server_control.h).
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "base/atomics.h"
#include "base/bytes.h"
#include "base/result.h"
#include "client/address.h"
#include "fake_server.h"
#include "fake_socket.h"
#include "ipc/abi.h"
#include "ipc/control.h"
#include "ipc/event_queue.h"
#include "ipc/lock.h"
#include "ipc/owned_fd.h"
#include "ipc/pool.h"

namespace ferry::client::test {

inline void FakeServer::signal(FakeSocket& s) {
  for (auto& p : s.places)
    ipc::signal_socket(p.channel->map.socket(p.slot), p.slot, ++event_time_, p.channel->map.queues(),
                       static_cast<uint32_t>(p.channel->queue_pipes.size()), [&](uint32_t q) {
                         [[maybe_unused]] ssize_t n = write(p.channel->queue_pipes[q].get(), "x", 1);
                       });
}

inline void FakeServer::publish(FakeSocket& s) {
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

inline void FakeServer::set_ready(FakeSocket& s, uint32_t ready) {
  s.ready = ready;
  publish(s);
  signal(s);
}

inline void FakeServer::fail(FakeSocket& s, Errc error) {
  store_release(s.shared().error, static_cast<uint32_t>(error));
  set_ready(s, s.ready | abi::kReadClosed | abi::kWriteClosed | abi::kHangUp | abi::kErrorPending);
}

inline void FakeServer::offer_spare(FakeChannel& c, ipc::OwnedFd pair, uint64_t cookie, uint32_t number) {
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

inline void FakeServer::offer_connection(FakeSocket& listener, uint32_t number, std::string early) {
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

inline void FakeServer::take_call(FakeSocket& s, const abi::Descriptor& d) {
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

inline void FakeServer::run(FakeSocket& s) {
  if (s.home < 0) return;
  abi::SocketShared& w = s.shared();
  FakeChannel& c = *s.places[static_cast<size_t>(s.home)].channel;
  if ((load_relaxed(w.wants) & abi::kWantGiveBack) != 0) {
    atomic_and(w.wants, ~uint32_t{abi::kWantGiveBack});
    s.home = -1;
    store_release(w.mode, uint32_t{abi::kModeFree});
    offer_spare(c, std::move(s.pair), s.cookie, s.number);
    given_back.fetch_add(1);  // last: the test goes on
    return;
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

inline bool FakeServer::is_withdrawn(const abi::SocketShared& w, uint16_t i) {
  return static_cast<int16_t>(load_relaxed(w.input_withdrawn) - i) > 0;
}

inline bool FakeServer::fill_lent(FakeSocket& s, FakeChannel& c, abi::SocketShared& w) {
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

inline void FakeServer::finish_lent(FakeSocket& s, abi::SocketShared& w) {
  for (; s.input_done != load_acquire(w.input_produced); ++s.input_done) {
    const abi::InputPiece piece = w.input[s.input_done % abi::kInputPieces];
    const uint64_t end = std::min(piece.position + piece.length, s.rx_delivered);
    if (end < piece.position + piece.length && !is_withdrawn(w, s.input_done)) break;
    if (load_acquire(w.rx_consumed_bytes) < end) break;
  }
  store_release(w.input_done, uint32_t{s.input_done});
}

inline std::unique_ptr<FakeSocket> FakeServer::make_socket(uint32_t kind, ipc::OwnedFd& k) {
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

inline FakeSocket::Place& FakeServer::place_in(FakeSocket& s, FakeChannel& c, bool as_home) {
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

inline void FakeServer::leave_home(FakeSocket& s) {
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

inline void FakeServer::finish_leaving(FakeSocket& s, abi::SocketShared& w) {
  publish(s);
  ipc::end_revocation(w.tx_lock, false);
  ipc::end_revocation(w.rx_lock, false);
  signal(s);
}

inline void FakeServer::demote(FakeSocket& s) {
  abi::SocketShared& w = s.shared();
  leave_home(s);
  s.home = -2;
  for (auto& bytes : s.pending) [[maybe_unused]] ssize_t n = write(s.pair.get(), bytes.data(), bytes.size());
  s.pending.clear();
  finish_leaving(s, w);
}

}  // namespace ferry::client::test
