// The data path of a channel: doorbell, output pool, slot table, output that outlives its socket.
#include <unistd.h>

#include "base/atomics.h"
#include "client/channel.h"
#include "client/home.h"
#include "client/regions.h"
#include "ipc/doorbell.h"
#include "ipc/lock.h"
#include "ipc/syscall.h"

namespace ferry::client {

namespace abi = ipc::abi;

struct Channel::RetiredOutput {
  uint32_t slot;
  uint32_t generation;
  ipc::BlockFifo blocks;
  RetiredOutput* next;
};

struct Channel::RetiredInput {
  uint32_t slot;
  uint32_t generation;
  InputWindow::Lent lent;
  RetiredInput* next;
};

namespace {
// Copies of channels' sockets that are gone; those that live count in their Home.
CopyCounters g_copied;
}  // namespace

void Channel::ring_without_kick(uint32_t engine, uint32_t slot) { ipc::set_slot(map_.header().doorbell[engine], slot); }

void Channel::ring(uint32_t engine, uint32_t slot) {
  if (!ipc::ring_doorbell(map_.header(), engine, slot)) return;
  const Line* line = load_acquire(lines_[engine]);
  if (line == nullptr) return;  // a socket of an engine that nobody has asked for one
  const uint64_t one = 1;
  ipc::raw_syscall(SYS_write, line->kick.get(), ipc::arg(&one), sizeof one);
}

bool Channel::any_awake() const {
  for (uint32_t engine = 0; engine < engines(); ++engine)
    if (load_relaxed(lines_[engine]) != nullptr && server_awake(engine)) return true;
  return false;
}

bool Channel::server_awake(uint32_t engine) const { return ipc::server_is_awake(map_.header(), engine); }

Result<ipc::Pool::Run> Channel::allocate_block(uint32_t bytes) {
  {
    Guard guard(pool_mutex_);
    auto run = pool_->allocate(bytes);
    if (run) return run;
  }
  reap();
  Guard guard(pool_mutex_);
  return pool_->allocate(bytes);
}

void Channel::release_block(uint64_t offset) {
  Guard guard(pool_mutex_);
  pool_->release(offset);
}

void Channel::release_reference(uint64_t token) { regions::unrefer(token); }

uint64_t Channel::output_limit() const {
  const uint64_t free = pool_->free_bytes();
  return free < abi::kPageSize ? abi::kPageSize : free;
}

Socket* Channel::socket_at(uint32_t slot) const {
  return slot < slots_.size() ? load_acquire(slots_[slot].socket) : nullptr;
}

void Channel::set_socket(uint32_t slot, Socket* socket, Home* home) {
  Guard guard(slots_mutex_);
  slots_[slot].home = home;
  store_release(slots_[slot].socket, socket);
}

void Channel::clear_socket(uint32_t slot, const Home* home) {
  Guard guard(slots_mutex_);
  if (slots_[slot].home != home) return;
  slots_[slot].home = nullptr;
  store_release(slots_[slot].socket, static_cast<Socket*>(nullptr));
}

void Channel::retire_output(uint32_t slot, uint32_t generation, ipc::BlockFifo& blocks) {
  if (!blocks.has_blocks()) return;
  auto* retired = new RetiredOutput{slot, generation, {}, nullptr};
  retired->blocks.take_over(blocks);
  {
    Guard guard(slots_mutex_);
    retired->next = retired_;
    retired_ = retired;
  }
  reap();
}

bool Channel::reclaim_output(uint32_t slot, uint32_t generation, ipc::BlockFifo& blocks) {
  Guard guard(slots_mutex_);
  for (RetiredOutput** link = &retired_; *link != nullptr; link = &(*link)->next) {
    RetiredOutput* r = *link;
    if (r->slot != slot || r->generation != generation) continue;
    blocks.take_over(r->blocks);
    *link = r->next;
    delete r;
    return true;
  }
  return false;
}

void Channel::retire_input(uint32_t slot, uint32_t generation, InputWindow& window) {
  if (window.empty()) return;
  auto* retired = new RetiredInput{slot, generation, window.take_over(), nullptr};
  {
    Guard guard(slots_mutex_);
    retired->next = retired_input_;
    retired_input_ = retired;
  }
  reap();
}

void Channel::reclaim_input(uint32_t slot, uint32_t generation, InputWindow& window) {
  Guard guard(slots_mutex_);
  for (RetiredInput** link = &retired_input_; *link != nullptr; link = &(*link)->next) {
    RetiredInput* r = *link;
    if (r->slot != slot || r->generation != generation) continue;
    window.take_back(r->lent);
    *link = r->next;
    delete r;
    return;
  }
}

// Whether the server has finished with the socket that had the slot, whatever its words say. They are looked at before: a slot that was given away
// meanwhile counts from 0 again.
bool Channel::has_gone_on(uint32_t slot, uint32_t generation) const {
  const abi::SocketShared& s = shared(slot);
  return load_acquire(s.generation) != generation || load_acquire(s.mode) == abi::kModeFree || is_dead();
}

void Channel::reap(bool all) {
  Guard guard(slots_mutex_);
  for (RetiredInput** link = &retired_input_; *link != nullptr;) {
    RetiredInput* r = *link;
    const uint32_t done = load_acquire(shared(r->slot).input_done);
    if (!InputWindow::pass(r->lent, done, has_gone_on(r->slot, r->generation))) {
      link = &r->next;
      continue;
    }
    *link = r->next;
    delete r;
  }
  for (RetiredOutput** link = &retired_; *link != nullptr;) {
    RetiredOutput* r = *link;
    const uint64_t completed = load_acquire(shared(r->slot).tx_completed);
    if (has_gone_on(r->slot, r->generation)) r->blocks.release_all(*this);
    else r->blocks.complete(*this, completed);
    if (r->blocks.outstanding() != 0) {
      link = &r->next;
      continue;
    }
    r->blocks.release_all(*this);
    *link = r->next;
    delete r;
  }
  if (all || pool_->free_bytes() < map_.layout().output.size / 8) reap_sockets();
}

void Channel::reap_sockets() {
  for (SlotEntry& entry : slots_) {
    Home* home = entry.home;
    if (home == nullptr || !ipc::try_lock(home->shared->tx_lock)) continue;
    home->output.complete(*this, load_acquire(home->shared->tx_completed));
    if (ipc::unlock(home->shared->tx_lock)) ring(home->engine, home->slot);
  }
}

void Channel::add_copied(const CopyCounters& copied) {
  atomic_add(g_copied.out, copied.out);
  atomic_add(g_copied.in, copied.in);
  atomic_add(g_copied.referenced, copied.referenced);
  atomic_add(g_copied.swapped, copied.swapped);
}

CopyCounters Channel::copy_counters() {
  CopyCounters sum{load_relaxed(g_copied.out), load_relaxed(g_copied.in), load_relaxed(g_copied.referenced), load_relaxed(g_copied.swapped)};
  Channel* channel = existing();
  if (channel == nullptr) return sum;
  Guard guard(channel->slots_mutex_);
  for (const SlotEntry& entry : channel->slots_) {
    if (entry.home == nullptr) continue;
    sum.out += load_relaxed(entry.home->copied_out);
    sum.in += load_relaxed(entry.home->copied_in);
    sum.referenced += load_relaxed(entry.home->referenced_out);
    sum.swapped += load_relaxed(entry.home->swapped_in);
  }
  return sum;
}

}  // namespace ferry::client
