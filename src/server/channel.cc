#include "server/channel.h"

#include "ipc/event_queue.h"
#include "ipc/lock.h"
#include "server/socket.h"

namespace ferry::server {
namespace abi = ipc::abi;

Result<std::unique_ptr<Channel>> Channel::create(Context& context, std::shared_ptr<ChannelMemory> memory, UniqueFd kick) {
  std::unique_ptr<Channel> c(new Channel(context, std::move(memory), std::move(kick)));
  // Edge-triggered and never read: a kick is an edge, and a counter that a client fills up stops only that client's kicks.
  if (c->region_ == 0 || !context.poller.add(c->kick_.get(), *c, EPOLLIN | EPOLLET)) return Errc::too_many;
  c->ctx_.hot.push_back(*c);
  return c;
}

Channel::Channel(Context& context, std::shared_ptr<ChannelMemory> memory, UniqueFd kick)
    : ctx_(context),
      engine_(context.engine),
      memory_(std::move(memory)),
      first_slot_(map().layout().slots_of(engine_).first),
      kick_(std::move(kick)),
      region_(context.memory.add(map().base(), map().layout().total_size, this)),
      input_(map().layout().input_of(engine_)),
      regions_(context.memory),
      stock_(context, *this) {}

Channel::~Channel() {
  if (ListNode<HotTag>::linked()) ctx_.hot.erase(*this);
  ctx_.poller.remove(kick_.get(), *this);
  if (region_ != 0) ctx_.memory.remove(region_);
}

void Channel::look_at_held_slots() {
  std::erase_if(held_slots_, [this](uint32_t slot) {
    const abi::SocketShared& s = shared(slot);
    if (!ipc::is_released(s.tx_lock) || !ipc::is_released(s.rx_lock)) return false;
    free_slots_.push_back(slot);
    return true;
  });
}

uint32_t Channel::assign(Socket& socket) {
  if (!held_slots_.empty()) look_at_held_slots();
  uint32_t slot;
  if (!free_slots_.empty()) {
    slot = free_slots_.back();
    free_slots_.pop_back();
  } else {
    if (slots_.size() == map().layout().slots_of(engine_).count) return kNoSlot;
    slot = first_slot_ + static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  }
  ++used_slots_;
  slots_[slot - first_slot_].socket = &socket;
  uint32_t generation = ++slots_[slot - first_slot_].generation;
  abi::SocketShared& s = shared(slot);
  ipc::renew(s);
  store_relaxed(s.engine, engine_);
  store_release(s.generation, generation);
  return slot;
}

void Channel::unassign(uint32_t slot) {
  FERRY_ASSERT(socket_at(slot) != nullptr);
  slots_[slot - first_slot_].socket = nullptr;
  --used_slots_;
  abi::SocketShared& s = shared(slot);
  store_release(s.mode, uint32_t{abi::kModeFree});
  // A program that closes a socket which another of its threads is using: that thread is not to end up in the rings of a new socket.
  const bool tx_free = ipc::revoke(s.tx_lock), rx_free = ipc::revoke(s.rx_lock);
  (tx_free && rx_free ? free_slots_ : held_slots_).push_back(slot);
}

Socket* Channel::find(uint32_t slot, uint32_t generation) {
  Socket* s = socket_at(slot);
  return s != nullptr && this->generation(slot) == generation ? s : nullptr;
}

Result<buf::IoDesc> Channel::place(uint32_t length, uint32_t alignment) {
  auto offset = input_.allocate(length, alignment);
  if (!offset) return offset.error();
  return buf::IoDesc{*offset, length, region_};
}

Status Channel::forget_region(uint32_t number) {
  Status forgotten = regions_.forget(number);
  release_forgotten_regions();
  return forgotten;
}

void Channel::release_forgotten_regions() {
  if (output_references_ != 0 || lent_input_ != 0) return;
  if (needs_no_regions_) regions_.forget_all();
  regions_.release_forgotten();
}

void Channel::release(const buf::IoDesc& d) {
  if (d.region == region_) return input_.release(d.offset, d.length);
  FERRY_ASSERT(d.length <= lent_input_);
  lent_input_ -= d.length;
  release_forgotten_regions();
}

uint16_t Channel::region_number(buf::RegionId region) const {
  if (region == region_) return 0;
  const uint32_t number = regions_.number_of(region);
  return number != 0 ? static_cast<uint16_t>(number) : kNoRegion;
}

buf::IoDesc Channel::locate_output(const abi::Descriptor& d) const {
  if (d.region != 0) return regions_.locate(d);
  return ipc::is_inside(d, output_area()) ? buf::IoDesc{d.offset, d.length, region_} : buf::IoDesc{};
}

void Channel::wake_queue(uint32_t queue) {
  if (client_ == nullptr) return;  // the pipe may be gone
  ++ctx_.counters.pipe_wakes;
  memory_->wake_queue(queue);
}

uint32_t Channel::answer_doorbells() {
  return take_doorbells([this](uint32_t slot) {
    if (Socket* s = socket_at(slot)) s->on_doorbell();
  });
}

void Channel::signal(uint32_t slot) {
  abi::SocketShared& s = shared(slot);
  if (load_relaxed(s.waiters) != 0) ++ctx_.counters.futex_wakes;
  ipc::signal_socket(s, slot, ctx_.next_event_time(), map().queues(), memory_->queue_count(), [this](uint32_t queue) { wake_queue(queue); });
  go_hot();
}

bool Channel::go_cold() {
  if (!ipc::prepare_idle(map().header(), engine_)) return false;
  if (ListNode<HotTag>::linked()) ctx_.hot.erase(*this);
  return true;
}

void Channel::go_hot() {
  last_active = ctx_.now;
  if (ListNode<HotTag>::linked()) return;
  ctx_.hot.push_back(*this);
  ipc::end_idle(map().header(), engine_);
}

void Channel::on_poll(uint32_t) {
  ++ctx_.counters.kicks;
  go_hot();
}

void Channel::client_gone() {
  client_ = nullptr;
  stock_.retire();
  memory_->stop_waking();
}

void Channel::forget_regions() {
  needs_no_regions_ = true;
  release_forgotten_regions();
}

void Channel::drop_output_reference(uint64_t bytes) {
  FERRY_ASSERT(bytes <= output_references_);
  output_references_ -= bytes;
  release_forgotten_regions();
}

}  // namespace ferry::server
