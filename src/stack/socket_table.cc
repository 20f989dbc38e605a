// The table of socket numbers; see socket_table.h.
#include "stack/socket_table.h"

#include "port/api/alloc.h"

namespace ferry::stack {

SocketTable::~SocketTable() { port::release(slots_); }

Status SocketTable::grow(uint32_t size) {
  if (size > max_) return Errc::too_many;
  if (size > capacity_) {
    uint32_t wanted = capacity_ < 64 ? 64 : capacity_ * 2;
    if (wanted < size) wanted = size;
    if (wanted > max_) wanted = max_;
    Slot* larger = make_array<Slot>(wanted);
    if (larger == nullptr) return Errc::no_memory;
    for (uint32_t i = 0; i < size_; ++i) larger[i] = slots_[i];
    port::release(slots_);
    slots_ = larger;
    capacity_ = wanted;
  }
  while (size_ < size) {
    slots_[size_] = Slot{};
    slots_[size_].next_free = first_free_;
    first_free_ = ++size_;
  }
  return {};
}

Result<uint64_t> SocketTable::add(Socket& socket) {
  if (first_free_ == 0) FERRY_TRY(grow(size_ + 1));
  const uint32_t index = first_free_ - 1;
  first_free_ = slots_[index].next_free;
  slots_[index].socket = &socket;
  ++count_;
  return uint64_t{slots_[index].generation} << 32 | (index + 1);
}

Status SocketTable::restore(Socket& socket, uint64_t id) {
  const uint32_t index = static_cast<uint32_t>(id) - 1;
  if (static_cast<uint32_t>(id) == 0 || id >> 32 == 0 || index >= max_) return Errc::malformed;
  if (index >= size_) FERRY_TRY(grow(index + 1));
  if (slots_[index].socket != nullptr) return Errc::address_in_use;
  uint32_t* link = &first_free_;
  while (*link != index + 1) link = &slots_[*link - 1].next_free;
  *link = slots_[index].next_free;
  slots_[index].socket = &socket;
  slots_[index].generation = static_cast<uint32_t>(id >> 32);
  ++count_;
  return {};
}

void SocketTable::remove(uint64_t id) {
  const uint32_t index = static_cast<uint32_t>(id) - 1;
  Slot& slot = slots_[index];
  slot.socket = nullptr;
  if (++slot.generation == 0) slot.generation = 1;
  slot.next_free = first_free_;
  first_free_ = index + 1;
  --count_;
}

}  // namespace ferry::stack
