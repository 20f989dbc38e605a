// The hostile client's part in passages (ipc/abi.h, PassageEnd): uses them as libferry does, so that there are some, and breaks what two
// clients promise each other. The other end is a program that behaves.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "hostile/attacker.h"
#include "ipc/lock.h"
#include "ipc/passage.h"
#include "ipc/peer_region.h"

namespace ferry::hostile {

class Passages : protected Attacker {
 public:
  uint64_t passed() const { return passed_; }  // bytes that went through passages, both ways

 protected:
  using Attacker::Attacker;

  bool is_passing(uint32_t slot) const { return load_acquire(map_.socket(slot).mode) == ipc::abi::kModePassing; }

  // Reads what is there, sends something, tells the other one; `region`: one of our regions, of two pages, 0: there is none. False: not in a passage.
  bool pass_properly(uint32_t slot, uint16_t region) {
    Place p;
    if (!is_passing(slot) || !find(slot, p)) return false;
    auto& shared = map_.socket(slot);
    auto &mine = p.region.end(p.passage, p.side), &theirs = p.region.end(p.passage, 1 - p.side);
    locked(slot, shared.rx_lock, [&] {
      ipc::PassageConsumer in(mine, theirs, p.region.ring(p.passage, 1 - p.side));
      const auto piece = in.at(in.place());
      if (!piece || piece->empty()) return;
      const auto n = piece->refers ? piece->reference.length - in.place().used : static_cast<uint32_t>(piece->bytes.size());
      in.consume(*piece, n);
      if (piece->refers && !one_in(8)) store_release(p.region.held(1 - p.side, piece->reference.hold), 0u);
      passed_ += n;
    });
    if (one_in(4)) store_relaxed(mine.accepts, 1u);
    locked(slot, shared.tx_lock, [&] {
      ipc::PassageProducer out(mine, theirs, p.region.ring(p.passage, p.side));
      if (region != 0 && one_in(3) && out.can_refer(~uint64_t{0})) {
        constexpr uint32_t kPage = ipc::abi::kHugePageSize;
        const uint32_t offset = below(2) * kPage + (one_in(4) ? below(kPage) : 0), length = kPage - offset % kPage;
        const auto hold = static_cast<uint16_t>(below(ipc::abi::kPeerHolds));
        store_relaxed(p.region.held(p.side, hold), 1u);
        out.refer({0, offset, one_in(4) ? 1 + below(length) : length, 1 + below(2), region, hold, 0});
        passed_ += length;
        return;
      }
      const auto used = out.used();
      if (!used || *used == ipc::abi::kPassageBytes) return;
      const auto room = static_cast<uint32_t>(out.room(*used).size());
      const uint32_t n = std::min(room, 1 + below(one_in(4) ? 100000 : 1000));
      out.commit(n);
      passed_ += n;
    });
    tell(p);
    return true;
  }

