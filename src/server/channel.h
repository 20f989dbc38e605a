// The server's side of one channel (ipc/abi.h): the mapping, the slot table, the input pool, the client's event queues.
//
// Owns: the memfd mapping and its region number; which socket sits in which slot. Does not own: sockets, the client's control
// connection (client.h). A channel outlives its client for as long as the stack or a socket refers to its memory.
//
// Trust: the client writes anything anywhere in the mapping at any time. Every word is loaded once, checked, and the copy used.
#pragma once

#include <sys/types.h>

#include <memory>
#include <vector>

#include "base/list.h"
#include "base/time.h"
#include "ipc/channel_layout.h"
#include "ipc/doorbell.h"
#include "server/client_regions.h"
#include "server/context.h"
#include "server/input_pool.h"
#include "server/stock.h"
#include "server/unique_fd.h"

namespace ferry::server {

class Client;
class PeerRegion;
class Socket;

class Channel final : public PollHandler, public ListNode<HotTag> {
 public:
  struct Identity {  // of the process that opened it, for `ferry ss` and quotas
    pid_t pid = 0;
    uid_t uid = 0;
  };
  // Makes the sealed memfd and maps it. Errc::no_memory, too_many.
  static Result<std::unique_ptr<Channel>> create(Context& context, const ipc::ChannelConfig& config, Identity identity);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // For the client; -1 once close_memfd() was called: the mapping does not need it.
  int memfd() const { return map_.fd(); }
  void close_memfd() { map_.close_fd(); }
  int kick_fd() const { return kick_.get(); }
  buf::RegionId region() const { return region_; }
  const Identity& identity() const { return identity_; }

  // --- slots ---
  static constexpr uint32_t kNoSlot = UINT32_MAX;
  // Puts the socket into a free slot: generation raised, both sides' words zero. kNoSlot when all are taken.
  uint32_t assign(Socket& socket);
  // Marks the slot free for the client (kModeFree) and for the next socket.
  void unassign(uint32_t slot);
  Socket* socket_at(uint32_t slot) { return slot < slots_.size() ? slots_[slot].socket : nullptr; }
  // The socket in the slot if the generation is the present one.
  Socket* find(uint32_t slot, uint32_t generation);
  uint32_t generation(uint32_t slot) const { return slots_[slot].generation; }
  ipc::abi::SocketShared& shared(uint32_t slot) { return map_.socket(slot); }
  Stock& stock() { return stock_; }
  ipc::abi::SpareRing& spares(uint32_t kind) { return map_.header().spares[kind]; }
  uint32_t socket_count() const { return used_slots_; }
  template <typename Visit>
  void for_each_socket(Visit visit) {
    for (auto& s : slots_)
      if (s.socket != nullptr) visit(*s.socket);
  }

  // Where descriptors of the client may point.
  const ipc::PoolArea& output_area() const { return map_.layout().output; }
  const std::byte* at(uint64_t offset) const { return map_.base() + offset; }

  // Memory that the client lets its output be referred to in; see client_regions.h.
  Status add_region(uint32_t number, int memfd, uint64_t most) { return regions_.add(number, memfd, most, this); }
  Status forget_region(uint32_t number);
  // The bytes that a (copied) output descriptor names. Region 0 is empty if it leaves the output pool.
  buf::IoDesc locate_output(const ipc::abi::Descriptor& d) const;
  uint64_t region_bytes() const { return regions_.mapped_bytes(); }

  // --- input: memory that this client reads; `alignment` is a power of two ---
  Result<buf::IoDesc> place(uint32_t length, uint32_t alignment = 1);
  void release(const buf::IoDesc& d) { input_.release(d.offset, d.length); }
  uint64_t input_used() const { return input_.used_bytes(); }

  // --- doorbells ---
  bool doorbell_rung() const { return ipc::any_slot(map_.header().doorbell[0]); }
  // Calls ring(slot) for every slot whose bit is set; slots without a socket are for the callee to skip. Returns how many.
  template <typename Ring>
  uint32_t take_doorbells(Ring&& ring) {
    return ipc::take_slots(map_.header().doorbell[0], static_cast<uint32_t>(slots_.size()), ring);
  }

  // --- sleeping: see ChannelHeader::server_idle ---
  // Tells the client that it must kick. False: a doorbell was rung meanwhile and the client does not have to.
  bool go_cold();
  // It is going to have something for us soon: no kicks from now on.
  void go_hot();
  // A kick.
  void on_poll(uint32_t events) override;

  // --- waking the client ---
  void wake_queue(uint32_t queue);
  // The server makes the pipe; the caller hands the returned read end to the client. -1: cannot, or no such queue.
  UniqueFd open_queue(uint32_t queue);
  void forget_queue(uint32_t queue);
  // Tells the client that the slot's words have changed: threads that block on it, and queues that watch it.
  void signal(uint32_t slot);
  // The write end of the queue's pipe, opened anew for somebody else who may wake it: what that one does to its own description does
  // not concern the others. Invalid: no such queue, or no descriptors left.
  UniqueFd open_wake_end(uint32_t queue) const;

  // --- regions with other clients: see peers.h ---
  void allow_peers() { peers_allowed_ = true; }
  void forbid_peers() { peers_allowed_ = false; }
  bool peers_allowed() const { return peers_allowed_; }
  PeerRegion* peer_region(uint32_t number) const { return peer_regions_[number]; }
  void set_peer_region(uint32_t number, PeerRegion* region) { peer_regions_[number] = region; }

  // --- life ---
  void set_client(Client* client) { client_ = client; }
  void client_gone();
  Client* client() { return client_; }
  bool client_alive() const { return client_ != nullptr; }
  void add_output_reference(uint64_t bytes) { output_references_ += bytes; }
  void drop_output_reference(uint64_t bytes);
  // Nothing can refer to the mapping any more.
  bool unreferenced() const {
    return client_ == nullptr && used_slots_ == 0 && output_references_ == 0 && input_.used_bytes() == 0;
  }

  // --- kept by the engine ---
  Instant last_active;         // when a doorbell was last seen
  bool reclaimed_this_turn = false;
  bool condemned = false;

 private:
  struct Slot {
    Socket* socket = nullptr;
    uint32_t generation = 0;
  };
  Channel(Context& context, Identity identity, ipc::ChannelMap map, UniqueFd kick);
  void look_at_held_slots();

  Context& ctx_;
  Identity identity_;
  ipc::ChannelMap map_;
  UniqueFd kick_;
  buf::RegionId region_;
  InputPool input_;
  ClientRegions regions_;
  std::vector<Slot> slots_;    // grows to the highest slot used
  std::vector<uint32_t> free_slots_;
  std::vector<uint32_t> held_slots_;  // free, but for a thread of the client that is in a ring of its still
  uint32_t used_slots_ = 0;
  uint64_t output_references_ = 0;
  Client* client_ = nullptr;
  std::vector<UniqueFd> wake_fds_;  // write ends, by queue
  Stock stock_;
  PeerRegion* peer_regions_[ipc::abi::kMaxPeerRegions] = {};
  bool peers_allowed_ = false;
};

}  // namespace ferry::server
