#include "server/receiver.h"

#include "server/engines.h"

namespace ferry::server {

uint32_t Receiver::receive(link::Link& link, stack::LinkIndex index, uint32_t budget) {
  index_ = index;
  const uint32_t received = link.receive(*this, budget);
  FERRY_ASSERT(joiner_.empty());
  return received;
}

// Frames that do not stay end what is held: so nothing overtakes.
void Receiver::on_frame(const buf::Frame& frame) {
  joiner_.flush();
  if (__builtin_expect(ctx_.engines != nullptr, 0) && pass_on(frame)) return;
  if (__builtin_expect(captures_.active(), 0)) captures_.on_received(index_, frame);
  on_single(frame);
}

void Receiver::on_lasting_frame(const buf::Frame& frame) {
  if (__builtin_expect(ctx_.engines != nullptr, 0) && pass_on(frame)) return;
  if (__builtin_expect(captures_.active(), 0)) captures_.on_received(index_, frame);
  joiner_.add(frame);
}

// Shows a frame to the other engines that it concerns. True: it is not this one's.
bool Receiver::pass_on(const buf::Frame& frame) {
  if (!frame.detached.empty()) return false;  // of a connection that is here
  Engines& engines = *ctx_.engines;
  const uint32_t other = engines.strays().find(frame);
  if (other != StrayFlows::kNone) {
    if (other == ctx_.engine) return false;
    if (!engines.pass_frame(other, index_, frame)) ++ctx_.counters.drop_frames_passing;
    return true;
  }
  if (ctx_.engine != 0 || !concerns_all(frame.bytes)) return false;
  for (uint32_t i = 1; i < engines.count(); ++i)
    if (!engines.pass_frame(i, index_, frame)) ++ctx_.counters.drop_frames_passing;
  return false;
}

void Receiver::on_single(const buf::Frame& frame) { stack_->on_frame(ctx_.now, index_, frame); }

Socket* Receiver::owner_of(const buf::Frame& head, uint32_t frame_length, stack::PayloadOwner& who) {
  const auto known = stack_->payload_owner(index_, head, frame_length);
  if (!known || known->header_length >= frame_length) return nullptr;
  who = *known;
  return sockets_.find(who.owner);
}

bool Receiver::place(const buf::Frame& head, uint32_t frame_length, Place& place) {
  joiner_.flush();
  stack::PayloadOwner who;
  Socket* socket = owner_of(head, frame_length, who);  // of a stray flow: in its engine only
  if (socket == nullptr) return false;
  place.header_length = who.header_length;
  place.first = host_.early().prepare(*socket, frame_length - who.header_length, EarlyPlacement::Filled::by_link, who.is_next);
  place.second = {};
  return !place.first.empty();
}

void Receiver::on_placed(const buf::Frame& headers, uint32_t) {
  buf::Frame frame = headers;
  frame.detached = host_.early().bytes();
  on_frame(frame);
  host_.early().finish();
}

void Receiver::on_joined(const link::Joined& joined) {
  const auto frame_length = static_cast<uint32_t>(joined.head.bytes.size()) + joined.payload_length;
  stack::PayloadOwner who;
  Socket* socket = owner_of(joined.head, frame_length, who);
  MutableByteSpan room;
  if (socket != nullptr && who.header_length == joined.head.bytes.size())
    room = host_.early().prepare(*socket, joined.payload_length, EarlyPlacement::Filled::by_copy, who.is_next);
  if (room.empty()) {  // of nobody yet, or of somebody without memory: one by one
    for (const link::JoinedPiece& piece : joined.pieces) on_single(piece.frame);
    return;
  }
  MutableByteSpan to = room;
  for (const link::JoinedPiece& piece : joined.pieces) {
    copy_bytes(to, piece.payload);
    to = to.subspan(piece.payload.size());
  }
  ctx_.counters.joined_frames += joined.pieces.size();
  ++ctx_.counters.joined_segments;
  buf::Frame frame = joined.head;
  frame.detached = room;
  on_single(frame);
  host_.early().finish();
}

}  // namespace ferry::server