  void misuse_passage(uint32_t slot) {
    Place p;
    if (!is_passing(slot)) return;
    if (one_in(12)) return misuse_requests();
    if (!find(slot, p)) return;
    auto &mine = p.region.end(p.passage, p.side), &theirs = p.region.end(p.passage, 1 - p.side);
    switch (below(12)) {
      case 0: lie(one_in(2) ? mine : theirs); break;
      case 1:  // while the other one is in the middle of a call
        for (uint32_t i = below(2000); i > 0; --i) {
          lie(mine);
          if (one_in(20)) tell(p);
        }
        break;
      case 2: scribble(p.region.ring(p.passage, below(2)), ipc::abi::kPassageBytes, 2000); break;
      case 3:  // read, without having read; written, without having written
        store_release(mine.consumed, load_acquire(theirs.produced));
        store_release(mine.produced, load_acquire(theirs.consumed) + ipc::abi::kPassageBytes);
        break;
      case 4:  // queues that are not theirs, or not there, and sleepers that do not sleep
        for (auto& watch : theirs.watches) store_relaxed(watch, one_in(2) ? 1 + below(8) : static_cast<uint32_t>(number()));
        for (uint32_t side : {0u, 1u}) scribble(&p.region.queue(side, 0), sizeof(ipc::abi::PeerQueue) * 64, 200);
        break;
      case 5:  // sleep on
        store_relaxed(theirs.event_seq, load_relaxed(theirs.event_seq) - 1);
        store_relaxed(theirs.waiters, one_in(2) ? 0u : static_cast<uint32_t>(number()));
        store_relaxed(theirs.wants, 0u);
        break;
      case 6: scribble(&p.region.end(0, 0), sizeof(ipc::abi::PassageEnd) * 2 * ipc::abi::kPassages, 1 + below(500)); break;
      case 7: misuse_memory(p.number); break;
      case 9: scribble(&mine.reference, sizeof mine.reference, 1 + below(200)); break;
      case 10: scribble(&p.region.holds(), sizeof(ipc::abi::PeerHolds), 1 + below(200)); break;
      case 8:  // never to let go, and now and then to stand still with it
        if (!one_in(20)) break;
        store_release(one_in(2) ? map_.socket(slot).tx_lock : map_.socket(slot).rx_lock, uint32_t{ipc::abi::kLockHeld});
        atomic_or(map_.socket(slot).wants, uint32_t{ipc::abi::kWantLeave});
        ring(slot);
        if (one_in(4)) usleep(100'000);
        break;
      default:  // out and in again
        atomic_or(map_.socket(slot).wants, uint32_t{ipc::abi::kWantLeave});
        ring(slot);
    }
    tell(p);
  }

  // The end of a life.
  void forget_regions() {
    for (Region& r : regions_) {
      ipc::unmap_peer_region(r.view);
      r = {};
    }
    wake_end_ = {};
  }

 private:
  struct Region {
    ipc::OwnedFd memfd;
    ipc::PeerRegionView view;
    uint32_t serial = 0;
  };
  struct Place {
    ipc::PeerRegionView region;
    uint32_t number, passage, side;
  };

  // Our own lies about our own words are not to bring us down.
  bool find(uint32_t slot, Place& p) {
    const auto& shared = map_.socket(slot);
    p = {{}, load_relaxed(shared.peer_region), load_relaxed(shared.passage), load_relaxed(shared.passage_side)};
    if (p.number >= ipc::abi::kMaxPeerRegions || p.passage >= ipc::abi::kPassages || p.side > 1) return false;
    Region& r = regions_[p.number];
    if (!r.view.mapped() || r.serial != load_relaxed(shared.peer_serial)) {
      ipc::control::Request request;
      request.op = static_cast<uint32_t>(Op::peer_region);
      request.value = p.number;
      ipc::DescriptorList fds;
      if (!ask(request, fds) || fds.count != 1) return false;
      ipc::unmap_peer_region(r.view);
      r = {fds.take(0), {}, last_.value};
      const auto view = ipc::map_peer_memfd(r.memfd.get());
      if (!view) return false;
      r.view = *view;
    }
    p.region = r.view;
    return true;
  }

  template <typename Use>
  void locked(uint32_t slot, uint32_t& word, Use&& use) {
    if (!ipc::try_lock(word)) return;
    use();
    if (ipc::unlock(word)) ring(slot);
  }

  void tell(const Place& p) {
    ipc::signal_passage(p.region.end(p.passage, 1 - p.side), p.passage, &p.region.queue(1 - p.side, 0), [&](uint32_t queue) {
      ipc::control::Request request;
      request.op = static_cast<uint32_t>(Op::peer_wake);
      request.value = p.number;
      request.flags = queue;
      ipc::DescriptorList fds;
      if (!dead_ && ask(request, fds) && fds.count == 1) wake_end_ = fds.take(0);
    });
  }

  void lie(ipc::abi::PassageEnd& end) {
    if (one_in(3)) {
      uint32_t* const counts[] = {&end.references, &end.dereferences, &end.reference_used, &end.accepts};
      uint32_t& count = *counts[below(4)];
      store_release(count, one_in(2) ? static_cast<uint32_t>(number()) : load_relaxed(count) + below(4) - 1);
      return;
    }
    uint64_t* const words[] = {&end.produced, &end.base, &end.consumed, &end.referred, &end.dereferred};
    uint64_t& word = *words[below(5)];
    store_release(word, one_in(2) ? number() : load_relaxed(word) + below(2 * ipc::abi::kPassageBytes) - ipc::abi::kPassageBytes);
  }

  // Regions and queues of nobody, a pipe that is filled, or made to block.
  void misuse_requests() {
    ipc::control::Request request;
    request.op = static_cast<uint32_t>(one_in(3) ? Op::peer_memory : one_in(2) ? Op::peer_region : Op::peer_wake);
    request.value = one_in(2) ? below(ipc::abi::kMaxPeerRegions) : static_cast<uint32_t>(number());
    request.flags = one_in(2) ? below(8) : static_cast<uint32_t>(number());
    ipc::DescriptorList fds;
    ask(request, fds);
    if (wake_end_.get() < 0) return;
    static constexpr char kMuch[65536] = {};
    fcntl(wake_end_.get(), F_SETFL, O_NONBLOCK);
    if (write(wake_end_.get(), kMuch, sizeof kMuch) < 0 || one_in(2)) fcntl(wake_end_.get(), F_SETFL, 0);
  }

  // Nothing of this may take the memory away from those who have it mapped.
  void misuse_memory(uint32_t number_of_region) {
    const int memfd = regions_[number_of_region].memfd.get();
    fallocate(memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, below(ipc::kPeerRegionBytes), 1 + below(ipc::kPeerRegionBytes));
    if (ftruncate(memfd, below(ipc::kPeerRegionBytes)) == 0) abort();
    if (fcntl(memfd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0) abort();
  }

  std::array<Region, ipc::abi::kMaxPeerRegions> regions_;
  ipc::OwnedFd wake_end_;
  uint64_t passed_ = 0;
};

}  // namespace ferry::hostile
