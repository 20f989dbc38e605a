// Regions of pairs of clients (ipc/abi.h, PassageEnd), and the passages in them: connections whose two ends are here and whose bytes go
// past the server. docs/architecture.md, "Same host".
//
//   (none) --Socket::consider_passage--> entering --both settled--> open --Socket::leave_passage--> leaving --locks free--> (none)
//                                         |    ^
//                                       full   '-- read --.
//                                         '--> draining --'   (both are given up when they take too long)
//
// Owns: regions, which passages of them are in use, Passage objects. Does not own: what a passage does to its sockets (socket_passage.cc).
// Trust: both clients write anything anywhere in a region at any time. The book-keeping is private; words are loaded once and checked.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "ipc/peer_region.h"
#include "server/context.h"

namespace ferry::server {

class PeerRegion {
 public:
  // Errc::no_memory, too_many.
  static Result<std::unique_ptr<PeerRegion>> create(Context& context, Channel& a, Channel& b, uint32_t serial);
  ~PeerRegion();
  PeerRegion(const PeerRegion&) = delete;
  PeerRegion& operator=(const PeerRegion&) = delete;

  static constexpr uint32_t kNone = UINT32_MAX;
  int memfd() const { return memfd_.get(); }
  uint32_t serial() const { return serial_; }
  const ipc::PeerRegionView& view() const { return view_; }
  buf::RegionId memory() const { return memory_; }
  // nullptr: that client is gone.
  Channel* channel(uint32_t side) const { return channels_[side]; }
  bool joins(const Channel& a, const Channel& b) const {
    return (channels_[0] == &a && channels_[1] == &b) || (channels_[0] == &b && channels_[1] == &a);
  }
  // The one at the other end; itself for a client with both ends.
  Channel* other(const Channel& one) const { return channels_[channels_[0] == &one ? 1 : 0]; }
  // It is going. While passages are in use its memory stays all the same: they may refer to it.
  void forget(Channel& channel);
  // Whether pages may change hands: two processes of one user, who may look at each other's memory. Others copy.
  bool passes_pages() const { return one_user_ && whole() && channels_[0] != channels_[1]; }
  bool whole() const { return channels_[0] != nullptr && channels_[1] != nullptr; }

  // A passage, its ends all zero. kNone: all are in use.
  uint32_t take();
  // So many bytes in its rings, or of keep(), are input now, and come back by release(): before the passage is left, or later.
  void expect(uint32_t passage, uint64_t unread) { uses_[passage].unread = unread; }
  // Nobody uses the passage any more but for those bytes. `moved`: bytes that went through it. A client that did not let go of it may
  // still write there: `spoilt`, and it is not used again.
  void leave(uint32_t passage, uint64_t moved, bool spoilt);
  // Bytes that `side` refers to in a passage that is left, as input: stays its memory until release(). 0: there is no such memory.
  buf::RegionId keep(uint32_t passage, uint32_t side, const ipc::abi::PassageReference& reference, uint32_t unread);
  // Bytes of expect() that are needed no more.
  void release(const buf::IoDesc& d);
  // The client on that side has gone, with all that it had mapped.
  void end_holds_of(uint32_t side);
  bool unused() const { return used_ == 0; }
  // Neither in use nor have its clients pages of each other.
  bool idle() const;

 private:
  struct Use {
    bool taken = false, spoilt = false;
    uint64_t unread = 0, moved = 0;
  };
  // A reference whose bytes are input that waits for its reader.
  struct Kept {
    buf::RegionId id;    // of the bytes
    Channel* writer;     // lives as long as output of its is referred to
    uint32_t passage, side, hold;
    uint32_t unread;     // bytes
    uint32_t length;
  };
  PeerRegion(Context& context, Channel& a, Channel& b, uint32_t serial, ipc::OwnedFd memfd, ipc::PeerRegionView view);
  void free_if_done(uint32_t passage);
  void let_go_of_departed();

  Context& ctx_;
  Channel* channels_[2];
  Channel* departed_[2] = {};  // by side; forgotten, but held by an output reference of one byte while a passage is taken
  const bool one_user_;
  const uid_t user_;
  uint32_t serial_;
  ipc::OwnedFd memfd_;
  ipc::PeerRegionView view_;
  buf::RegionId memory_;
  std::vector<Use> uses_;
  std::vector<Kept> kept_;
  std::vector<uint32_t> free_;
  uint32_t used_ = 0, taken_ = 0;
};

struct Passage : ListNode<Passage> {
  enum class State : uint8_t { entering, draining, open, leaving };
  State state = State::entering;
  PeerRegion* region = nullptr;
  uint32_t number = PeerRegion::kNone;
  Instant deadline;                     // of entering and leaving; of draining, if nothing is read before
  Instant latest;                       // of draining
  uint64_t read = 0;                    // bytes that the programs had read when that deadline was set
  struct End {
    Socket* socket = nullptr;
    Channel* home = nullptr;  // nullptr: its process is gone
    uint32_t slot = 0;
    uint64_t told = 0;        // bytes written at this end, as far as the stack knows
    bool held_back = false;    // its connection is drained: its program finds the send buffer full
    bool stood_still = false;  // while the passage was to be left
  };
  End ends[2];  // by side
  uint32_t side_of(const Socket& s) const { return ends[0].socket == &s ? 0 : 1; }
};

class Peers {
 public:
  explicit Peers(Context& context) : ctx_(context) { context.peers = this; }
  ~Peers();

  // Whether new passages may be opened.
  bool enabled() const { return !suspended_ && ctx_.limits.peers > 0; }
  // While somebody captures, bytes go through the stack; suspending ends all passages.
  void suspend(bool on);
  // The region of two clients, made if there is none. nullptr: one of them has as many as it may have, or there is no memory.
  PeerRegion* between(Channel& a, Channel& b);
  // By the number that the channel knows it by. nullptr: none.
  PeerRegion* find(const Channel& channel, uint32_t number) const;
  // How many references of passages that were left are kept for a user.
  uint32_t& kept_of(uid_t user) { return kept_of_[user]; }
  // Unread bytes of a passage are needed no more.
  void release(PeerRegion& region, const buf::IoDesc& d);
  void on_channel_gone(Channel& channel);

  // A passage in the region for the connection of the two, who are at home in its channel 0 and 1. nullptr: none is free.
  Passage* open(Socket& a, Socket& b, PeerRegion& region);
  // `moved`, `spoilt`: see PeerRegion::leave.
  void close(Passage& passage, uint64_t moved, bool spoilt);
  size_t regions() const { return regions_.size(); }

 private:
  void discard_if_unused(PeerRegion& region);
  void discard(PeerRegion& region);
  uint32_t free_number(Channel& channel);

  Context& ctx_;
  std::unordered_map<uid_t, uint32_t> kept_of_;  // by their regions, which may not outlive it
  std::vector<std::unique_ptr<PeerRegion>> regions_;
  List<Passage> passages_;
  uint32_t next_serial_ = 1;
  bool suspended_ = false;
};

}  // namespace ferry::server
