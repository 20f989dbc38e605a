#include "client/peers.h"

#include <signal.h>

#include <cerrno>

#include "base/atomics.h"
#include "client/channel.h"
#include "ipc/quiet_write.h"
#include "ipc/control_socket.h"

namespace ferry::client {

namespace abi = ipc::abi;
namespace control = ipc::control;
using ipc::arg;
using ipc::raw_syscall;

// The engines divide the numbers among themselves.
uint32_t Peers::engine_of(uint32_t number) const { return number / abi::peer_regions_of_engine(channel_.engines()); }

ipc::PeerRegionView Peers::region(uint32_t number, uint32_t serial) {
  Guard guard(mutex_);
  Region* r = regions_[number];
  if (r != nullptr && r->serial == serial) return ipc::PeerRegionView(r->base);
  control::Request request;
  control::Reply reply;
  ipc::DescriptorList fds;
  request.op = static_cast<uint32_t>(control::Op::peer_region);
  request.value = number;
  if (channel_.call(engine_of(number), request, reply, nullptr, 0, &fds) != 0 || fds.count != 1 || reply.value != serial) return {};
  if (r == nullptr) r = new Region;
  r->pages.renew({}, 0);
  auto view = ipc::map_peer_memfd(fds.fds[0].get(), r->base);
  for (auto& side : r->slots)
    for (uint32_t& slot : side) store_relaxed(slot, uint32_t{kNoSlot});
  if (!view) {
    if (regions_[number] == nullptr) delete r;
    else r->serial = 0;
    return {};
  }
  r->base = view->base();
  r->serial = serial;
  store_relaxed(r->sides, 0u);
  r->pages.renew(*view, serial);
  if (regions_[number] == nullptr) {
    store_release(regions_[number], r);
    atomic_add(used_, 1u);
  }
  return *view;
}

void Peers::assign(uint32_t number, uint32_t side, uint32_t passage, uint32_t slot) {
  Region& r = *load_acquire(regions_[number]);
  store_release(r.slots[side][passage], slot);
  atomic_or(r.sides, 1u << side);
}

template <typename Visit>
void Peers::for_each_queue(uint32_t queue, Visit&& visit) const {
  uint32_t left = load_acquire(used_);
  for (uint32_t i = 0; left > 0 && i < abi::kMaxPeerRegions; ++i) {
    Region* r = load_acquire(regions_[i]);
    if (r == nullptr) continue;
    --left;
    const uint32_t sides = load_acquire(r->sides);
    for (uint32_t side : {0u, 1u})
      if ((sides >> side & 1) != 0) visit(*r, side, ipc::PeerRegionView(r->base).queue(side, queue));
  }
}

uint32_t Peers::take(uint32_t queue, uint32_t* slots, uint32_t capacity) {
  uint32_t count = 0;
  for_each_queue(queue, [&](Region& r, uint32_t side, abi::PeerQueue& q) {
    for (uint32_t w = 0; w < abi::kPassages / 64; ++w) {
      if (load_relaxed(q.ready[w]) == 0 || count == capacity) continue;
      uint64_t bits = atomic_exchange(q.ready[w], uint64_t{0});
      for (; bits != 0 && count < capacity; bits &= bits - 1) {
        const uint32_t slot = load_acquire(r.slots[side][w * 64 + static_cast<uint32_t>(__builtin_ctzll(bits))]);
        if (slot != kNoSlot) slots[count++] = slot;
      }
      if (bits != 0) atomic_or(q.ready[w], bits);
    }
  });
  return count;
}

bool Peers::any(uint32_t queue) const {
  bool found = false;
  for_each_queue(queue, [&](Region&, uint32_t, abi::PeerQueue& q) {
    for (const uint64_t& word : q.ready) found = found || __atomic_load_n(&word, __ATOMIC_SEQ_CST) != 0;
  });
  return found;
}

bool Peers::prepare_sleep(uint32_t queue) {
  for_each_queue(queue, [](Region&, uint32_t, abi::PeerQueue& q) { atomic_exchange(q.sleeping, 1u); });
  return !any(queue);
}

void Peers::end_sleep(uint32_t queue) {
  for_each_queue(queue, [](Region&, uint32_t, abi::PeerQueue& q) { store_relaxed(q.sleeping, 0u); });
}

void Peers::clear(uint32_t queue) {
  for_each_queue(queue, [](Region&, uint32_t, abi::PeerQueue& q) {
    store_relaxed(q.sleeping, 0u);
    for (uint64_t& word : q.ready) store_relaxed(word, uint64_t{0});
  });
}

Peers::WakeEnd* Peers::find(uint32_t number, uint32_t queue) {
  for (WakeEnd& e : wake_ends_)
    if (e.fd.valid() && e.number == number && e.queue == queue && e.serial == regions_[number]->serial) return &e;
  return nullptr;
}

void Peers::wake(uint32_t number, uint32_t queue) {
  Guard guard(mutex_);
  if (WakeEnd* e = find(number, queue); e != nullptr) {
    const char byte = 1;
    const long r = ipc::write_quietly(e->fd.get(), &byte, 1);
    if (r >= 0 || r == -EAGAIN) return;  // a full pipe is as good as a written one
    Channel::drop_private(e->fd);        // that queue has been closed, another may have its number
  }
  ask_to_wake(number, queue);
}

void Peers::ask_to_wake(uint32_t number, uint32_t queue) {
  control::Request request;
  control::Reply reply;
  ipc::DescriptorList fds;
  request.op = static_cast<uint32_t>(control::Op::peer_wake);
  request.value = number;
  request.flags = queue;
  if (channel_.call(engine_of(number), request, reply, nullptr, 0, &fds) != 0 || fds.count != 1) return;
  for (WakeEnd& e : wake_ends_) {
    if (e.fd.valid() && e.serial == regions_[e.number]->serial) continue;
    Channel::drop_private(e.fd);
    e.fd = Channel::keep_private(fds.take(0));
    e.number = number;
    e.serial = regions_[number]->serial;
    e.queue = queue;
    return;
  }
}

void Peers::reap_pages() {
  for (Region*& region : regions_)
    if (Region* r = load_acquire(region); r != nullptr) r->pages.reap();
}

void Peers::close_descriptors() {
  for (WakeEnd& e : wake_ends_) Channel::drop_private(e.fd);
  for (Region* r : regions_)
    if (r != nullptr) r->pages.close_descriptors();
}

}  // namespace ferry::client
