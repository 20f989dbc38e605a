#include "server/peers.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "ipc/passage.h"
#include "server/channel.h"
#include "server/socket.h"

namespace ferry::server {
namespace abi = ipc::abi;
namespace {

constexpr uint64_t kWorthGivingBack = 64 * 1024;  // bytes that went through a passage: its rings have taken more than a page or two

void give_back_pages(int memfd, uint64_t offset, uint64_t size) {
  fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(size));
}

}  // namespace

Result<std::unique_ptr<PeerRegion>> PeerRegion::create(Context& context, Channel& a, Channel& b, uint32_t serial) {
  auto memfd = ipc::make_peer_memfd();
  if (!memfd) return memfd.error();
  auto view = ipc::map_peer_memfd(memfd->get());
  if (!view) return view.error();
  std::unique_ptr<PeerRegion> r(new PeerRegion(context, a, b, serial, std::move(*memfd), *view));
  if (r->memory_ == 0) return Errc::too_many;
  return r;
}

PeerRegion::PeerRegion(Context& context, Channel& a, Channel& b, uint32_t serial, ipc::OwnedFd memfd, ipc::PeerRegionView view)
    : ctx_(context),
      channels_{&a, &b},
      one_user_(!context.limits.isolate_clients && a.memory()->identity().uid == b.memory()->identity().uid),
      user_(a.memory()->identity().uid),
      serial_(serial),
      memfd_(std::move(memfd)),
      view_(view),
      memory_(context.memory.add(view.base(), ipc::kPeerRegionBytes, nullptr, this)),
      uses_(abi::kPassages) {
  for (uint32_t i = abi::kPassages; i-- > 0;) free_.push_back(i);  // the lowest is used first
}

// The clients may keep it mapped; what it held is given back all the same.
PeerRegion::~PeerRegion() {
  if (memory_ != 0) ctx_.memory.remove(memory_);
  for (const Kept& k : kept_) ctx_.memory.remove(k.id);
  if (!kept_.empty()) ctx_.peers->kept_of(user_) -= static_cast<uint32_t>(kept_.size());
  // What is in front of the rings is little, and tells a client that goes on without us what the other one still has of its memory.
  give_back_pages(memfd_.get(), ipc::kPeerRingsOffset, ipc::kPeerRegionBytes - ipc::kPeerRingsOffset);
  ipc::unmap_peer_region(view_);
}

void PeerRegion::forget(Channel& channel) {
  for (uint32_t side : {0u, 1u}) {
    if (channels_[side] != &channel) continue;
    channels_[side] = nullptr;
    if (taken_ == 0) continue;
    channel.add_output_reference(1);
    departed_[side] = &channel;
  }
}

void PeerRegion::let_go_of_departed() {
  for (Channel*& departed : departed_)
    if (Channel* channel = std::exchange(departed, nullptr)) channel->drop_output_reference(1);
}

uint32_t PeerRegion::take() {
  if (free_.empty()) return kNone;
  const uint32_t passage = free_.back();
  free_.pop_back();
  uses_[passage] = {true, false, 0, 0};
  ++used_;
  ++taken_;
  for (uint32_t side : {0u, 1u}) ipc::renew(view_.end(passage, side));
  return passage;
}

void PeerRegion::leave(uint32_t passage, uint64_t moved, bool spoilt) {
  uses_[passage] = {false, spoilt, uses_[passage].unread, moved};
  if (--taken_ == 0) let_go_of_departed();
  free_if_done(passage);
}

buf::RegionId PeerRegion::keep(uint32_t passage, uint32_t side, const abi::PassageReference& reference, uint32_t unread) {
  Channel* writer = channels_[side] != nullptr ? channels_[side] : departed_[side];
  if (!one_user_ || writer == nullptr) return 0;
  uint32_t& kept = ctx_.peers->kept_of(user_);
  if (kept >= ctx_.limits.references_per_uid) return 0;
  const MutableByteSpan bytes = ctx_.memory.write(writer->regions().locate({reference.offset, reference.length, reference.region, 0}));
  if (bytes.empty()) return 0;
  const buf::RegionId id = ctx_.memory.add(bytes.data(), bytes.size(), nullptr, this);
  if (id == 0) return 0;
  writer->add_output_reference(reference.length);
  ++kept;
  kept_.push_back({id, writer, passage, side, reference.hold, unread, reference.length});
  return id;
}

void PeerRegion::end_holds_of(uint32_t side) {
  for (uint32_t hold = 0; hold < abi::kPeerHolds; ++hold) {
    const bool kept = std::any_of(kept_.begin(), kept_.end(), [&](const Kept& k) { return k.side == 1 - side && k.hold == hold; });
    if (!kept) store_release(view_.held(1 - side, hold), 0u);
  }
}

bool PeerRegion::idle() const {
  const abi::PeerHolds& holds = view_.holds();
  return unused() && std::all_of(&holds.held[0][0], &holds.held[0][0] + 2 * abi::kPeerHolds, [](const uint32_t& w) { return load_acquire(w) == 0; });
}

