#include "server/early_placement.h"

namespace ferry::server {

MutableByteSpan EarlyPlacement::prepare(Socket& socket, uint32_t length, Filled filled, bool is_next) {
  finish();
  auto room = is_next ? socket.next_input(length) : socket.allocate_input(length);
  if (!room) return {};
  owner_ = socket.owner();
  channel_ = ctx_.memory.channel_of(room->region);
  room_ = *room;
  bytes_ = ctx_.memory.write(*room);
  taken_ = 0;
  filled_ = filled;
  return bytes_;
}

buf::IoDesc EarlyPlacement::take(stack::Owner owner, ByteSpan payload) {
  if (room_.empty() || owner != owner_ || payload.data() < bytes_.data() || payload.data() >= bytes_.data() + bytes_.size()) return {};
  const auto from = static_cast<uint32_t>(payload.data() - bytes_.data());
  const auto length = static_cast<uint32_t>(payload.size());
  if (from < taken_) return {};
  FERRY_ASSERT(length <= room_.length - from);  // what lies in the room ends in it
  give_back(taken_, from);
  taken_ = from + length;
  (filled_ == Filled::by_link ? ctx_.counters.received_in_place : ctx_.counters.copied_in_shared) += length;
  if (room_.region != channel_->region()) ctx_.counters.placed_in_pages += length;
  return room_.without_prefix(from).prefix(length);
}

void EarlyPlacement::finish() {
  if (room_.empty()) return;
  give_back(taken_, room_.length);
  room_ = {};
  bytes_ = {};
}

void EarlyPlacement::give_back(uint32_t from, uint32_t to) {
  if (to > from) channel_->release(room_.without_prefix(from).prefix(to - from));
}

}  // namespace ferry::server