void PeerRegion::release(const buf::IoDesc& d) {
  if (d.region != memory_) {
    const auto k = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& kept) { return kept.id == d.region; });
    FERRY_ASSERT(k != kept_.end() && k->unread >= d.length && uses_[k->passage].unread >= d.length);
    const uint32_t passage = k->passage;
    uses_[passage].unread -= d.length;
    if ((k->unread -= d.length) == 0) {
      ctx_.memory.remove(k->id);
      store_release(view_.held(k->side, k->hold), 0u);
      k->writer->drop_output_reference(k->length);
      kept_.erase(k);
      --ctx_.peers->kept_of(user_);
    }
    return free_if_done(passage);
  }
  const auto passage = static_cast<uint32_t>((d.offset - ipc::kPeerRingsOffset) / (2 * abi::kPassageBytes));
  FERRY_ASSERT(d.offset >= ipc::kPeerRingsOffset && passage < abi::kPassages && uses_[passage].unread >= d.length);
  uses_[passage].unread -= d.length;
  free_if_done(passage);
}

void PeerRegion::free_if_done(uint32_t passage) {
  const Use& use = uses_[passage];
  if (use.taken || use.unread > 0) return;
  --used_;
  if (use.moved > kWorthGivingBack)
    give_back_pages(memfd_.get(), ipc::PeerRegionView::ring_offset(passage, 0), uint64_t{2} * abi::kPassageBytes);
  if (!use.spoilt) free_.push_back(passage);
}

Peers::~Peers() {
  while (Passage* p = passages_.pop_front()) delete p;
}

void Peers::suspend(bool on) {
  if (suspended_ == on) return;
  suspended_ = on;
  for (Passage *p = passages_.front(), *next; on && p != nullptr; p = next) {
    next = passages_.next(*p);
    p->ends[0].socket->leave_passage();
  }
}

uint32_t Peers::free_number(Channel& channel) {
  const uint32_t engines = channel.memory()->map().layout().engines, share = abi::peer_regions_of_engine(engines);
  const uint32_t first = ctx_.engine * share, end = first + std::min(ctx_.limits.peers, share);
  for (bool made_room = false;; made_room = true) {
    for (uint32_t i = first; i < end; ++i)
      if (channel.peer_region(i) == nullptr) return i;
    if (made_room) return PeerRegion::kNone;
    for (uint32_t i = first; i < end; ++i) {  // one that lies idle
      PeerRegion* idle = channel.peer_region(i);
      if (idle->idle()) {
        discard(*idle);
        break;
      }
    }
  }
}

PeerRegion* Peers::between(Channel& a, Channel& b) {
  for (uint32_t i = 0; i < abi::kMaxPeerRegions; ++i)
    if (PeerRegion* r = a.peer_region(i); r != nullptr && r->joins(a, b)) return r;
  const uint32_t at_a = free_number(a), at_b = free_number(b);
  if (at_a == PeerRegion::kNone || at_b == PeerRegion::kNone) return nullptr;
  auto region = PeerRegion::create(ctx_, a, b, next_serial_++);
  if (!region) return nullptr;
  regions_.push_back(std::move(*region));
  PeerRegion* r = regions_.back().get();
  a.set_peer_region(at_a, r);
  b.set_peer_region(at_b, r);
  return r;
}

PeerRegion* Peers::find(const Channel& channel, uint32_t number) const {
  return number < abi::kMaxPeerRegions ? channel.peer_region(number) : nullptr;
}

void Peers::release(PeerRegion& region, const buf::IoDesc& d) {
  region.release(d);
  discard_if_unused(region);
}

void Peers::on_channel_gone(Channel& channel) {
  for (uint32_t i = 0; i < abi::kMaxPeerRegions; ++i) {
    PeerRegion* r = channel.peer_region(i);
    if (r == nullptr) continue;
    channel.set_peer_region(i, nullptr);
    for (uint32_t side : {0u, 1u})
      if (r->channel(side) == &channel) r->end_holds_of(side);
    r->forget(channel);
    discard_if_unused(*r);
  }
}

// Nothing new comes to a region that has lost a client.
void Peers::discard_if_unused(PeerRegion& region) {
  if (!region.whole() && region.unused()) discard(region);
}

void Peers::discard(PeerRegion& region) {
  for (uint32_t side : {0u, 1u})
    if (Channel* c = region.channel(side))
      for (uint32_t i = 0; i < abi::kMaxPeerRegions; ++i)
        if (c->peer_region(i) == &region) c->set_peer_region(i, nullptr);
  std::erase_if(regions_, [&region](const auto& r) { return r.get() == &region; });
}

Passage* Peers::open(Socket& a, Socket& b, PeerRegion& region) {
  const uint32_t number = region.take();
  if (number == PeerRegion::kNone) return nullptr;
  auto* p = new Passage;
  p->region = &region;
  p->number = number;
  p->ends[0].socket = &a;
  p->ends[1].socket = &b;
  passages_.push_back(*p);
  return p;
}

void Peers::close(Passage& passage, uint64_t moved, bool spoilt) {
  PeerRegion& region = *passage.region;
  region.leave(passage.number, moved, spoilt);
  passages_.erase(passage);
  delete &passage;
  discard_if_unused(region);
}

}  // namespace ferry::server
